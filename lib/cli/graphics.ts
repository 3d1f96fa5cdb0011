// Pictures as terminals show them: by the protocols of kitty, iTerm2 and DEC's sixels, or as half blocks in colour. Each function
// gives what is written where the cursor is; it does not matter where that leaves the cursor.
import { encodePng } from '../image/file.js';
import { bufferOf, type Image, stretch } from '../image/image.js';
import type { Cell } from './cell.js';

export const GRAPHICS = ['kitty', 'iterm', 'sixel', 'blocks'] as const;
export type Graphics = (typeof GRAPHICS)[number];

/** Cells of a terminal. */
export interface Cells {
  readonly columns: number;
  readonly rows: number;
}

/** Where the terminal does not say, as most have more: a picture must not be higher than the rows that it has. */
const LEAST_CELL: Cell = { width: 6, height: 12 };
/** Sixels are rows of so many pixels. */
const SIXEL = 6;
/** What kitty takes at once of a picture. */
const PIECE = 4096;
/** The one picture that is replaced again and again; others' pictures have their own numbers. */
const OWN_IMAGE = 0x64706d;

type Drawer = (image: Image, cells: Cells, colors: number, cell: Cell) => string | Promise<string>;
const drawers: Readonly<Record<Graphics, Drawer>> = {
  kitty,
  iterm,
  sixel,
  blocks,
};

/**
 * A picture in so many cells.
 *
 * @param colors bits of a colour that the terminal has, of which blocks have to take the nearest: 24, or 8
 * @param cell its pixels, by which sixels are as large as the cells
 */
export async function drawn(
  as: Graphics,
  image: Image,
  cells: Cells,
  colors: number,
  cell: Cell = LEAST_CELL,
): Promise<string> {
  return drawers[as](image, cells, colors, cell);
}

/** https://sw.kovidgoyal.net/kitty/graphics-protocol/: pixels as they are, to be stretched; without an answer, cursor in place. */
function kitty({ width, height, data }: Image, { columns, rows }: Cells): string {
  const text = bufferOf(data).toString('base64');
  const pieces = text.match(new RegExp(`.{1,${PIECE}}`, 'g')) ?? [];
  const head = `a=T,f=24,s=${width},v=${height},c=${columns},r=${rows},i=${OWN_IMAGE},p=1,C=1,q=2,`;
  return pieces
    .map((piece, i) => `\x1b_G${i === 0 ? head : ''}m=${i + 1 < pieces.length ? 1 : 0};${piece}\x1b\\`)
    .join('');
}

/** https://iterm2.com/documentation-images.html */
function iterm(image: Image, { columns, rows }: Cells): string {
  const png = Buffer.from(encodePng(image));
  const size = `size=${png.length};width=${columns};height=${rows};preserveAspectRatio=0`;
  return `\x1b]1337;File=inline=1;${size}:${png.toString('base64')}\x07`;
}

/** DEC STD 070, by the package that terminals in browsers read them with; no more colours than the least registers hold. */
async function sixel(image: Image, { columns, rows }: Cells, _colors: number, cell: Cell): Promise<string> {
  const { image2sixel } = await import('sixel');
  const whole = SIXEL * Math.floor((rows * cell.height) / SIXEL);
  const { width, height, data } = stretch(image, { width: columns * cell.width, height: whole });
  const rgba = new Uint8Array(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
  return image2sixel(rgba, width, height, 256, 0);
}

/** A cell is two pixels, the upper one the colour of its half block and the lower one that behind it. */
function blocks(image: Image, { columns, rows }: Cells, colors: number): string {
  const { width, data } = stretch(image, { width: columns, height: 2 * rows });
  const color = (x: number, y: number) => {
    const [r, g, b] = data.subarray(3 * (y * width + x));
    return colors >= 24 ? `2;${r};${g};${b}` : `5;${nearestOf256(r, g, b)}`;
  };
  const lines = Array.from({ length: rows }, (_, row) => {
    const cells = Array.from(
      { length: columns },
      (_, x) => `\x1b[38;${color(x, 2 * row)};48;${color(x, 2 * row + 1)}m▀`,
    );
    return `${cells.join('')}\x1b[0m`;
  });
  // From the same column on: the cursor goes back, and one down.
  return lines.join(`\x1b[${columns}D\x1b[B`);
}

/** Of the 256 colours that xterm has: a cube of six levels a side, and 24 greys. */
function nearestOf256(r: number, g: number, b: number): number {
  const levels = [0, 95, 135, 175, 215, 255];
  const level = (value: number) =>
    levels.reduce((best, one, i) => (off(one, value) < off(levels[best], value) ? i : best), 0);
  const cube = [r, g, b].map(level);
  const grey = Math.min(23, Math.max(0, Math.round(((r + g + b) / 3 - 8) / 10)));
  const distance = (color: readonly number[]) =>
    [r, g, b].reduce((sum, value, c) => sum + off(color[c], value) ** 2, 0);
  const isGrey = distance(Array<number>(3).fill(8 + 10 * grey)) < distance(cube.map((i) => levels[i]));
  return isGrey ? 232 + grey : 16 + 36 * cube[0] + 6 * cube[1] + cube[2];
}

const off = (a: number, b: number) => Math.abs(a - b);
