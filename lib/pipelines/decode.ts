// Latents to pictures, apart from a run: of one that failed there, or of a result that was kept.
import { knownOptions, optionalFunction, optionalSignal, wrongType } from '../base/check.js';
import { type Image, toImages } from '../image/image.js';
import { Coder, type Latents } from './coder.js';
import { inTurn } from './memory.js';
import type { Parts } from './parts.js';
import type { OnProgress } from './stages.js';
import { readTiling, type Tiles, type VaeTiling } from './tiling.js';

/** What {@link DiffusionPipeline.decode} takes. */
export interface DecodeOptions {
  /** As for the call of the pipeline; `'auto'`. */
  vaeTiling?: VaeTiling;
  /** Told of every picture or tile. */
  onProgress?: OnProgress;
  /** Told where tiles are made that nobody asked for. */
  onWarning?: (message: string) => void;
  /** Looked at before every picture or tile: the promise then rejects with its reason. */
  signal?: AbortSignal;
}

/** Decodes latents. */
export async function decodeLatents(
  { vae, limits, memory, previewer }: Parts,
  latents: unknown,
  options: DecodeOptions,
): Promise<{ images: Image[]; tiles?: Tiles }> {
  knownOptions(options, ['vaeTiling', 'onProgress', 'onWarning', 'signal'], 'decode');
  const tiling = readTiling(options.vaeTiling, limits);
  const onProgress = optionalFunction(options.onProgress, 'onProgress');
  const warn = optionalFunction(options.onWarning, 'onWarning');
  const signal = optionalSignal(options.signal);
  const { data, dims } = readLatents(latents, limits.channels);
  signal?.throwIfAborted();
  if (!vae) return { images: toImages(data, dims) };
  const coder = new Coder(vae, { tiling, signal, warn, onProgress, previewer });
  const images = await inTurn([vae.decoder], { memory, onProgress }, () => coder.decode({ data, dims }));
  return { images, ...(coder.tiles ? { tiles: coder.tiles } : {}) };
}

/**
 * Checks that something is latents of a network's kind.
 *
 * @throws TypeError, RangeError
 */
export function readLatents(
  value: unknown,
  channels: number,
  name = 'latents',
): { data: Float32Array; dims: number[] } {
  const { data, dims } = (value ?? {}) as Partial<Latents>;
  if (!(data instanceof Float32Array) || !Array.isArray(dims)) {
    throw wrongType('{ data, dims } in float32', name, value);
  }
  const whole = dims.length === 4 && dims.every((d) => Number.isSafeInteger(d) && d > 0);
  if (!whole || dims[1] !== channels) {
    throw new RangeError(
      `Expected dims [pictures, ${channels}, height, width] for ${name} but received [${dims.join(', ')}]`,
    );
  }
  const size = dims.reduce((a, b) => a * b, 1);
  if (data.length !== size) {
    throw new RangeError(`Expected ${size} numbers, as its dims say, for ${name} but received ${data.length}`);
  }
  return { data, dims: [...dims] };
}
