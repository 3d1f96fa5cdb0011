// What becomes of every key and every class of scheduler_config.json, in one table. A pipeline reads the one in its folder
// by the classes that are made of it.
import { finiteNumber, numbers, oneOf, outOfRange, positiveNumber, wholeNumber, wrongType } from '../base/check.js';
import { BETA_SCHEDULES, type BetaSchedule } from '../schedule/betas.js';

/** The keys that the schedulers here read, as diffusers writes them. */
export interface Settings {
  num_train_timesteps: number;
  beta_start: number;
  beta_end: number;
  beta_schedule: BetaSchedule;
  trained_betas: ArrayLike<number> | null;
  rescale_betas_zero_snr: boolean;
  prediction_type: 'epsilon' | 'sample' | 'v_prediction' | 'flow_prediction';
  variance_type: string | null;
  thresholding: boolean;
  dynamic_thresholding_ratio: number;
  sample_max_value: number;
  clip_sample: boolean;
  clip_sample_range: number;
  solver_order: 1 | 2 | 3;
  algorithm_type:
    | 'dpmsolver'
    | 'dpmsolver++'
    | 'sde-dpmsolver'
    | 'sde-dpmsolver++'
    | 'deis'
    | 'data_prediction'
    | 'noise_prediction';
  solver_type: 'midpoint' | 'heun' | 'logrho' | 'bh1' | 'bh2';
  lower_order_final: boolean;
  euler_at_final: boolean;
  final_sigmas_type: 'zero' | 'sigma_min';
  use_karras_sigmas: boolean;
  use_exponential_sigmas: boolean;
  use_beta_sigmas: boolean;
  use_lu_lambdas: boolean;
  use_flow_sigmas: boolean;
  flow_shift: number;
  use_dynamic_shifting: boolean;
  time_shift_type: 'exponential' | 'linear';
  shift_terminal: number | null;
  timestep_spacing: 'linspace' | 'leading' | 'trailing';
  steps_offset: number;
  lambda_min_clipped: number;
  predict_x0: boolean;
  disable_corrector: ArrayLike<number>;
  set_alpha_to_one: boolean;
  skip_prk_steps: boolean;
  sigma_min: number | null;
  sigma_max: number | null;
  sigma_data: number;
  sigma_schedule: 'karras' | 'exponential';
  rho: number;
  timestep_type: 'discrete' | 'continuous';
  interpolation_type: 'linear' | 'log_linear';
  shift: number;
  invert_sigmas: boolean;
  stochastic_sampling: boolean;
  scale_factors: ArrayLike<number> | null;
  original_inference_steps: number;
  timestep_scaling: number;
  predictor_order: 1 | 2 | 3 | 4;
  corrector_order: 1 | 2 | 3 | 4;
  tau_func: ((t: number) => number) | null;
  snr_shift_scale: number;
  eta: number;
  s_noise: number;
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

  solver_p: refused('another scheduler, which is not made here'),

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
