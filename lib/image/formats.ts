// Pictures in files of several kinds: PNG by what is here, JPEG, WebP and what else there is through sharp, with the words that
// lie in them.
import type { Sharp, SharpOptions } from 'sharp';
import { optional } from '../base/optional.js';
import { firstLine } from '../base/text.js';
import { isJpeg, isWebp, readExif, withExif } from './exif.js';
import { encodePng } from './file.js';
import type { Image } from './image.js';
import { type Alpha, decodePng, decodePngAlpha, isPng, MOST_PIXELS } from './png.js';
import { readText } from './png-text.js';

type Size = Pick<Image, 'width' | 'height'>;
type SharpLibrary = (input: Uint8Array, options?: SharpOptions) => Sharp;

/** What pictures are written as. */
export const FORMATS = ['png', 'jpeg', 'webp'] as const;
export type Format = (typeof FORMATS)[number];

/** How pictures are written. */
export interface Coding {
  format: Format;
  /** 0 to 100, of JPEG and WebP. */
  quality: number;
}

/** Where nobody says: what can hardly be told from the picture itself. */
export const QUALITY = 90;

const NAMES: Record<Format, string> = { png: 'PNG', jpeg: 'JPEG', webp: 'WebP' };
/** Pixels that a side may have: of the other formats themselves, of PNG none that matters. */
const MOST_SIDE: Record<Format, number> = { png: 2 ** 31 - 1, jpeg: 65500, webp: 16383 };

/** The format that a file's name ends in, if any. */
export function formatOf(name: string): Format | undefined {
  const ending = /\.(png|jpe?g|webp)$/i.exec(name)?.[1].toLowerCase();
  return ending === 'jpg' ? 'jpeg' : (ending as Format | undefined);
}

/** What writes a format; nothing for PNG, which needs nobody. */
export async function coder(format: Format): Promise<SharpLibrary | undefined> {
  return format === 'png' ? undefined : optional<SharpLibrary>('sharp', `Writing ${NAMES[format]} files`);
}

/**
 * Refuses a picture that is too large for a format.
 *
 * @throws RangeError
 */
export function checkSide(format: Format, { width, height }: Size): void {
  if (Math.max(width, height) <= MOST_SIDE[format]) return;
  throw new RangeError(
    `Expected at most ${MOST_SIDE[format]} pixels a side for a ${NAMES[format]} file but received ${width} x ${height}`,
  );
}

/** Keywords of texts in a picture's file: this program's own, and what A1111 writes and most galleries read. */
export const [OWN, COMMON] = ['dpm-solver', 'parameters'];

/**
 * A picture as a file.
 *
 * @param texts by keyword; where there is EXIF in place of text {@link OWN} is its description and {@link COMMON} its comment
 * @throws Missing; RangeError for a picture that is too large for the format
 */
export async function encodePicture(
  image: Image,
  { format, quality }: Coding,
  texts?: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  checkSide(format, image);
  const sharp = await coder(format);
  if (!sharp) return encodePng(image, texts);
  const writer = sharp(image.data, rawOf(image));
  // Neither has a quality of 0.
  const options = { quality: Math.max(1, quality) };
  const file = await (format === 'jpeg' ? writer.jpeg(options) : writer.webp(options)).toBuffer();
  const { [OWN]: description, [COMMON]: comment } = texts ?? {};
  return description === undefined && comment === undefined ? file : withExif(file, { description, comment });
}

/** The texts in a picture's file by the keywords that PNG has them by; none in files that cannot be read. */
export function textsIn(file: Uint8Array): Map<string, string> {
  if (isPng(file)) return readText(file);
  const { description, comment } = readExif(file);
  return new Map([
    ...(description === undefined ? [] : [[OWN, description] as const]),
    ...(comment === undefined ? [] : [[COMMON, comment] as const]),
  ]);
}

const rawOf = ({ width, height }: Size): SharpOptions => ({ raw: { width, height, channels: 3 } });

function reader(what: string): Promise<SharpLibrary> {
  return optional('sharp', `Reading ${what}`);
}

/** What a file seems to be, for those who have to install something for it. */
function nameOf(file: Uint8Array): string {
  if (isJpeg(file)) return 'JPEG files';
  return isWebp(file) ? 'WebP files' : 'pictures other than PNG files';
}

/**
 * The picture in a file's bytes: upright by its EXIF orientation, in sRGB by its colour profile, 8 bits a channel, and what is
 * transparent laid on white.
 *
 * @throws Error that says what is wrong with it; Missing where it is no PNG file and sharp is not there
 */
export async function decodePicture(file: Uint8Array): Promise<Image> {
  if (isPng(file)) return decodePng(file);
  const sharp = await reader(nameOf(file));
  return told(async () => {
    const read = sharp(file, { limitInputPixels: MOST_PIXELS }).rotate().flatten({ background: '#fff' });
    const { data, info } = await read.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels`);
    return { width: info.width, height: info.height, data: new Uint8Array(data) };
  });
}

/**
 * How opaque each pixel of the picture in a file is; nothing where the file does not say.
 *
 * @throws as {@link decodePicture}
 */
export async function decodeAlpha(file: Uint8Array): Promise<Alpha | undefined> {
  if (isPng(file)) return decodePngAlpha(file);
  const sharp = await reader(nameOf(file));
  return told(async () => {
    const read = sharp(file, { limitInputPixels: MOST_PIXELS }).rotate();
    if (!(await read.metadata()).hasAlpha) return undefined;
    const { data, info } = await read.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
    const values = Uint8Array.from({ length: info.width * info.height }, (_, i) => data[info.channels * (i + 1) - 1]);
    return { width: info.width, height: info.height, values };
  });
}

/** Of libraries below the first line says it. */
async function told<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new Error(firstLine((cause as Error).message), { cause });
  }
}

/**
 * A picture in another size; what is too much of one side is cut off evenly.
 *
 * @throws Missing
 */
export async function fitted(image: Image, size: Size, kernel: 'cubic' | 'nearest'): Promise<Image> {
  const { width, height } = size;
  if (image.width === width && image.height === height) return image;
  const what = `A picture of ${image.width} x ${image.height} pixels for one of ${width} x ${height}`;
  const sharp = await optional<SharpLibrary>('sharp', what);
  const data = await sharp(image.data, rawOf(image)).resize(width, height, { fit: 'cover', kernel }).raw().toBuffer();
  return { width, height, data: new Uint8Array(data) };
}
