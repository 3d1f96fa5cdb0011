// PNG files in: what stands around the picture is checked here, so that a file of a few bytes cannot ask for gigabytes and a
// damaged one is no picture; pngjs makes the pixels. PNG specification (third edition), 5 and 11.
import { crc32, inflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import { bufferOf, type Image } from './image.js';

/** What every PNG file begins with. */
const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
/** Pixels of a picture: 7680 x 4320 are fewer. */
export const MOST_PIXELS = 2 ** 25;
/** Length, type and check sum of a chunk. */
const AROUND = 12;
/** What may follow the pixels in their stream; others write some, and it means nothing. */
const SPARE = 2 ** 16;

/** The bit depths of each colour type, and its samples a pixel. */
const COLOURS: Record<number, { depths: readonly number[]; samples: number }> = {
  0: { depths: [1, 2, 4, 8, 16], samples: 1 },
  2: { depths: [8, 16], samples: 3 },
  3: { depths: [1, 2, 4, 8], samples: 1 },
  4: { depths: [8, 16], samples: 2 },
  6: { depths: [8, 16], samples: 4 },
};
/** The colour types that have a channel for it. */
const ALPHA: ReadonlySet<number> = new Set([4, 6]);
/** Where the seven passes of an interlaced picture begin, and how far their pixels are apart: columns, then rows. */
const PASSES = [
  [0, 8, 0, 8],
  [4, 8, 0, 8],
  [0, 4, 4, 8],
  [2, 4, 0, 4],
  [0, 2, 2, 4],
  [1, 2, 0, 2],
  [0, 1, 1, 2],
] as const;

/** Does it begin as a PNG file does? */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/**
 * The picture in a PNG file's bytes: every colour type, depth and interlacing, 16 bits cut to 8, and what is transparent laid
 * on white.
 *
 * @throws Error in one sentence for what is no such file, is damaged, or has more than 2^25 pixels
 */
export function decodePng(bytes: Uint8Array): Image {
  const file = bufferOf(bytes);
  const { header, rgba, most } = readSamples(file, checkFile(file));
  const { width, height } = header;
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    const alpha = rgba[4 * i + 3] / most;
    for (let c = 0; c < 3; c++) {
      data[3 * i + c] = Math.round(255 * ((rgba[4 * i + c] / most) * alpha + 1 - alpha));
    }
  }
  return { width, height, data };
}

/** How opaque each pixel is, from 0 to 255. */
export interface Alpha extends Pick<Image, 'width' | 'height'> {
  values: Uint8Array;
}

/**
 * How opaque a PNG file's pixels are, by an alpha channel, its palette or a colour that is transparent, 16 bits cut to 8;
 * nothing where none of it is there.
 *
 * @throws as {@link decodePng}
 */
export function decodePngAlpha(bytes: Uint8Array): Alpha | undefined {
  const file = bufferOf(bytes);
  const checked = checkFile(file);
  const { colour, depth, width, height } = checked.header;
  if (!(checked.transparent || ALPHA.has(colour))) return undefined;
  const { rgba, most } = readSamples(file, checked);
  const byte = depth === 16 ? (value: number) => value >> 8 : (value: number) => (value * 255) / most;
  const values = Uint8Array.from({ length: width * height }, (_, i) => byte(rgba[4 * i + 3]));
  return { width, height, values };
}

/** Red, green, blue and alpha of each pixel, each from 0 to `most`. */
function readSamples(
  file: Buffer,
  { end, header }: Checked,
): { header: Header; rgba: ArrayLike<number>; most: number } {
  const { data: rgba } = PNG.sync.read(file.subarray(0, end), { skipRescale: true });
  // What a palette holds has 8 bits; other samples come as they are in the file.
  return { header, rgba, most: header.colour === 3 ? 255 : 2 ** header.depth - 1 };
}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colour: number;
  readonly interlaced: boolean;
}

interface Checked {
  /** Where the file ends, as others may have written something behind it. */
  readonly end: number;
  /** What it says of itself. */
  readonly header: Header;
  /** Has it a chunk that says what is transparent in it? */
  readonly transparent: boolean;
}

function checkFile(file: Buffer): Checked {
  if (!isPng(file)) throw new Error('it does not begin as one');
  let header: Header | undefined;
  let palette = 0;
  let transparent = false;
  let ended = false;
  const pixels: Buffer[] = [];
  let at = SIGNATURE.length;
  while (!ended) {
    if (at + AROUND > file.length) throw new Error('it ends before its last chunk');
    const length = file.readUInt32BE(at);
    const type = file.toString('latin1', at + 4, at + 8);
    if (!/^[A-Za-z]{4}$/.test(type)) throw new Error(`it is damaged at byte ${at}, where a chunk should begin`);
    if (length > file.length - at - AROUND) throw new Error(`it ends within its chunk ${type}`);
    const end = at + 8 + length;
    if (file.readUInt32BE(end) !== crc32(file.subarray(at + 4, end))) {
      throw new Error(`its chunk ${type} is damaged: the check sum is another`);
    }
    const data = file.subarray(at + 8, end);
    if (!header) header = readHeader(type, data);
    else if (type === 'IHDR') throw new Error('it has two headers');
    if (type === 'PLTE') palette = checkPalette(data);
    if (type === 'tRNS') transparent = true;
    if (type === 'IDAT') pixels.push(data);
    ended = type === 'IEND';
    at = end + 4;
  }
  if (!header) throw new Error('it has no header');
  if (header.colour === 3 && palette === 0) throw new Error('it has no palette');
  checkPixels(header, pixels);
  return { end: at, header, transparent };
}

function readHeader(type: string, data: Buffer): Header {
  if (type !== 'IHDR' || data.length !== 13) throw new Error('it does not begin with a header of 13 bytes');
  const [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)];
  const [depth, colour, compression, filter, interlace] = data.subarray(8);
  if (width === 0 || height === 0) throw new Error(`it says that it is ${width} x ${height} pixels large`);
  if (width * height > MOST_PIXELS) {
    throw new Error(`it has ${width} x ${height} pixels, more than the ${MOST_PIXELS} that are read`);
  }
  if (!COLOURS[colour]?.depths.includes(depth)) throw new Error(`there is no colour type ${colour} of ${depth} bits`);
  if (compression !== 0 || filter !== 0 || interlace > 1) {
    throw new Error(`its methods ${compression}, ${filter} and ${interlace} are not known`);
  }
  return { width, height, depth, colour, interlaced: interlace === 1 };
}

function checkPalette({ length }: Buffer): number {
  if (length === 0 || length % 3 !== 0 || length > 768) throw new Error(`its palette has ${length} bytes`);
  return length / 3;
}

/** Pixels are as many as the header says: neither too few, nor so many that they fill the memory. */
function checkPixels(header: Header, pieces: readonly Buffer[]): void {
  if (pieces.length === 0) throw new Error('it has no pixels');
  const size = sizeOf(header);
  let found: number;
  try {
    found = inflateSync(Buffer.concat(pieces), { maxOutputLength: size + SPARE }).length;
  } catch (cause) {
    const more = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    const why = more ? 'more of them than the header says' : (cause as Error).message;
    throw new Error(`its pixels cannot be read: ${why}`, { cause });
  }
  if (found < size) throw new Error(`its pixels are ${found} bytes where the header says ${size}`);
}

/** Bytes of the rows, each with its filter. */
function sizeOf({ width, height, depth, colour, interlaced }: Header): number {
  const bits = depth * COLOURS[colour].samples;
  const rows = (w: number, h: number) => (w === 0 ? 0 : h * (1 + Math.ceil((w * bits) / 8)));
  if (!interlaced) return rows(width, height);
  let size = 0;
  for (const [x, dx, y, dy] of PASSES) size += rows(count(width, x, dx), count(height, y, dy));
  return size;
}

function count(size: number, from: number, step: number): number {
  return Math.max(0, Math.ceil((size - from) / step));
}
