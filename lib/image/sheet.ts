// Pictures laid out in rows and columns, with their names.
import { enlarge, type Image } from './image.js';
import { drawText, TEXT_HEIGHT, textWidth } from './text.js';

export interface SheetOptions {
  /** Each picture's enlargement; 1. */
  scale?: number;
  /** Pixels around and between pictures; 8. */
  margin?: number;
  /** Red, green and blue of what no picture covers; white. */
  background?: readonly [number, number, number];
  /** Names on the left of the rows and above the columns, and a line above all; none. */
  rowNames?: readonly string[];
  columnNames?: readonly string[];
  title?: string;
}

/** Pixels of a sheet, 768 MiB: more than anybody looks at, and not yet too much for an array or a PNG file. */
const MOST_PIXELS = 2 ** 28;

/** Where everything goes on a sheet of so many rows and columns, of pictures no larger than `largest`. */
function layOut(rows: number, columns: number, largest: Pick<Image, 'width' | 'height'>, options: SheetOptions) {
  const { scale = 1, margin = 8, rowNames = [], columnNames = [], title } = options;
  const cellHeight = largest.height * scale;
  // Letters grow with the pictures, so that both can be read at the same distance.
  const dot = Math.max(1, Math.round(cellHeight / 100));
  const line = TEXT_HEIGHT * dot + margin;
  const widest = (names: readonly string[]) => Math.max(0, ...names.map((name) => textWidth(name) * dot));
  const cellWidth = Math.max(widest(columnNames), largest.width * scale);
  const left = margin + (rowNames.length > 0 ? widest(rowNames) + margin : 0);
  const top = margin + (title === undefined ? 0 : line) + (columnNames.length > 0 ? line : 0);
  const width = Math.max(
    left + columns * (cellWidth + margin),
    title === undefined ? 0 : textWidth(title) * dot + 2 * margin,
  );
  const height = top + rows * (cellHeight + margin);
  if (!(width * height <= MOST_PIXELS)) {
    throw new RangeError(
      `Expected a sheet of at most ${MOST_PIXELS} pixels but ${rows} x ${columns} pictures make one of ${width} x ${height}: take fewer of them or a smaller --scale`,
    );
  }
  return { scale, margin, cellWidth, cellHeight, dot, line, left, top, width, height };
}

/**
 * The size of a {@link sheet} of so many rows and columns, for those who want to know before there are pictures.
 *
 * @throws RangeError where it would be too large
 */
export function sheetSize(
  rows: number,
  columns: number,
  largest: Pick<Image, 'width' | 'height'>,
  options: SheetOptions = {},
): Pick<Image, 'width' | 'height'> {
  const { width, height } = layOut(rows, columns, largest, options);
  return { width, height };
}

/**
 * Pictures in rows and columns, on one sheet. Columns are as wide as the widest picture, rows as high as the highest;
 * null leaves a place empty.
 *
 * @throws RangeError where there are no pictures, or the sheet would be too large
 */
export function sheet(rows: readonly (readonly (Image | null)[])[], options: SheetOptions = {}): Image {
  const { background = [255, 255, 255], rowNames = [], columnNames = [], title } = options;
  const all = rows.flat().filter((image) => image !== null);
  if (all.length === 0) throw new RangeError('Expected at least one picture for a sheet but received none');
  const largest = {
    width: Math.max(...all.map((image) => image.width)),
    height: Math.max(...all.map((image) => image.height)),
  };
  const columns = Math.max(...rows.map((row) => row.length));
  const { scale, margin, cellWidth, cellHeight, dot, line, left, top, width, height } = layOut(
    rows.length,
    columns,
    largest,
    options,
  );
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < data.length; i += 3) data.set(background, i);
  const target = { width, height, data };
  if (title !== undefined) drawText(target, title, margin, margin, dot);
  columnNames.forEach((name, c) => {
    const center = left + c * (cellWidth + margin) + cellWidth / 2;
    drawText(target, name, Math.round(center - (textWidth(name) * dot) / 2), top - line, dot);
  });
  rowNames.forEach((name, r) => {
    const middle = top + r * (cellHeight + margin) + cellHeight / 2;
    drawText(target, name, margin, Math.round(middle - (TEXT_HEIGHT * dot) / 2), dot);
  });
  rows.forEach((row, r) => {
    row.forEach((image, c) => {
      if (image === null) return;
      paste(target, enlarge(image, scale), left + c * (cellWidth + margin), top + r * (cellHeight + margin));
    });
  });
  return target;
}

function paste(target: Image, image: Image, left: number, top: number): void {
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(3 * y * image.width, 3 * (y + 1) * image.width);
    target.data.set(row, 3 * ((top + y) * target.width + left));
  }
}
