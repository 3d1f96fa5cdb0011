// What setTimesteps is asked for.
import { finiteNumber, knownOptions, numbers, outOfRange, positiveNumber, stepCount } from '../base/check.js';

/** What {@link Scheduler.setTimesteps} takes besides a number of steps. */
export interface TimestepOptions {
  /** Number of network evaluations. */
  steps?: number;
  /** Training labels, strictly decreasing integers, instead of `steps`. */
  timesteps?: ArrayLike<number>;
  /** Strictly decreasing sigmas (sigma / alpha, or flow times before the shift), instead of `steps`; the end follows. */
  sigmas?: ArrayLike<number>;
  /** For use_dynamic_shifting: log of the shift (time_shift_type 'exponential'), or the shift itself ('linear'). */
  mu?: number;
}

/** A checked request for a schedule. */
export interface Request {
  readonly steps: number;
  readonly timesteps: readonly number[] | null;
  readonly sigmas: readonly number[] | null;
  readonly mu: number | null;
}

/** @throws TypeError, RangeError for what no schedule can have */
export function readRequest(options: unknown): Request {
  knownOptions(options, ['steps', 'timesteps', 'sigmas', 'mu'], 'setTimesteps');
  const { steps, timesteps, sigmas, mu } = options as TimestepOptions;
  const given = [steps, timesteps, sigmas].filter((value) => value !== undefined).length;
  if (given !== 1) {
    throw new TypeError(
      `Expected exactly one of steps, timesteps and sigmas for setTimesteps but received ${given === 0 ? 'none' : given}`,
    );
  }
  if (mu !== undefined) finiteNumber(mu, 'mu');
  return {
    steps: steps === undefined ? (timesteps ?? sigmas)!.length : stepCount(steps, 'the number of steps'),
    timesteps: timesteps === undefined ? null : givenTimesteps(timesteps),
    sigmas: sigmas === undefined ? null : givenSigmas(sigmas),
    mu: mu ?? null,
  };
}

function givenTimesteps(list: ArrayLike<number>): number[] {
  const times = Array.from(numbers(list, 'timesteps'));
  if (times.length === 0) throw outOfRange('at least one timestep', 'timesteps', 0);
  times.forEach((t, i) => {
    if (!Number.isInteger(t)) throw outOfRange('integers', `timesteps[${i}]`, t);
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
    positiveNumber(sigma, `sigmas[${i}]`);
    if (i > 0 && !(sigma < sigmas[i - 1])) {
      throw outOfRange('strictly decreasing sigmas', `sigmas[${i}]`, sigma, ` after ${sigmas[i - 1]}`);
    }
  });
  return sigmas;
}
