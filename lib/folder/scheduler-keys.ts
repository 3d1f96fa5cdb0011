// What becomes of every key and every class of scheduler_config.json, in one table. A pipeline reads the one in its folder
// by the classes that are made of it.
import { finiteNumber, numbers, oneOf, outOfRange, positiveNumber, wholeNumber, wrongType } from '../base/check.js';
import { BETA_SCHEDULES, type BetaSchedule } from '../schedule/betas.js';

/** The keys that the schedulers here read, as diffusers writes them; which of them a class has says its configuration. */
export interface Settings {
  /** Training steps: labels go from 0 to one less; 2 to 1e6. */
  num_train_timesteps: number;
  /** Of the first training step, between 0 and 1. */
  beta_start: number;
  /** Of the last training step, between 0 and 1. */
  beta_end: number;
  /** How betas go from the first to the last. */
  beta_schedule: BetaSchedule;
  /** The betas themselves, above 0 and at most 1, in place of the three keys before; null where they hold. */
  trained_betas: ArrayLike<number> | null;
  /** Move the betas so that nothing of the data is left at the last training step (Lin et al. 2023, arXiv 2305.08891). */
  rescale_betas_zero_snr: boolean;
  /** What the network predicts: epsilon, x0 (`sample`), v, or the flow epsilon - x0. */
  prediction_type: 'epsilon' | 'sample' | 'v_prediction' | 'flow_prediction';
  /** Of a network's variance, or of DDPM's noise; `learned` and `learned_range` mean twice the channels. */
  variance_type: string | null;
  /** Clip x0 to a quantile of its sample (Saharia et al. 2022, arXiv 2205.11487); for networks in pixels. */
  thresholding: boolean;
  /** Which quantile of |x0|, 0 to 1. */
  dynamic_thresholding_ratio: number;
  /** With thresholding: what the quantile is at most, above 0. */
  sample_max_value: number;
  /** Clip x0 to `clip_sample_range`; for networks in pixels. */
  clip_sample: boolean;
  /** Largest |x0|, above 0. */
  clip_sample_range: number;
  /** Order of the solver, 1 to 3; 2 is for guided sampling. */
  solver_order: 1 | 2 | 3;
  /** Data (`++`) or noise prediction, as ODE or as SDE (`sde-`); DEIS and SA-Solver have words of their own. */
  algorithm_type:
    | 'dpmsolver'
    | 'dpmsolver++'
    | 'sde-dpmsolver'
    | 'sde-dpmsolver++'
    | 'deis'
    | 'data_prediction'
    | 'noise_prediction';
  /** Second-order rule: midpoint or heun for DPM-Solver; UniPC's B(h) is `bh1` or `bh2`, DEIS' polynomial `logrho`. */
  solver_type: 'midpoint' | 'heun' | 'logrho' | 'bh1' | 'bh2';
  /** Lower orders at the end of runs below 15 steps. */
  lower_order_final: boolean;
  /** The last step is one of order 1, however long the run is. */
  euler_at_final: boolean;
  /** Where the last step ends: at the data (`zero`), or at the first training step's noise. */
  final_sigmas_type: 'zero' | 'sigma_min';
  /** Noise levels of Karras et al. 2022 (arXiv 2206.00364), rho 7. */
  use_karras_sigmas: boolean;
  /** Noise levels that are even in log sigma. */
  use_exponential_sigmas: boolean;
  /** Noise levels by the quantiles of a beta distribution (Lee et al. 2024, arXiv 2407.12173). */
  use_beta_sigmas: boolean;
  /** Times that are even in lambda, as Lu et al. have them for DPM-Solver. */
  use_lu_lambdas: boolean;
  /** The network was trained with flow matching. */
  use_flow_sigmas: boolean;
  /** With `use_flow_sigmas`: s of sigma = s t / (1 + (s - 1) t), above 0. */
  flow_shift: number;
  /** The shift depends on the size of the picture: `setTimesteps` is told mu. */
  use_dynamic_shifting: boolean;
  /** Is mu the log of the shift, or the shift itself? */
  time_shift_type: 'exponential' | 'linear';
  /** Stretch the flow so that its last sigma is this, between 0 and 1; null leaves it. */
  shift_terminal: number | null;
  /** Which training labels the steps stand at (Lin et al. 2023, table 2). */
  timestep_spacing: 'linspace' | 'leading' | 'trailing';
  /** Added to the labels of `leading` spacing; at least 0. */
  steps_offset: number;
  /** Leave out training steps whose lambda is below this; -Infinity leaves out none, -5.1 is for cosine betas. */
  lambda_min_clipped: number;
  /** Data prediction (true) or noise prediction. */
  predict_x0: boolean;
  /** Indices of the steps after which UniPC does not correct. */
  disable_corrector: ArrayLike<number>;
  /** Does the last step end at the data, or at the first training step? */
  set_alpha_to_one: boolean;
  /** Begin with linear multistep in place of the pseudo Runge-Kutta steps. */
  skip_prk_steps: boolean;
  /** Smallest noise level, above 0; null: the schedule's. */
  sigma_min: number | null;
  /** Largest noise level, above 0; null: the schedule's. */
  sigma_max: number | null;
  /** Standard deviation of the data, of EDM's preconditioning; above 0. */
  sigma_data: number;
  /** How the noise levels lie. */
  sigma_schedule: 'karras' | 'exponential';
  /** Of the karras schedule, above 0. */
  rho: number;
  /** Is the network told a training label, or log sigma / 4? */
  timestep_type: 'discrete' | 'continuous';
  /** Between training steps: in sigma, or in log sigma. */
  interpolation_type: 'linear' | 'log_linear';
  /** s of sigma = s t / (1 + (s - 1) t), above 0. */
  shift: number;
  /** Time goes the other way: 1 - sigma. */
  invert_sigmas: boolean;
  /** Draw new noise at every step. */
  stochastic_sampling: boolean;
  /** Sizes of the latents by steps; null alone is taken. */
  scale_factors: ArrayLike<number> | null;
  /** Steps that the network was distilled with; at least 1. */
  original_inference_steps: number;
  /** Factor of the label in the boundary conditions of a consistency model, above 0. */
  timestep_scaling: number;
  /** 1 to 4. */
  predictor_order: 1 | 2 | 3 | 4;
  /** 1 to 4. */
  corrector_order: 1 | 2 | 3 | 4;
  /** How stochastic a step is, by its label; null: 1 from label 200 to 800 and 0 elsewhere. */
  tau_func: ((t: number) => number) | null;
  /** The signal-to-noise ratio of training is divided by it; above 0. */
  snr_shift_scale: number;
  /** How much noise a step adds, 0 to 1. */
  eta: number;
  /** Standard deviation of that noise; at least 0. */
  s_noise: number;
  /** Clip x0 to [-1, 1]. */
  clip_denoised: boolean;
}

/**
 * - `noise`: variance-preserving training steps
 * - `flow`: flow matching
 * - `edm`: a network with the preconditioning of EDM; `cosine`: the same, told the angle of its noise
 * - `cogvideox`: training steps whose signal-to-noise ratio is shifted
 * - `ipndm`: v on sines of a time from 1 to 0
 * - `consistency`: a consistency model with the preconditioning of EDM
 * - `minimax`: flow matching, told how much of the data there is, and with its output towards the data
 */
export type NetworkKind = 'noise' | 'flow' | 'edm' | 'cosine' | 'cogvideox' | 'ipndm' | 'consistency' | 'minimax';

/** What is known of a network by the name of its scheduler. */
export interface Origin {
  readonly network: NetworkKind;
  /** Was it distilled to make a few steps of its own kind? */
  readonly distilled?: boolean;
  /** The scheduler's defaults of training, where they are not those of DDPM: what a file of it leaves out. */
  readonly training?: Partial<Settings>;
}

export const STABLE_BETAS = { beta_start: 0.00085, beta_end: 0.012 } as const;
export const SCALED_BETAS = { ...STABLE_BETAS, beta_schedule: 'scaled_linear' } as const;

/** What the network of each of diffusers' schedulers was trained for. One of a class that is not here is refused. */
export const CLASSES: ReadonlyMap<string, Origin> = new Map(
  (
    [
      [
        { network: 'noise' },
        'DPMSolverMultistep DPMSolverSinglestep DPMSolverMultistepInverse UniPCMultistep DEISMultistep DDIM DDIMInverse',
        'DDIMParallel DDPM DDPMParallel PNDM EulerDiscrete EulerAncestralDiscrete LMSDiscrete SASolver',
      ],
      [{ network: 'noise', training: STABLE_BETAS }, 'HeunDiscrete KDPM2Discrete KDPM2AncestralDiscrete DPMSolverSDE'],
      [{ network: 'noise', distilled: true, training: SCALED_BETAS }, 'LCM TCD'],
      [{ network: 'cogvideox', training: SCALED_BETAS }, 'CogVideoXDDIM CogVideoXDPM'],
      [{ network: 'flow' }, 'FlowMatchEulerDiscrete FlowMatchHeunDiscrete LTXEulerAncestralRF'],
      [{ network: 'flow', distilled: true }, 'FlowMatchLCM'],
      [{ network: 'edm' }, 'EDMDPMSolverMultistep EDMEuler'],
      [{ network: 'consistency', distilled: true }, 'CMStochasticIterative'],
      [{ network: 'cosine' }, 'CosineDPMSolverMultistep'],
      [{ network: 'ipndm' }, 'IPNDM'],
      [{ network: 'minimax' }, 'MiniMaxH3'],
    ] as [Origin, ...string[]][]
  ).flatMap(([origin, ...lines]) =>
    lines.flatMap((line) => line.split(' ').map((name) => [`${name}Scheduler`, origin])),
  ),
);

/** A scheduler's name as PyTorch's classes have it: JAX's are the same methods. */
export function plainName(name: string): string {
  return name.startsWith('Flax') ? name.slice(4) : name;
}

/** What is known of the network of a configuration. */
export function originOf(name: string): Origin | undefined {
  return CLASSES.get(plainName(name));
}

export interface KeyRule {
  /**
   * Of a scheduler class. Heeded: the value where neither the configuration nor the class has one, and a check that throws.
   * Kept: it stays in the configuration and does nothing. Refused: some values are, for which reason; others are kept.
   */
  readonly inClass:
    | { readonly is: 'heeded'; readonly standard: unknown; readonly check: (value: unknown, key: string) => unknown }
    | { readonly is: 'kept' }
    | { readonly is: 'refused'; readonly why: string };
}

const bool = (value: unknown, key: string) => oneOf(value, key, [true, false]);
const choice =
  (...choices: string[]) =>
  (value: unknown, key: string) =>
    oneOf(value, key, choices);
const optional = (check: (value: unknown, key: string) => unknown) => (value: unknown, key: string) =>
  value === null ? value : check(value, key);

function unitInterval(value: unknown, key: string): void {
  const x = finiteNumber(value, key);
  if (!(x > 0 && x < 1)) throw outOfRange('a number between 0 and 1', key, x);
}

function share(value: unknown, key: string): void {
  const x = finiteNumber(value, key);
  if (!(x >= 0 && x <= 1)) throw outOfRange('a number from 0 to 1', key, x);
}

const KEPT: KeyRule = { inClass: { is: 'kept' } };
const heeded = (standard: unknown, check: (value: unknown, key: string) => unknown): KeyRule => ({
  inClass: { is: 'heeded', standard, check },
});
const refused = (why: string): KeyRule => ({ inClass: { is: 'refused', why } });

/** A thousand times what networks are trained with; more is a mistake, and would take all memory. */
const MOST_TIMESTEPS = 1e6;

const PREDICTIONS = ['epsilon', 'sample', 'v_prediction', 'flow_prediction'] as const;
const ALGORITHMS = ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'] as const;
const OTHER_ALGORITHMS = ['deis', 'data_prediction', 'noise_prediction'] as const;

export const KEYS: Readonly<Record<keyof Settings, KeyRule>> & Readonly<Record<string, KeyRule>> = {
  num_train_timesteps: heeded(1000, (value, key) => wholeNumber(value, key, 2, MOST_TIMESTEPS)),
  beta_start: heeded(0.0001, unitInterval),
  beta_end: heeded(0.02, unitInterval),
  beta_schedule: heeded('linear', choice(...BETA_SCHEDULES)),
  trained_betas: heeded(null, optional(betaList)),
  rescale_betas_zero_snr: heeded(false, bool),
  prediction_type: heeded('epsilon', choice(...PREDICTIONS)),
  variance_type: heeded(
    null,
    optional((value, key) => {
      if (typeof value !== 'string') throw wrongType('a string or null', key, value);
    }),
  ),
  thresholding: heeded(false, bool),
  dynamic_thresholding_ratio: heeded(0.995, share),
  sample_max_value: heeded(1, positiveNumber),
  clip_sample: heeded(false, bool),
  clip_sample_range: heeded(1, positiveNumber),
  solver_order: heeded(2, (value, key) => wholeNumber(value, key, 1, 3)),
  algorithm_type: heeded('dpmsolver++', choice(...ALGORITHMS, ...OTHER_ALGORITHMS)),
  solver_type: heeded('midpoint', choice('midpoint', 'heun', 'logrho', 'bh1', 'bh2')),
  lower_order_final: heeded(true, bool),
  euler_at_final: heeded(false, bool),
  final_sigmas_type: heeded('zero', choice('zero', 'sigma_min')),
  use_karras_sigmas: heeded(false, bool),
  use_exponential_sigmas: heeded(false, bool),
  use_beta_sigmas: heeded(false, bool),
  use_lu_lambdas: heeded(false, bool),
  use_flow_sigmas: heeded(false, bool),
  flow_shift: heeded(1, positiveNumber),
  use_dynamic_shifting: heeded(false, bool),
  time_shift_type: heeded('exponential', choice('exponential', 'linear')),
  shift_terminal: heeded(null, optional(unitInterval)),
  timestep_spacing: heeded('linspace', choice('linspace', 'leading', 'trailing')),
  steps_offset: heeded(0, (value, key) => wholeNumber(value, key, 0)),
  lambda_min_clipped: heeded(-Infinity, (value, key) => {
    if (typeof value !== 'number') throw wrongType('a number', key, value);
    if (Number.isNaN(value) || value === Infinity) throw outOfRange('a number below Infinity', key, value);
  }),
  predict_x0: heeded(true, bool),
  disable_corrector: heeded([], (value, key) => {
    for (const [i, x] of numbers(value, key).entries()) wholeNumber(x, `${key}[${i}]`, 0);
  }),
  set_alpha_to_one: heeded(false, bool),
  skip_prk_steps: heeded(false, bool),
  sigma_min: heeded(null, optional(positiveNumber)),
  sigma_max: heeded(null, optional(positiveNumber)),
  sigma_data: heeded(0.5, positiveNumber),
  sigma_schedule: heeded('karras', choice('karras', 'exponential')),
  rho: heeded(7, positiveNumber),

  timestep_type: heeded('discrete', choice('discrete', 'continuous')),
  interpolation_type: heeded('linear', choice('linear', 'log_linear')),
  invert_sigmas: heeded(false, bool),
  stochastic_sampling: heeded(false, bool),
  scale_factors: heeded(
    null,
    optional((value, key) => numbers(value, key)),
  ),
  original_inference_steps: heeded(50, (value, key) => wholeNumber(value, key, 1)),
  timestep_scaling: heeded(10, positiveNumber),
  predictor_order: heeded(2, (value, key) => wholeNumber(value, key, 1, 4)),
  corrector_order: heeded(2, (value, key) => wholeNumber(value, key, 1, 4)),
  tau_func: heeded(
    null,
    optional((value, key) => {
      if (typeof value !== 'function') throw wrongType('a function or null', key, value);
    }),
  ),
  snr_shift_scale: heeded(1, positiveNumber),
  eta: heeded(1, share),
  s_noise: heeded(1, (value, key) => {
    const x = finiteNumber(value, key);
    if (!(x >= 0)) throw outOfRange('a number of at least 0', key, x);
  }),
  clip_denoised: heeded(true, bool),

  // The classes that run flows and other networks take it for flow_shift.
  shift: heeded(1, positiveNumber),
  // A class is told mu, which a pipeline makes of these.
  base_shift: KEPT,
  max_shift: KEPT,
  base_image_seq_len: KEPT,
  max_image_seq_len: KEPT,

  solver_p: refused('another scheduler'),
  // Of networks that were distilled to go through these times only, by a sampler of their own.
  fixed_step_sampler_config: refused('the times of another sampler'),

  _class_name: KEPT,
  _diffusers_version: KEPT,
  _use_default_values: KEPT,
  _name_or_path: KEPT,
  predict_epsilon: KEPT,
  s_churn: KEPT,
  skip_type: KEPT,
  noise_sampler_seed: KEPT,
  use_tau: KEPT,
  upscale_mode: KEPT,
};

/** What becomes of a key that has another name: it is kept, and a class warns of it. */
export function ruleOf(key: string): KeyRule | undefined {
  return Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
}

function betaList(value: unknown, key: string): void {
  const list = numbers(value, key);
  if (list.length < 2) throw outOfRange('at least two numbers', key, list.length);
  for (const [i, x] of list.entries()) {
    if (!(x > 0 && x <= 1)) throw outOfRange('numbers above 0 and at most 1', `${key}[${i}]`, x);
  }
}
