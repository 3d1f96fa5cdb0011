// What setTimesteps is asked for.
import {
  finiteNumber,
  knownOptions,
  numbers,
  outOfRange,
  positiveNumber,
  stepCount,
  wholeNumber,
} from '../base/check.js';

/** What {@link Scheduler.setTimesteps} takes besides a number of steps. */
export interface TimestepOptions {
  /** Number of network evaluations. */
  steps?: number;
  /** Training labels, strictly decreasing, instead of `steps`; integers where the class's timesteps are. */
  timesteps?: ArrayLike<number>;
  /**
   * Strictly decreasing sigmas (sigma / alpha, or flow times before the shift), instead of `steps`. The end follows, or
   * is given by a last one of 0.
   */
  sigmas?: ArrayLike<number>;
  /** For use_dynamic_shifting: log of the shift (time_shift_type 'exponential'), or the shift itself ('linear'). */
  mu?: number;
  /** LCM and TCD: how many steps the network was distilled from; original_inference_steps. */
  originalInferenceSteps?: number;
  /** LCM and TCD from a picture: the share of the schedule that is run, above 0 to 1; the schedule is made for it. */
  strength?: number;
}

/** A checked request for a schedule. */
export interface Request {
  readonly steps: number;
  readonly timesteps: readonly number[] | null;
  /** Without a last one of 0, of which `endsAtZero` tells. */
  readonly sigmas: readonly number[] | null;
  readonly endsAtZero: boolean;
  readonly mu: number | null;
  readonly originalSteps: number | null;
  readonly strength: number | null;
}

/** A request for a number of steps. @internal */
export function stepsOnly(steps: number): Request {
  return {
    ...{ steps, timesteps: null, sigmas: null, endsAtZero: false },
    mu: null,
    originalSteps: null,
    strength: null,
  };
}

/** Which timesteps a class takes. @internal */
export function wholeTimesteps(timesteps: readonly number[]): readonly number[] {
  timesteps.forEach((t, i) => {
    if (!Number.isInteger(t)) throw outOfRange('integers', `timesteps[${i}]`, t);
  });
  return timesteps;
}

const REQUEST_OPTIONS = ['steps', 'timesteps', 'sigmas', 'mu', 'originalInferenceSteps', 'strength'];

/** @throws TypeError, RangeError for what no schedule can have */
export function readRequest(options: unknown): Request {
  knownOptions(options, REQUEST_OPTIONS, 'setTimesteps');
  const { steps, timesteps, sigmas, mu, originalInferenceSteps: originalSteps, strength } = options as TimestepOptions;
  const given = [steps, timesteps, sigmas].filter((value) => value !== undefined).length;
  if (given !== 1) {
    throw new TypeError(
      `Expected exactly one of steps, timesteps and sigmas for setTimesteps but received ${given === 0 ? 'none' : given}`,
    );
  }
  if (mu !== undefined) finiteNumber(mu, 'mu');
  if (originalSteps !== undefined) wholeNumber(originalSteps, 'originalInferenceSteps', 1);
  if (strength !== undefined && !(finiteNumber(strength, 'strength') > 0 && strength <= 1)) {
    throw outOfRange('a number above 0 and at most 1', 'strength', strength);
  }
  const times = timesteps === undefined ? null : givenTimesteps(timesteps);
  const levels = sigmas === undefined ? null : givenSigmas(sigmas);
  const endsAtZero = levels !== null && levels.length > 1 && levels[levels.length - 1] === 0;
  if (endsAtZero) levels.pop();
  return {
    steps: (times ?? levels)?.length ?? stepCount(steps, 'the number of steps'),
    timesteps: times,
    sigmas: levels,
    endsAtZero,
    mu: mu ?? null,
    originalSteps: originalSteps ?? null,
    strength: strength ?? null,
  };
}

function givenTimesteps(list: ArrayLike<number>): number[] {
  const times = Array.from(numbers(list, 'timesteps'));
  if (times.length === 0) throw outOfRange('at least one timestep', 'timesteps', 0);
  times.forEach((t, i) => {
    finiteNumber(t, `timesteps[${i}]`);
    if (i > 0 && !(t < times[i - 1])) {
      throw outOfRange('strictly decreasing timesteps', `timesteps[${i}]`, t, ` after ${times[i - 1]}`);
    }
  });
  return times;
}

function givenSigmas(list: ArrayLike<number>): number[] {
  const sigmas = Array.from(numbers(list, 'sigmas'));
  if (sigmas.length === 0) throw outOfRange('at least one sigma', 'sigmas', 0);
  sigmas.forEach((sigma, i) => {
    if (!(sigma === 0 && i > 0 && i === sigmas.length - 1)) positiveNumber(sigma, `sigmas[${i}]`);
    if (i > 0 && !(sigma < sigmas[i - 1])) {
      throw outOfRange('strictly decreasing sigmas', `sigmas[${i}]`, sigma, ` after ${sigmas[i - 1]}`);
    }
  });
  return sigmas;
}
