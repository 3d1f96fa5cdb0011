// Which part of a picture is made anew, in pixels and in latents.

import type { Tensor } from '../base/tensor.js';
import type { Image } from '../image/image.js';

/** One number a place, row by row: 1 is made anew, 0 is kept. */
export interface Mask {
  width: number;
  height: number;
  data: Uint8Array;
}

/**
 * White is made anew, black is kept: a pixel counts as white from a mean of 128 on.
 *
 * @throws RangeError for a mask that is empty or full
 */
export function readMask({ width, height, data }: Image): Mask {
  const mask = new Uint8Array(width * height);
  const channels = data.length / mask.length;
  let count = 0;
  for (let i = 0; i < mask.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += data[channels * i + c];
    mask[i] = sum >= 128 * channels ? 1 : 0;
    count += mask[i];
  }
  if (count === 0) throw new RangeError('Expected some white in the mask, which is what is made anew, but it has none');
  if (count === mask.length) {
    throw new RangeError('Expected some black in the mask, which is what is kept, but it has none');
  }
  return { width, height, data: mask };
}

/** A latent is made anew where any of its pixels is. */
export function shrink({ width, height, data }: Mask, factor: number): Mask {
  const small = { width: width / factor, height: height / factor, data: new Uint8Array(data.length / factor ** 2) };
  for (let i = 0; i < data.length; i++) {
    const y = Math.floor(Math.floor(i / width) / factor);
    const x = Math.floor((i % width) / factor);
    small.data[y * small.width + x] |= data[i];
  }
  return small;
}

/** Every place as a square of pixels. */
export function grow({ width, height, data }: Mask, factor: number): Mask {
  const large = { width: width * factor, height: height * factor, data: new Uint8Array(data.length * factor ** 2) };
  for (let y = 0; y < large.height; y++) {
    for (let x = 0; x < large.width; x++) {
      large.data[y * large.width + x] = data[Math.floor(y / factor) * width + Math.floor(x / factor)];
    }
  }
  return large;
}

/** The places that are at most `radius` rows and columns away from one that is made anew. */
export function dilate({ width, height, data }: Mask, radius: number): Mask {
  const wide = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] === 0) continue;
      for (let v = Math.max(0, y - radius); v <= Math.min(height - 1, y + radius); v++) {
        wide.fill(1, v * width + Math.max(0, x - radius), v * width + Math.min(width - 1, x + radius) + 1);
      }
    }
  }
  return { width, height, data: wide };
}

/** White where the mask is 1. */
export function maskImage({ width, height, data }: Mask): Image {
  const image = { width, height, data: new Uint8Array(3 * data.length) };
  data.forEach((one, i) => {
    image.data.fill(255 * one, 3 * i, 3 * i + 3);
  });
  return image;
}

/** `x` where the mask is 1 and `known` elsewhere, in every channel of every sample; written to `x`. */
export function keep(x: Float32Array, known: Float32Array, { data }: Mask): void {
  for (let i = 0; i < x.length; i++) if (data[i % data.length] === 0) x[i] = known[i];
}

/** The same for pixels: `image` gets the pixels of `known` where the mask is 0. */
export function pasteBack(image: Image, known: Image, { data }: Mask): void {
  data.forEach((one, i) => {
    if (one === 0) image.data.set(known.data.subarray(3 * i, 3 * i + 3), 3 * i);
  });
}

/** alpha x0 + sigma z where the mask is 0: a state's known part at some time. */
export function keepNoisy(
  x: Tensor,
  x0: Float32Array,
  noise: Float32Array,
  { alpha, sigma }: { alpha: number; sigma: number },
  mask: Mask,
): Tensor {
  const data = new Float32Array(x.data as Float32Array);
  keep(data, x0.map((value, i) => alpha * value + sigma * noise[i]), mask); // biome-ignore format: one line reads better
  return { type: 'float32', data, dims: x.dims };
}

/**
 * Draws a share of a noisy state's noise anew where the mask is 1: what stays of alpha x0 is x0's, and the noise keeps its
 * size. Written to `x`.
 *
 * @param share 0: nothing changes; 1: alpha x0 + sigma z
 */
export function renoise(
  x: Float32Array,
  x0: Float32Array,
  noise: Float32Array,
  { alpha, sigma }: { alpha: number; sigma: number },
  { data }: Mask,
  share: number,
): void {
  const [old, fresh] = [Math.sqrt(1 - share), Math.sqrt(share)];
  for (let i = 0; i < x.length; i++) {
    if (data[i % data.length] === 1) x[i] = alpha * x0[i] + old * (x[i] - alpha * x0[i]) + fresh * sigma * noise[i];
  }
}
