// Pictures that were sent: files of several kinds and any size become what a run starts from.
import { Missing } from '../base/optional.js';
import { decodeAlpha, decodePicture, fitted } from '../image/formats.js';
import type { Image } from '../image/image.js';
import { isPng, MOST_PIXELS } from '../image/png.js';
import type { Uploads } from './messages.js';

type Size = Pick<Image, 'width' | 'height'>;

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
  const fits = ({ width, height }: Size) => Math.max(width, height) <= most.side && width * height <= most.area;
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
    image: await fitted(image, size, 'cubic'),
    ...(mask ? { mask: await fitted(mask, size, 'nearest') } : {}),
    ...(strength !== undefined ? { strength } : {}),
  };
}

/** A file of a picture. */
async function readPicture(file: Uint8Array, name: string): Promise<Image> {
  checkHead(file, name);
  return told(name, () => decodePicture(file));
}

/** A mask, white where the picture is made anew: where the file has an alpha channel, what is transparent in it. */
async function readCover(file: Uint8Array): Promise<Image> {
  checkHead(file, 'mask');
  const alpha = await told('mask', () => decodeAlpha(file));
  if (!alpha) return readPicture(file, 'mask');
  const { width, height, values } = alpha;
  const data = new Uint8Array(3 * width * height);
  for (const [i, value] of values.entries()) data.fill(value < 128 ? 255 : 0, 3 * i, 3 * i + 3);
  return { width, height, data };
}

/** Before anything is unpacked. */
function checkHead(file: Uint8Array, name: string): void {
  if (!isPng(file) || file.length < 24) return;
  const view = new DataView(file.buffer, file.byteOffset);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (width * height > MOST_PIXELS) {
    throw new RangeError(`Expected at most ${MOST_PIXELS} pixels for ${name} but received ${width} x ${height}`);
  }
}

async function told<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof Missing) throw cause;
    throw new RangeError(`Expected a picture for ${name} but it cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}
