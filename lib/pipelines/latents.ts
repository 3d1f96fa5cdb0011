// Between pictures and the states that the network works on: latents, or pixels where there is no autoencoder.
import { convert } from '../addon/native.js';
import { generator } from '../addon/noise.js';
import { allocate, type Tensor } from '../base/tensor.js';
import { type Image, toImages, toPixels } from '../image/image.js';
import type { Clock } from './clock.js';
import type { Coder } from './coder.js';
import type { NetworkType, Shape } from './denoiser.js';
import type { Mask } from './mask.js';
import type { Parts } from './parts.js';
import type { Picture } from './request.js';
import { type OnProgress, Stage } from './stages.js';

/** What stands between pictures and states in a call. */
export interface Between {
  /** undefined: the network works in pixels. */
  readonly coder: Coder | undefined;
  readonly clock: Clock;
  readonly onProgress?: OnProgress;
}

/** States as pictures. */
export async function decode(
  { coder, clock }: Between,
  { data, dims }: { data: Float32Array; dims: number[] },
): Promise<Image[]> {
  return coder ? clock.inVae(() => coder.decode({ data, dims })) : toImages(data, dims);
}

/** Every image, in the network's space. */
export async function encodeImages(
  pictures: readonly Pick<Picture, 'image'>[],
  between: Between,
): Promise<Map<Image, Float32Array>> {
  return encodeEach(pictures, between, (image) => toPixels(image));
}

/** @param pixelsOf what of a picture is encoded */
async function encodeEach(
  pictures: readonly Pick<Picture, 'image'>[],
  { coder, clock, onProgress }: Between,
  pixelsOf: (image: Image) => Float32Array,
): Promise<Map<Image, Float32Array>> {
  const images = [...new Set(pictures.flatMap(({ image }) => image ?? []))];
  if (images.length === 0 || !coder) return new Map(images.map((image) => [image, pixelsOf(image)]));
  const stage = new Stage('encode', images.length * coder.piecesOf(images[0]), onProgress);
  const found = new Map<Image, Float32Array>();
  for (const [i, image] of images.entries()) {
    const made = clock.inVae(() => coder.encode(pixelsOf(image), image, stage, images.length - i));
    found.set(image, await made);
  }
  return found;
}

/** What an inpainting network gets besides the state: the mask, and the picture with grey where it is white. */
export async function inpaintingInputs(
  { limits }: Parts,
  pictures: readonly Picture[],
  mask: Mask | undefined,
  small: Mask | undefined,
  between: Between,
): Promise<Map<Image, Float32Array> | undefined> {
  if (!limits.inpainting || !mask || !small) return undefined;
  const masked = await encodeEach(pictures, between, (image) => {
    const pixels = toPixels(image);
    for (let i = 0; i < pixels.length; i++) if (mask.data[i % mask.data.length] === 1) pixels[i] = 0;
    return pixels;
  });
  const places = new Float32Array(small.data);
  return new Map([...masked].map(([image, latents]) => [image, joined([places, latents])]));
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
