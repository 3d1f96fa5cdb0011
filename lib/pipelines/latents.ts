// Between pictures and the states that the network works on: latents, or pixels where there is no autoencoder.
import { convert } from '../addon/native.js';
import { generator } from '../addon/noise.js';
import { allocate, type Tensor } from '../base/tensor.js';
import { type Image, toImages, toPixels } from '../image/image.js';
import type { Clock } from './clock.js';
import type { Size } from './conditioner.js';
import type { NetworkType, Shape } from './denoiser.js';
import type { Mask } from './mask.js';
import type { Parts } from './parts.js';
import type { Picture } from './request.js';
import type { Vae } from './vae.js';

/** States as pictures: decoded, or by the linear map of the preview. */
export async function decode(
  vae: Vae | null,
  { data, dims }: { data: Float32Array; dims: readonly number[] },
  how: 'decode' | 'project' = 'decode',
): Promise<Image[]> {
  if (!vae) return toImages(data, dims);
  const [batch, ...shape] = dims;
  const n = elements(shape);
  const images: Image[] = [];
  for (let b = 0; b < batch; b++) {
    const latents = data.slice(b * n, (b + 1) * n);
    if (how === 'project') {
      images.push(...toImages(await vae.project(latents, shape), [1, 3, shape[1], shape[2]]));
    } else {
      const pixels = await vae.decode(latents, shape);
      images.push(...toImages(pixels.data, [1, ...pixels.dims]));
    }
  }
  return images;
}

/** Every image, in the network's space. */
export async function encodeImages(
  { vae }: Parts,
  pictures: readonly Pick<Picture, 'image'>[],
  clock: Clock,
): Promise<Map<Image, Float32Array>> {
  const found = new Map<Image, Float32Array>();
  for (const { image } of pictures) {
    if (image && !found.has(image)) found.set(image, await encodePixels(vae, toPixels(image), image, clock));
  }
  return found;
}

async function encodePixels(
  vae: Vae | null,
  pixels: Float32Array,
  { width, height }: Size,
  clock: Clock,
): Promise<Float32Array> {
  if (!vae) return pixels;
  return (await clock.inVae(() => vae.encode(pixels, height, width))).data;
}

/** What an inpainting network gets besides the state: the mask, and the picture with grey where it is white. */
export async function inpaintingInputs(
  { limits, vae }: Parts,
  pictures: readonly Picture[],
  mask: Mask | undefined,
  small: Mask | undefined,
  clock: Clock,
): Promise<Map<Image, Float32Array> | undefined> {
  if (!limits.inpainting || !mask || !small) return undefined;
  const found = new Map<Image, Float32Array>();
  for (const { image } of pictures) {
    if (!image || found.has(image)) continue;
    const pixels = toPixels(image);
    for (let i = 0; i < pixels.length; i++) if (mask.data[i % mask.data.length] === 1) pixels[i] = 0;
    found.set(image, joined([new Float32Array(small.data), await encodePixels(vae, pixels, image, clock)]));
  }
  return found;
}

/** Start noise: every picture's own draw from its seed, as `torch.Generator().manual_seed(seed)` gives it. */
export function startNoise(pictures: readonly { seed: number }[], shape: Shape): Float32Array {
  return joined(pictures.map(({ seed }) => generator(seed).randn([1, ...shape]).data as Float32Array));
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** One after the other. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A tensor in the type that a network takes. */
export function typed(x: Tensor, type: NetworkType): Tensor {
  if (type === 'float32') return x;
  const data = allocate(type, (x.data as Float32Array).length);
  convert(x.data as Float32Array, data);
  return { type, data, dims: x.dims } as Tensor;
}
