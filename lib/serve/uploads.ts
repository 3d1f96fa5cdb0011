// Pictures that were sent: files of several kinds and any size become what a run starts from, and pictures become files.
import type { Sharp, SharpOptions } from 'sharp';
import { encodePng, readPng } from '../image/file.js';
import type { Image } from '../image/image.js';
import { type Alpha, decodePngAlpha, isPng, MOST_PIXELS } from '../image/png.js';
import type { Coding, Uploads } from './messages.js';
import { optional } from './optional.js';

type Size = Pick<Image, 'width' | 'height'>;
type SharpLibrary = (input: Uint8Array, options?: SharpOptions) => Sharp;

/** What a run starts from. */
export interface Pictures {
  image: Image;
  mask?: Image;
  strength?: number;
}

/** The pictures as files have them, before they are brought to a size. */
export interface Read {
  image: Image;
  mask: Image | undefined;
  strength: number | undefined;
}

/**
 * Reads what was sent.
 *
 * @throws RangeError in one sentence for what is no picture, or a mask of another size; Missing
 */
export async function readUploads({ image: file, mask: covered, inverted, strength }: Uploads): Promise<Read> {
  const image = await readPicture(file, 'image');
  const mask = covered && (await readCover(covered));
  if (mask && (mask.width !== image.width || mask.height !== image.height)) {
    throw new RangeError(
      `Expected a mask of the image's size, ${image.width} x ${image.height}, but received one of ${mask.width} x ${mask.height}`,
    );
  }
  if (mask && inverted) for (let i = 0; i < mask.data.length; i++) mask.data[i] = 255 - mask.data[i];
  return { image, mask, strength };
}

/**
 * Sizes to try for an image, best first: what was asked for; else its own, its shape with about as many pixels as the model
 * was trained on, and the model's own.
 */
export function sizesFor(
  image: Size,
  asked: Partial<Size>,
  model: Size & { multiple: number },
  most: Uploads['most'],
): Size[] {
  if (asked.width !== undefined || asked.height !== undefined) {
    return [{ width: asked.width ?? model.width, height: asked.height ?? model.height }];
  }
  const scale = Math.sqrt((model.width * model.height) / (image.width * image.height));
  const near = (side: number) => Math.max(1, Math.round((side * scale) / model.multiple)) * model.multiple;
  const own = { width: image.width, height: image.height };
  const fits = ({ width, height }: Size) => Math.max(width, height) <= most.side && width * height <= most.pixels;
  const close = { width: near(image.width), height: near(image.height) };
  return [own, close].filter(fits).concat({ width: model.width, height: model.height });
}

/**
 * The pictures in a size: what is too much of one side is cut off evenly.
 *
 * @throws Missing where they have another one and nothing is there that could change it
 */
export async function resized({ image, mask, strength }: Read, size: Size): Promise<Pictures> {
  return {
    image: await resize(image, size, 'cubic'),
    ...(mask ? { mask: await resize(mask, size, 'nearest') } : {}),
    ...(strength !== undefined ? { strength } : {}),
  };
}

async function resize(image: Image, { width, height }: Size, kernel: 'cubic' | 'nearest'): Promise<Image> {
  if (image.width === width && image.height === height) return image;
  const what = `A picture of ${image.width} x ${image.height} pixels for one of ${width} x ${height}`;
  const sharp = await optional<SharpLibrary>('sharp', what);
  const data = await sharp(image.data, rawOf(image)).resize(width, height, { fit: 'cover', kernel }).raw().toBuffer();
  return { width, height, data: new Uint8Array(data) };
}

const rawOf = ({ width, height }: Size): SharpOptions => ({ raw: { width, height, channels: 3 } });

/** A file of a picture. */
async function readPicture(file: Uint8Array, name: string): Promise<Image> {
  if (isPng(file)) {
    checkHead(file, name);
    return told(name, () => readPng(file));
  }
  const sharp = await optional<SharpLibrary>('sharp', 'Reading pictures other than PNG files');
  const read = sharp(file, { limitInputPixels: MOST_PIXELS }).rotate().flatten({ background: '#fff' });
  return told(name, async () => {
    const { data, info } = await read.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels`);
    return { width: info.width, height: info.height, data: new Uint8Array(data) };
  });
}

/** A mask, white where the picture is made anew: where the file has an alpha channel, what is transparent in it. */
async function readCover(file: Uint8Array): Promise<Image> {
  const alpha = isPng(file) ? pngAlpha(file) : await otherAlpha(file);
  if (!alpha) return readPicture(file, 'mask');
  const { width, height, values } = alpha;
  const data = new Uint8Array(3 * width * height);
  for (const [i, value] of values.entries()) data.fill(value < 128 ? 255 : 0, 3 * i, 3 * i + 3);
  return { width, height, data };
}

function pngAlpha(file: Uint8Array): Alpha | undefined {
  checkHead(file, 'mask');
  return told('mask', () => decodePngAlpha(file));
}

async function otherAlpha(file: Uint8Array): Promise<Alpha | undefined> {
  const sharp = await optional<SharpLibrary>('sharp', 'Reading pictures other than PNG files');
  return told('mask', async () => {
    const read = sharp(file, { limitInputPixels: MOST_PIXELS });
    if (!(await read.metadata()).hasAlpha) return undefined;
    const { data, info } = await read.extractChannel(3).raw().toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, values: new Uint8Array(data) };
  });
}

/** Before anything is unpacked. */
function checkHead(file: Uint8Array, name: string): void {
  if (file.length < 24) return;
  const view = new DataView(file.buffer, file.byteOffset);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (width * height > MOST_PIXELS) {
    throw new RangeError(`Expected at most ${MOST_PIXELS} pixels for ${name} but received ${width} x ${height}`);
  }
}

function told<T>(name: string, read: () => T): T {
  const wrong = (cause: unknown): never => {
    const why = (cause as Error).message.replace(/^What was given is no PNG picture: /, '').split('\n', 1)[0];
    throw new RangeError(`Expected a picture for ${name} but it cannot be read: ${why}`, { cause });
  };
  try {
    const result = read();
    return result instanceof Promise ? (result.catch(wrong) as T) : result;
  } catch (cause) {
    return wrong(cause);
  }
}

/**
 * A picture as a file.
 *
 * @param settings what it was made from, which is stored with it
 * @throws Missing
 */
export async function encode(image: Image, { format, quality }: Coding, settings?: string): Promise<Uint8Array> {
  if (format === 'png') return encodePng(image, settings === undefined ? undefined : { 'dpm-solver': settings });
  const sharp = await coder(format);
  const writer = sharp(image.data, rawOf(image));
  if (settings !== undefined) writer.withExif({ IFD0: { ImageDescription: settings } });
  // Neither has a quality of 0.
  const options = { quality: Math.max(1, quality) };
  return (format === 'jpeg' ? writer.jpeg(options) : writer.webp(options)).toBuffer();
}

/** What writes a format; nothing for PNG, which needs nobody. */
export function coder(format: 'jpeg' | 'webp'): Promise<SharpLibrary> {
  return optional('sharp', `Writing ${format === 'jpeg' ? 'JPEG' : 'WebP'} files`);
}
