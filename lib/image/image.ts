// Pictures as bytes: from a network's tensor, enlarged, laid out in sheets.
import { drawText, TEXT_HEIGHT, textWidth } from './text.js';

/** Three bytes a pixel, red first, rows from the top. */
export interface Image {
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
  /** 3 width height bytes: red, green and blue of each pixel, row after row. */
  data: Uint8Array;
}

/**
 * The samples of a tensor as pictures: -1 becomes 0 and 1 becomes 255, values outside are clamped, NaN is black.
 *
 * @param data `[batch, 3, height, width]`, or one channel for grey
 * @throws RangeError for other dims
 */
export function toImages(data: ArrayLike<number>, dims: readonly number[]): Image[] {
  const [batch, channels, height, width] = dims;
  if (dims.length !== 4 || (channels !== 1 && channels !== 3) || data.length !== batch * channels * height * width) {
    throw new RangeError(`Expected dims [batch,3,height,width] for pictures but received [${dims.join(',')}]`);
  }
  const plane = width * height;
  return Array.from({ length: batch }, (_, b) => {
    const image = { width, height, data: new Uint8Array(3 * plane) };
    // It rounds as numpy's rint does, which Python pipelines use: ties go to the even byte. NaN turns into 0.
    const bytes = new Uint8ClampedArray(image.data.buffer);
    for (let c = 0; c < 3; c++) {
      const offset = (b * channels + (channels === 3 ? c : 0)) * plane;
      for (let i = 0; i < plane; i++) bytes[3 * i + c] = (data[offset + i] * 0.5 + 0.5) * 255;
    }
    return image;
  });
}

/** A picture as a network takes it: planes of red, green and blue, 0 becomes -1 and 255 becomes 1. */
export function toPixels({ width, height, data }: Image): Float32Array {
  const plane = width * height;
  const pixels = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < plane; i++) pixels[c * plane + i] = data[3 * i + c] / 127.5 - 1;
  }
  return pixels;
}

/** Every pixel as a square of `factor` times `factor` pixels; a whole number from 1. */
export function enlarge(image: Image, factor: number): Image {
  if (!(Number.isSafeInteger(factor) && factor >= 1)) {
    throw new RangeError(`Expected a whole number of at least 1 for the enlargement but received ${factor}`);
  }
  const width = image.width * factor;
  const height = image.height * factor;
  const data = new Uint8Array(3 * width * height);
  for (let y = 0; y < image.height; y++) {
    const row = 3 * width * y * factor;
    for (let x = 0; x < width; x++) {
      const from = 3 * (y * image.width + Math.floor(x / factor));
      data.set(image.data.subarray(from, from + 3), row + 3 * x);
    }
    for (let i = 1; i < factor; i++) data.copyWithin(row + 3 * width * i, row, row + 3 * width);
  }
  return { width, height, data };
}

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
