// Normal noise: torch's CPU generator, so that seeds give what a Python script gives, and Philox, which is drawn by
// element and is therefore the same on every device.
import { knownOptions, outOfRange } from '../base/check.js';
import { addon } from './native.js';

/** What the generators return: a plain object, row-major. */
export interface NoiseTensor<K extends NoiseType = NoiseType> {
  /** What `data` holds. */
  type: K;
  /** Standard normal values, row-major. */
  data: NoiseData[K];
  /** As asked for. */
  dims: number[];
}

/**
 * The arrays of a {@link NoiseTensor}, whose memory is not shared. TypeScript before 5.7 has no name for that, so it is
 * taken from what makes such arrays.
 */
export interface NoiseData {
  /** Single precision. */
  float32: ReturnType<typeof Float32Array.of>;
  /** Double precision. */
  float64: ReturnType<typeof Float64Array.of>;
}

/** The types that noise is drawn in; each has a stream of its own, as in torch. */
export type NoiseType = 'float32' | 'float64';

/** A stream of standard normal values, as `torch.Generator` on the CPU has it. */
export interface Generator {
  /**
   * The next values of the stream, as `torch.randn(dims, generator=g, dtype=type)` draws them on the CPU, within 2e-6
   * (float32) or 1e-14 (float64). How a stream is cut into calls matters, as in torch: `randn([16])` is not two times
   * `randn([8])`.
   *
   * @param dims positive integers; `[]` is one value without dimensions
   * @throws TypeError, RangeError when dims or type are not what is expected
   */
  randn<K extends NoiseType = 'float32'>(dims: readonly number[], options?: { type?: K }): NoiseTensor<K>;
}

type Floats = Float32Array | Float64Array;

interface NoiseAddon {
  torchSeed(state: Uint32Array, seedLow: number, seedHigh: number): void;
  torchRandn(state: Uint32Array, out: Floats, begin?: number, end?: number): void;
  torchSkip(state: Uint32Array, n: number, isDouble: boolean): void;
  philoxRandn(
    seedLow: number,
    seedHigh: number,
    step: number,
    stream: number,
    first: number,
    out: Floats,
    begin?: number,
    end?: number,
  ): void;
}

const native = addon as unknown as NoiseAddon;

/** The length of the state that `torchSeed` fills (native/noise/torch.h). */
const TORCH_STATE_LENGTH = 628;

/** 8 GiB of float32; allocation fails earlier on most machines. */
const MAX_ELEMENTS = 2 ** 31;

/**
 * `torch.Generator().manual_seed(seed)` on the CPU.
 *
 * @param seed a safe integer. Of a 64-bit seed torch's generator uses the low 32 bits, negative seeds count as
 *   2^64 + seed; both as in torch.
 * @throws TypeError when the seed is no number, RangeError when it is no safe integer
 */
export function generator(seed: number): Generator {
  const state = torchState(seed);
  return {
    randn<K extends NoiseType>(dims: readonly number[], options?: { type?: K }): NoiseTensor<K> {
      const type = checkType(options) as K;
      const data = allocate(elements(dims), type) as NoiseData[K];
      native.torchRandn(state, data);
      return { type, data, dims: [...dims] };
    },
  };
}

/**
 * `generator(seed).randn(dims)`: what `torch.manual_seed(seed); torch.randn(dims)` gives.
 *
 * @param dims positive integers, 2^31 elements at most
 * @throws TypeError, RangeError as {@link generator} and {@link Generator.randn} do
 */
export function randn<K extends NoiseType = 'float32'>(
  dims: readonly number[],
  options: { seed: number; type?: K },
): NoiseTensor<K> {
  // First, so that sizes one by one are seen.
  elements(dims);
  if (options === null || typeof options !== 'object') {
    const seed = typeof options === 'number' ? `, { seed: ${options} },` : '';
    throw new TypeError(`Expected an object with a seed${seed} for options but received ${describe(options)}`);
  }
  knownOptions(options, ['seed', 'type'], 'randn');
  return generator(options.seed).randn(dims, options);
}

/** A source of noise for a run. @internal */
export interface NoiseSource {
  /** The draw of xT that precedes the run's own: as one `fill` of `length` values, without computing them. */
  skip(length: number, batch: number, type: NoiseType): void;
  /**
   * Fills `out` (batch samples of equal size, contiguous) with the noise of one update. `evaluation` counts the updates
   * of a run that draw, from 0; sources that keep a stream take no notice of it.
   */
  fill(out: Floats, batch: number, evaluation: number): void;
}

/**
 * Noise as torch draws it. One seed: each `fill` is one randn of the whole tensor. An array: one generator per sample,
 * each draws its own sample, and no sample's noise depends on what shares the batch.
 *
 * @internal
 */
export class TorchNoise implements NoiseSource {
  readonly #states: Uint32Array[];
  readonly #perSample: boolean;

  constructor(seed: number | readonly number[]) {
    this.#perSample = Array.isArray(seed);
    this.#states = seedList(seed).map((one) => torchState(one));
  }

  skip(length: number, batch: number, type: NoiseType): void {
    const n = sampleLength(length, batch, this.#perSample ? this.#states.length : undefined);
    const count = this.#perSample ? n : length;
    for (const state of this.#states) native.torchSkip(state, count, type === 'float64');
  }

  fill(out: Floats, batch: number, _evaluation?: number): void {
    const n = sampleLength(out.length, batch, this.#perSample ? this.#states.length : undefined);
    if (!this.#perSample) {
      native.torchRandn(this.#states[0], out);
      return;
    }
    for (let i = 0; i < batch; i++) native.torchRandn(this.#states[i], out, i * n, (i + 1) * n);
  }
}

/**
 * Noise by counter (native/noise/philox.h): element e of a sample is a function of (seed, evaluation, stream, e), so
 * that nothing is kept between calls. One seed: sample i of the batch is stream i of that seed. An array: sample i is
 * stream 0 of seed i, whatever shares the batch. A batch of one gives the same either way.
 *
 * @internal
 */
export class PhiloxNoise implements NoiseSource {
  readonly #seeds: readonly number[];
  readonly #perSample: boolean;

  constructor(seed: number | readonly number[]) {
    this.#perSample = Array.isArray(seed);
    this.#seeds = seedList(seed).map((one) => checkSeed(one));
  }

  /** Key and stream of a sample, for kernels that draw the noise themselves. */
  key(sample: number): { seedLow: number; seedHigh: number; stream: number } {
    const seed = this.#perSample ? this.#seeds[sample] : this.#seeds[0];
    return { seedLow: low(seed), seedHigh: high(seed), stream: this.#perSample ? 0 : sample };
  }

  /** What kernels draw the noise of one update from: the seed's low and high word, the evaluation and the stream of each sample. */
  words(batch: number, evaluation: number): Uint32Array {
    const words = new Uint32Array(4 * batch);
    for (let i = 0; i < batch; i++) {
      const { seedLow, seedHigh, stream } = this.key(i);
      words.set([seedLow, seedHigh, evaluation, stream], 4 * i);
    }
    return words;
  }

  /** Nothing: xT is never drawn from these streams. */
  skip(): void {}

  fill(out: Floats, batch: number, evaluation: number): void {
    const n = sampleLength(out.length, batch, this.#perSample ? this.#seeds.length : undefined);
    for (let i = 0; i < batch; i++) {
      const seed = this.#perSample ? this.#seeds[i] : this.#seeds[0];
      const stream = this.#perSample ? 0 : i;
      native.philoxRandn(low(seed), high(seed), evaluation, stream, 0, out, i * n, (i + 1) * n);
    }
  }
}

/**
 * The noise of a run, with the draw of xT behind it, which a torch script makes from the same generator; null for an ODE.
 *
 * @throws RangeError where there is not one seed for each sample
 * @internal
 */
export function noiseOfRun(
  stochastic: boolean,
  { seed: given, noise }: { readonly seed?: number | readonly number[]; readonly noise: 'torch' | 'philox' },
  { length, batch, type }: { length: number; batch: number; type: NoiseType },
): { seed: number | readonly number[]; source: NoiseSource } | null {
  if (typeof given === 'object' && given.length !== batch) {
    throw outOfRange(`one seed per sample (${batch})`, 'seed', given.length);
  }
  if (!stochastic) return null;
  const seed = given ?? Math.floor(Math.random() * 2 ** 32);
  const source = noise === 'philox' ? new PhiloxNoise(seed) : new TorchNoise(seed);
  source.skip(length, batch, type);
  return { seed, source };
}

function torchState(seed: number): Uint32Array {
  checkSeed(seed);
  const state = new Uint32Array(TORCH_STATE_LENGTH);
  native.torchSeed(state, low(seed), high(seed));
  return state;
}

// The 64-bit two's complement of a safe integer in two words.
function low(seed: number): number {
  return seed >>> 0;
}

function high(seed: number): number {
  return Math.floor(seed / 2 ** 32) >>> 0;
}

function checkSeed(seed: number): number {
  if (typeof seed !== 'number') throw new TypeError(`Expected a number for seed but received ${describe(seed)}`);
  if (!Number.isSafeInteger(seed)) throw new RangeError(`Expected a safe integer for seed but received ${seed}`);
  return seed;
}

function seedList(seed: number | readonly number[]): readonly number[] {
  if (!Array.isArray(seed)) return [seed as number];
  if (seed.length === 0) throw new RangeError('Expected one seed per sample for seed but received an empty array');
  return seed;
}

function checkType(options: { type?: NoiseType } | undefined): NoiseType {
  if (options !== undefined && (options === null || typeof options !== 'object')) {
    throw new TypeError(`Expected an object for options but received ${describe(options)}`);
  }
  const type = options?.type ?? 'float32';
  if (type === 'float32' || type === 'float64') return type;
  const message = `Expected 'float32' or 'float64' for type but received ${describe(type)}`;
  throw typeof type === 'string' ? new RangeError(message) : new TypeError(message);
}

function elements(dims: readonly number[]): number {
  if (!Array.isArray(dims)) {
    throw new TypeError(`Expected an array of positive integers for dims but received ${describe(dims)}`);
  }
  let count = 1;
  for (let i = 0; i < dims.length; i++) {
    const size: unknown = dims[i];
    if (typeof size !== 'number') {
      throw new TypeError(`Expected a positive integer for dims[${i}] but received ${describe(size)}`);
    }
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(`Expected a positive integer for dims[${i}] but received ${size}`);
    }
    count *= size;
  }
  if (count > MAX_ELEMENTS) {
    throw new RangeError(`Expected at most 2^31 elements for dims but received [${dims.join(', ')}]`);
  }
  return count;
}

/** Elements per sample; `seeds` is how many there must be samples, where each has a seed of its own. */
function sampleLength(length: number, batch: number, seeds: number | undefined): number {
  if (!Number.isSafeInteger(batch) || batch < 1 || length % batch !== 0) {
    throw new RangeError(`Expected a divisor of the tensor's ${length} elements for batch but received ${batch}`);
  }
  if (seeds !== undefined && seeds !== batch) {
    throw new RangeError(`Expected one seed per sample (${batch}) for seed but received ${seeds}`);
  }
  return length / batch;
}

function allocate(length: number, type: NoiseType): NoiseData[NoiseType] {
  return type === 'float64' ? new Float64Array(length) : new Float32Array(length);
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 40 ? `${value.slice(0, 40)}...` : value}'`;
  if (value === null || typeof value === 'undefined' || typeof value === 'number' || typeof value === 'boolean') {
    return String(value);
  }
  if (typeof value === 'bigint') return `${value}n`;
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
