// Pictures as bytes: from a network's tensor and back, enlarged.
import { outOfRange, wholeNumber, wrongType } from '../base/check.js';

/** Three bytes a pixel, red first, rows from the top. */
export interface Image {
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
  /** 3 width height bytes: red, green and blue of each pixel, row after row. */
  data: Uint8Array;
}

/** The same bytes as a Buffer, not copied. @internal */
export function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/**
 * Refuses what is no picture.
 *
 * @param channels how many bytes a pixel may have
 * @throws TypeError for another thing, with what makes a picture of it; RangeError for other sizes than the data has
 */
export function checkImage(image: unknown, name: string, channels: readonly number[]): asserts image is Image {
  const { width, height, data } = (image ?? {}) as Partial<Image>;
  const bytes: unknown = data;
  if (typeof image !== 'object' || !(bytes instanceof Uint8Array || bytes instanceof Uint8ClampedArray)) {
    throw wrongType('a picture { width, height, data } of bytes', name, image, inPlaceOf(image));
  }
  for (const [key, side] of Object.entries({ width, height })) wholeNumber(side, `${name}.${key}`, 1);
  const pixels = (width as number) * (height as number);
  if (!channels.some((count) => bytes.length === count * pixels)) {
    const lengths = channels.map((count) => count * pixels).join(' or ');
    const alpha = bytes.length === 4 * pixels ? ': every fourth is alpha, which has to be left out' : '';
    const expected = `${lengths} bytes, ${channels.join(' or ')} a pixel,`;
    throw outOfRange(expected, `${name}.data`, bytes.length, alpha);
  }
}

/** What makes a picture of what was given for one. */
function inPlaceOf(value: unknown): string {
  if (typeof value === 'string' || value instanceof Uint8Array) return 'readPng() gives one of a file or its bytes';
  if (Array.isArray(value)) return 'pass one of them';
  const { images, dims, data } = (value ?? {}) as Record<string, unknown>;
  if (Array.isArray(images)) return 'pass one of its images';
  if (dims !== undefined || data instanceof Float32Array)
    return 'a byte is 127.5 (x + 1), red, green and blue of each pixel';
  return '';
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

/** A picture in another size, linearly between the middles of its pixels; the edges go on beyond the last ones. */
export function stretch(image: Image, { width, height }: Pick<Image, 'width' | 'height'>): Image {
  if (image.width === width && image.height === height) return image;
  const across = between(image.width, width);
  const down = between(image.height, height);
  // Each row in the new width is made once, and two of them are needed at a time: one after the other.
  const held = [0, 1].map(() => ({ row: -1, values: new Float64Array(3 * width) }));
  const widened = (row: number) => {
    const place = held[row % 2];
    if (place.row === row) return place.values;
    const { values } = place;
    for (let x = 0; x < width; x++) {
      const share = across.share[x];
      const left = 3 * (row * image.width + across.first[x]);
      const right = 3 * (row * image.width + across.second[x]);
      for (let c = 0; c < 3; c++)
        values[3 * x + c] = image.data[left + c] * (1 - share) + image.data[right + c] * share;
    }
    place.row = row;
    return values;
  };
  // A byte each, which rounds.
  const data = new Uint8ClampedArray(3 * width * height);
  for (let y = 0; y < height; y++) {
    const [top, bottom, share] = [widened(down.first[y]), widened(down.second[y]), down.share[y]];
    const to = 3 * width * y;
    for (let i = 0; i < 3 * width; i++) data[to + i] = top[i] * (1 - share) + bottom[i] * share;
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}

/** Between which of `from` pixels each of `to` lies, and how far it is on the way to the second. */
function between(from: number, to: number): { first: Uint32Array; second: Uint32Array; share: Float64Array } {
  const [first, second, share] = [new Uint32Array(to), new Uint32Array(to), new Float64Array(to)];
  for (let i = 0; i < to; i++) {
    const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    first[i] = Math.floor(at);
    second[i] = Math.min(first[i] + 1, from - 1);
    share[i] = at - first[i];
  }
  return { first, second, share };
}
