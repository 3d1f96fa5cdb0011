// Which sigmas a run goes through, and what the network is told at each: the grids of diffusers' set_timesteps.

import { clash } from '../folder/scheduler-config.js';
import type { Settings } from '../folder/scheduler-keys.js';
import { betaQuantile } from '../schedule/beta-distribution.js';
import type { Training } from './training.js';

/** Labels of the evaluations, and one sigma more, in float32: that of the end. */
export interface Grid {
  readonly timesteps: readonly number[];
  readonly sigmas: Float32Array;
}

/** What grids cannot do alike, since diffusers' classes do not. */
export interface GridRules {
  /** 'training': the least noisy training step; 'grid': the grid's own last sigma, again. */
  readonly sigmaMin: 'training' | 'grid';
  /** Are the labels of Karras' and Lu's grids cut, not rounded, for cosine betas? */
  readonly cutsCosine: boolean;
  /** Does the flow grid start at 1 - 1e-6, or one training step below? */
  readonly flowStart: 'noise' | 'step';
}

/** Rounds halves to even, as numpy does. @internal */
export function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** `count` equispaced numbers, both ends included, with the rounding of numpy.linspace. @internal */
export function linspace(from: number, to: number, count: number): number[] {
  const step = count > 1 ? (to - from) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? to : i * step + from));
}

/** numpy.arange(from, 0, -step), rounded to integers: `count` of them, where rounding would make one more. @internal */
export function countDown(from: number, step: number, count: number): number[] {
  const delta = from - step - from;
  const most = Math.min(count, Math.ceil(from / step));
  return Array.from({ length: most }, (_, i) => roundHalfEven(from + i * delta));
}

/**
 * Labels of `steps` evaluations by timestep_spacing, from noise to data, within the first `last` training steps.
 * Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", table 2; one step is spared for the
 * end, so that 'linspace' and 'leading' divide into steps + 1.
 *
 * @internal
 */
export function spacedTimesteps(s: Settings, steps: number, last: number): number[] {
  switch (s.timestep_spacing) {
    case 'linspace':
      return linspace(0, last - 1, steps + 1)
        .map(roundHalfEven)
        .reverse()
        .slice(0, -1);
    case 'leading': {
      const ratio = Math.floor(last / (steps + 1));
      if (ratio === 0) {
        throw clash("timestep_spacing 'leading'", `${steps} steps`, `there are ${last} training steps to go through`);
      }
      return Array.from({ length: steps }, (_, i) => (steps - i) * ratio + s.steps_offset);
    }
    case 'trailing':
      return countDown(last, s.num_train_timesteps / steps, steps).map((t) => t - 1);
  }
}

/** How many of the training steps remain when those with lambda below lambda_min_clipped are left out. @internal */
export function keptSteps(s: Settings, training: Training): number {
  const { logSigmas } = training;
  let kept = logSigmas.length;
  // lambda = log(alpha / sigma) = -log(sigma / alpha), in float32 there as here.
  while (kept > 0 && -logSigmas[kept - 1] < s.lambda_min_clipped) kept--;
  if (kept >= 2) return kept;
  const left = `${kept} of ${logSigmas.length} training steps are left`;
  throw clash(`lambda_min_clipped ${s.lambda_min_clipped}`, `beta_schedule '${s.beta_schedule}'`, left);
}

/** sigma at a label, linear between training steps and constant outside of them, as numpy.interp. @internal */
export function sigmaAt(training: Training, t: number): number {
  const { sigmas } = training;
  const place = Math.min(Math.max(t, 0), sigmas.length - 1);
  const low = Math.min(Math.floor(place), sigmas.length - 2);
  return sigmas[low] + (sigmas[low + 1] - sigmas[low]) * (place - low);
}

/** The label, with a fraction, at which log sigma is interpolated to be that of `sigma`. @internal */
export function labelOf(training: Training, sigma: number): number {
  const { logSigmas } = training;
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  // The last one below, not the first one above: near zero terminal SNR the table goes up and comes down again, and its
  // last entry has the label of its own.
  let low = logSigmas.length - 1;
  while (low > 0 && logSigmas[low] > Math.fround(logSigma)) low--;
  low = Math.min(low, logSigmas.length - 2);
  const w = (logSigmas[low] - logSigma) / (logSigmas[low] - logSigmas[low + 1]);
  const inside = Math.min(Math.max(w, 0), 1);
  return (1 - inside) * low + inside * (low + 1);
}

/** Which of the grids that place sigmas, not labels, is asked for. @internal */
export function convertedGrid(s: Settings): 'karras' | 'lu' | 'exponential' | 'beta' | 'flow' | null {
  if (s.use_karras_sigmas) return 'karras';
  if (s.use_lu_lambdas) return 'lu';
  if (s.use_exponential_sigmas) return 'exponential';
  if (s.use_beta_sigmas) return 'beta';
  return s.use_flow_sigmas ? 'flow' : null;
}

/** `count` sigmas from `from` to `to`, in either direction: Karras et al. 2022, eq. 5, and others. @internal */
export function spacedSigmas(
  kind: 'karras' | 'lu' | 'exponential' | 'beta',
  from: number,
  to: number,
  count: number,
): number[] {
  switch (kind) {
    case 'karras': {
      const [first, last] = [from ** (1 / 7), to ** (1 / 7)];
      return linspace(0, 1, count).map((ramp) => (first + ramp * (last - first)) ** 7);
    }
    // Lu et al. 2022: equispaced in lambda, which is what 'exponential' is too. They differ in how labels are rounded.
    case 'lu':
    case 'exponential':
      return linspace(Math.log(from), Math.log(to), count).map(Math.exp);
    // Lee et al. 2024, "Beta Sampling is All You Need", in sigma.
    case 'beta':
      return linspace(0, 1, count).map((ramp) => to + betaQuantile(1 - ramp, 0.6, 0.6) * (from - to));
  }
}

/** sigma -> s sigma / (1 + (s - 1) sigma): Esser et al. 2024, "Scaling Rectified Flow Transformers". @internal */
export function shifted(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/**
 * Flow sigmas stretched so that the last one is `terminal` and 1 stays 1. A single step begins at the noise, whatever it is
 * told: it is left alone.
 *
 * @internal
 */
export function stretched(sigmas: readonly number[], terminal: number): number[] {
  const rest = 1 - sigmas[sigmas.length - 1];
  if (sigmas.length === 1 || !(rest > 0)) return [...sigmas];
  const scale = rest / (1 - terminal);
  return sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}

/** Flow sigmas from noise to data; `given` before the shift, or those of the class. */
function flowSigmas(
  s: Settings,
  rules: GridRules,
  steps: number,
  shift: number,
  given: readonly number[] | null,
): number[] {
  const least = 1 / s.num_train_timesteps;
  const plain =
    given ??
    (rules.flowStart === 'noise'
      ? linspace(1, least, steps + 1).slice(0, -1)
      : linspace(1, least, steps + 1)
          .map((alpha) => 1 - alpha)
          .reverse()
          .slice(0, -1));
  let sigmas = plain.map((sigma) => shifted(sigma, shift));
  if (s.shift_terminal !== null) sigmas = stretched(sigmas, s.shift_terminal);
  if (rules.flowStart === 'noise' && Math.abs(sigmas[0] - 1) < 1e-6) sigmas[0] -= 1e-6;
  return sigmas;
}

/** The sigmas of a grid that places sigmas, with their labels: noise to data, or, `upwards`, data to noise. @internal */
export function sigmaGrid(
  s: Settings,
  training: Training,
  rules: GridRules,
  steps: number,
  shift: number,
  given: readonly number[] | null,
  upwards = false,
): { timesteps: number[]; sigmas: number[] } {
  const kind = convertedGrid(s)!;
  const n = s.num_train_timesteps;
  if (kind === 'flow' || s.use_flow_sigmas) {
    let sigmas = flowSigmas(s, rules, steps, shift, given);
    // Placed anew between the ends of the flow's own grid, as FlowMatchEulerDiscreteScheduler does.
    if (kind !== 'flow') {
      for (const key of ['sigma_min', 'sigma_max'] as const) {
        if ((s[key] ?? 0) > 1) throw clash(`${key} ${s[key]}`, 'use_flow_sigmas true', "a flow's sigmas are at most 1");
      }
      sigmas = spacedSigmas(kind, s.sigma_max ?? sigmas[0], s.sigma_min ?? sigmas[steps - 1], steps);
    }
    if (upwards) sigmas.reverse();
    return { sigmas, timesteps: sigmas.map((sigma) => Math.trunc(sigma * n)) };
  }
  const table = training.sigmas;
  let high = s.sigma_max ?? table[table.length - 1];
  let low = s.sigma_min ?? table[0];
  if (kind === 'lu') {
    high = Math.exp(training.logSigmas[table.length - 1]);
    low = Math.exp(training.logSigmas[0]);
  }
  const sigmas = upwards ? spacedSigmas(kind, low, high, steps) : spacedSigmas(kind, high, low, steps);
  const cuts =
    kind === 'exponential' || kind === 'beta' || (rules.cutsCosine && s.beta_schedule === 'squaredcos_cap_v2');
  const label = cuts ? Math.trunc : roundHalfEven;
  return { sigmas, timesteps: sigmas.map((sigma) => label(labelOf(training, sigma))) };
}
