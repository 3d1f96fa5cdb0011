// diffusers' defaults, by the groups in which its classes share them.
import { SCALED_BETAS, STABLE_BETAS } from '../folder/scheduler-keys.js';

/** Keys of training, which every class but EDM's has. @internal */
export const TRAINING = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
  prediction_type: 'epsilon',
} as const;
/** The same of the classes that have Stable Diffusion's ends of the betas, but not its curve. */
export const STABLE_TRAINING = { ...TRAINING, ...STABLE_BETAS } as const;
/** Those of Stable Diffusion. */
export const SCALED_TRAINING = { ...TRAINING, ...SCALED_BETAS } as const;
export const CLIPPING = { thresholding: false, dynamic_thresholding_ratio: 0.995, sample_max_value: 1 } as const;
export const SOLVER = { solver_order: 2, algorithm_type: 'dpmsolver++', solver_type: 'midpoint' } as const;
export const GRIDS = {
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  use_flow_sigmas: false,
  flow_shift: 1,
} as const;
export const SHIFTING = { use_dynamic_shifting: false, time_shift_type: 'exponential' } as const;
export const SPACING = { timestep_spacing: 'linspace', steps_offset: 0 } as const;
