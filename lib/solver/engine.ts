// What a run needs of whatever holds its tensors: the engines in lib/engines implement it.
import type { Later } from '../base/later.js';
import type { Tensor } from '../base/tensor.js';
import type { Application } from './application.js';
import type { KnownAt } from './known.js';
import type { Sampler, Solver } from './options.js';
import type { Plan } from './plan.js';

export type { Application };

/** Which sample's prediction, or corrected x0, is not finite; -1 for none. @internal */
export interface Found {
  readonly sample: number;
  readonly corrected: boolean;
}

/** A found one that is told later: of which call of `apply`, counted from 0. @internal */
export interface LateFound extends Found {
  readonly apply: number;
}

/** What went to the card and back for a network on the host, and what came of it. */
export interface Transfers {
  /** Bytes to the card, xT and rows included. */
  uploaded: number;
  /** Bytes from it, results included. */
  downloaded: number;
  /** Time that the run stood still for copies of the network's input and output. */
  milliseconds: number;
  /** On WebGPU: why the steps were made on the host, such as `'thresholding'`; absent where states stayed on the device. */
  onHost?: string;
}

/**
 * What a run asks of its tensors, wherever they are. Slots are those of the plan. A promise, where one may come, is waited
 * for before the engine is asked for anything else, which only `sample` and `invert` can: engines of `start` have to do
 * everything at once.
 *
 * @internal
 */
export interface Engine {
  readonly seed: number | readonly number[] | undefined;
  /** Where what is not finite is told later: asks for it, with all that was queued done. */
  readonly late: { now(): LateFound | null; soon(): Promise<LateFound | null> } | null;
  /** Does the network's input have to be fetched from a card? */
  readonly fetches: boolean;
  /** Fetches it, so that input() has it at hand. */
  fetch?(slot: number, doubled: boolean): Promise<void>;
  /** Told of all evaluations, where they are known beforehand. */
  plan?(plan: Plan): void;
  /** What the network gets for a state, once or twice. */
  input(slot: number, doubled: boolean): Tensor;
  /** A state in xT's type and dims, as a view that later steps overwrite. */
  view(slot: number): Later<Tensor>;
  /** A state in xT's type, as a tensor of the caller's own; on a card its numbers may come later. */
  copy(slot: number): Tensor;
  /** The same, complete. */
  result(slot: number): Tensor;
  /**
   * Lets the caller change a state, in the state's own type: nothing is lost where the change is none.
   *
   * @param known what the change is, where it is no more than that
   */
  correct(slot: number, change: (x: Tensor) => Tensor, known?: KnownAt): Later<void>;
  /** Checks what the network returned; nothing of the run changes. */
  readOutput(output: unknown, gradient: unknown, doubled: boolean): Output;
  /** Runs one row. */
  apply(rows: Float64Array, step: Application, output: Output): Later<Found>;
  /**
   * Runs one row on a prediction that a history slot holds, or on none (-1): an adaptive step tried again, and what of a
   * table's row is too long for one step. Rows of a plan say themselves that P is given.
   */
  applyKept(rows: Float64Array, step: Application, kept: number): Later<void>;
  /** The adaptive solver's error of each sample, the largest of them: solvers with one step size for a batch need it. */
  largestError(low: number, high: number, previous: number, atol: number, rtol: number): Later<number>;
  dispose?(): void;
}

/** @internal */
export type EngineMaker = (solver: Solver, sampler: Sampler, xT: Tensor, sizes: Sizes) => Engine;

/** How many states and history entries a run has, and how many evaluations: 0 where that is not known. @internal */
export interface Sizes {
  readonly states: number;
  readonly history: number;
  readonly evaluations: number;
}

/** A checked output of the network, and a gradient: whatever the engine's `readOutput` makes of them. @internal */
export interface Output {
  readonly m: unknown;
  readonly g: unknown;
}

/** Not Math.max with spread: a batch may be large. NaN wins. @internal */
export function largestOf(norms: Float64Array): number {
  return norms.reduce((most, norm) => (norm > most || Number.isNaN(norm) ? norm : most), 0);
}

/** Does the step take a gradient? Throws where one is missing, or came without being asked for. @internal */
export function wantsGradient({ guidance }: Solver, gradient: unknown): boolean {
  const wanted = guidance.type === 'classifier' && guidance.scale !== 0;
  if (wanted && gradient === undefined) {
    throw new TypeError(
      "Expected a gradient beside the network output for guidance 'classifier' but received undefined",
    );
  }
  if (!wanted && gradient !== undefined && guidance.type !== 'classifier') {
    throw new TypeError(`Expected no gradient for guidance '${guidance.type}' but received one`);
  }
  return wanted;
}
