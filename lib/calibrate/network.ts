// The network as calibration sees it: predictions of x0 for some of the samples, every evaluation counted.
import { predictionRow, ROW, STATUS, SUM, TRANSFORM } from '../addon/coefficients.js';
import { addon, CHECK_FINITE, DOUBLED, type NetworkArray, type StateArray } from '../addon/native.js';
import { allocate, makeTensor, readTensor, sameDims, type Tensor, type TensorView, wrongDims } from '../base/tensor.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';
import type { NetworkType } from '../solver/options.js';
import type { Row } from './student.js';

/**
 * A network: called with a batch of states, modelTime, and which samples the batch holds, in order, so that each keeps
 * its prompt or condition. Gives its prediction in a tensor of the dims of x. Under classifier-free guidance x holds the
 * batch twice, first to be predicted without the condition, then with it; `samples` names each sample once.
 */
export type CalibratedModel = (
  x: Tensor,
  t: number,
  context: {
    /** Of the batch, in order. */
    samples: readonly number[];
    signal?: AbortSignal;
  },
) => Tensor | Promise<Tensor>;

const NONE = null;

/** A prediction that is no number: a student that leads there is none, a teacher that does is an error. */
export class NotFinite extends Error {}

/** What a promise gives, or undefined where it is rejected by {@link NotFinite}. */
export async function unlessNotFinite<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof NotFinite) return undefined;
    throw error;
  }
}

/** Memory of the kind that states have. */
export function stateArray(type: 'float32' | 'float64', length: number): StateArray {
  return type === 'float64' ? new Float64Array(length) : new Float32Array(length);
}

export class Network {
  readonly type: 'float32' | 'float64';
  /** Numbers of one sample. */
  readonly size: number;
  readonly scale: number;
  readonly #model: CalibratedModel;
  readonly #modelType: NetworkType;
  readonly #like: TensorView;
  readonly #signal: AbortSignal | undefined;
  readonly #row = new Float64Array(ROW.length);
  /** Of one sample each: a guided one counts once. */
  evaluations = 0;

  /** @param like a sample, whose class, type and dims the network is given */
  constructor(
    model: CalibratedModel,
    options: { modelType: NetworkType; scale: number; like: Tensor; signal?: AbortSignal },
  ) {
    this.#model = model;
    this.#modelType = options.modelType;
    this.#like = readTensor(options.like, 'sample(0)');
    this.#signal = options.signal;
    this.scale = options.scale;
    this.type = this.#like.type === 'float64' ? 'float64' : 'float32';
    this.size = this.#like.length / this.#like.batch;
  }

  /** Of one sample. */
  get dims(): readonly number[] {
    return this.#like.dims;
  }

  get doubled(): boolean {
    return this.scale !== 1;
  }

  /**
   * The prediction of x0, guided, at a node.
   *
   * @param x states of `samples`, one after the other; not written to
   * @param t modelTime
   * @param out written: as x
   */
  async predict(
    x: StateArray,
    node: ScheduleNode,
    t: number,
    samples: readonly number[],
    out: StateArray,
  ): Promise<void> {
    this.#signal?.throwIfAborted();
    const count = samples.length;
    const status = predictionRow(
      this.#row,
      0,
      this.#modelType,
      'data',
      node,
      this.doubled ? 'classifierFree' : 'none',
      this.scale,
    );
    if (status !== STATUS.ok) {
      throw new RangeError(
        `Expected a time with alpha above 0 with modelType '${this.#modelType}' but received one where alpha is 0: set tStart below it`,
      );
    }
    const m = await this.#call(x, t, samples);
    this.evaluations += count;
    // One row serves the whole batch, as if it were one sample.
    const row = this.#row;
    row.fill(0, ROW.first);
    const flags = CHECK_FINITE | (this.doubled ? DOUBLED : 0);
    const bad = addon.step(
      ...([row, 0, 1, flags, 0, NONE, x, m, NONE, NONE, NONE, out] as const),
      ...([NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE] as const),
    );
    if (bad < 0) return;
    const sample = samples[Math.floor(out.findIndex((value) => value - value !== 0) / this.size)];
    throw new NotFinite(
      `Expected finite numbers for the network output but received NaN or Infinity for sample ${sample} at model time ${t}`,
    );
  }

  async #call(x: StateArray, t: number, samples: readonly number[]): Promise<NetworkArray> {
    const { source, dims, type, data } = this.#like;
    const copies = this.doubled ? 2 : 1;
    const input = allocate(type, copies * x.length, data);
    for (let i = 0; i < copies; i++) addon.convert(x, input.subarray(i * x.length, (i + 1) * x.length));
    const given = [copies * samples.length, ...dims.slice(1)];
    const context = { samples, ...(this.#signal ? { signal: this.#signal } : {}) };
    const output = await this.#model(makeTensor(source, type, input, given), t, context);
    const view = readTensor(output, 'the network output');
    if (!sameDims(view.dims, given)) throw wrongDims(given, 'the network output', view.dims);
    if (view.type !== this.type && !(view.type === 'float16' && this.type === 'float32')) {
      const allowed = this.type === 'float64' ? "type 'float64'" : "type 'float32' or 'float16'";
      throw new TypeError(`Expected ${allowed} for the network output but received '${view.type}'`);
    }
    return view.data;
  }
}

/** One step: `row` over the state and the predictions, the latest first, which are as many as the row reads. */
export function applyRow(row: Row, x: StateArray, predictions: readonly StateArray[], out: StateArray): void {
  const native = new Float64Array(ROW.length);
  native[ROW.transform] = TRANSFORM.given;
  native[ROW.first + SUM.a] = row[0];
  native[ROW.first + SUM.bp] = row[1];
  native[ROW.first + SUM.b1] = row[2] ?? 0;
  native[ROW.first + SUM.b2] = row[3] ?? 0;
  native[ROW.first + SUM.b3] = row[4] ?? 0;
  const [p, d1 = NONE, d2 = NONE, d3 = NONE] = predictions;
  addon.step(native, 0, 1, 0, 0, NONE, NONE, NONE, NONE, NONE, x, p, d1, d2, d3, NONE, NONE, out, NONE, NONE);
}
