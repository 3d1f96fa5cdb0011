// The configuration of each class: which keys it has, for editors to complete and for TypeScript to check. What they are by
// default says the class's `rules`, which a test holds to the same keys.
import type { Settings } from '../folder/scheduler-keys.js';

/** Keys that libraries write beside the settings, such as `_class_name`. */
interface Others {
  /** The class whose configuration it is. */
  readonly _class_name?: string;
  /** Kept, and of no effect. */
  readonly [key: `_${string}`]: unknown;
}
type Keys<K extends keyof Settings> = Readonly<Partial<Pick<Settings, K>>> & Others;

type Training =
  | 'num_train_timesteps'
  | 'beta_start'
  | 'beta_end'
  | 'beta_schedule'
  | 'trained_betas'
  | 'prediction_type';
type Thresholding = 'thresholding' | 'dynamic_thresholding_ratio' | 'sample_max_value';
type Clipping = 'clip_sample' | 'clip_sample_range';
type Solver = 'solver_order' | 'algorithm_type' | 'solver_type' | 'lower_order_final';
type Grids = 'use_karras_sigmas' | 'use_exponential_sigmas' | 'use_beta_sigmas';
type Flow = 'use_flow_sigmas' | 'flow_shift';
type Shifting = 'use_dynamic_shifting' | 'time_shift_type';
type Spacing = 'timestep_spacing' | 'steps_offset';
type Preconditioned =
  | 'num_train_timesteps'
  | 'sigma_min'
  | 'sigma_max'
  | 'sigma_data'
  | 'sigma_schedule'
  | 'rho'
  | 'prediction_type'
  | 'final_sigmas_type';

/** The networks of classes that have no form for flow matching. */
interface NoFlow {
  /** What the network predicts: epsilon, x0 (`sample`) or v. */
  readonly prediction_type?: Exclude<Settings['prediction_type'], 'flow_prediction'>;
}
/** DPM-Solver's words for its forms and rules. */
interface DpmWords {
  /** Data (`++`) or noise prediction, as ODE or as SDE (`sde-`). */
  readonly algorithm_type?: 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++';
  /** Second-order rule. */
  readonly solver_type?: 'midpoint' | 'heun';
}

/** Of {@link DPMSolverMultistepScheduler}. */
export interface DPMSolverMultistepConfig
  extends Keys<
      | Training
      | Thresholding
      | Exclude<Solver, keyof DpmWords>
      | Grids
      | Flow
      | Shifting
      | Spacing
      | 'euler_at_final'
      | 'use_lu_lambdas'
      | 'final_sigmas_type'
      | 'lambda_min_clipped'
      | 'variance_type'
      | 'rescale_betas_zero_snr'
    >,
    DpmWords {}

/** Of {@link DPMSolverMultistepInverseScheduler}. */
export interface DPMSolverMultistepInverseConfig
  extends Keys<
      | Training
      | Thresholding
      | Exclude<Solver, keyof DpmWords>
      | Grids
      | Flow
      | Spacing
      | 'euler_at_final'
      | 'lambda_min_clipped'
      | 'variance_type'
    >,
    DpmWords {}

/** Of {@link DPMSolverSinglestepScheduler}. */
export interface DPMSolverSinglestepConfig
  extends Keys<
      | Training
      | Thresholding
      | Exclude<Solver, keyof DpmWords>
      | Grids
      | Flow
      | Shifting
      | 'final_sigmas_type'
      | 'lambda_min_clipped'
      | 'variance_type'
    >,
    DpmWords {}

/** Of {@link DEISMultistepScheduler}. */
export interface DEISMultistepConfig
  extends Keys<Training | Thresholding | Exclude<Solver, keyof DpmWords> | Grids | Flow | Shifting | Spacing> {
  /** This class's. */
  readonly algorithm_type?: 'deis';
  /** This class's polynomial. */
  readonly solver_type?: 'logrho';
}

/** Of {@link UniPCMultistepScheduler}. */
export interface UniPCMultistepConfig
  extends Keys<
    | Training
    | Thresholding
    | Grids
    | Flow
    | Shifting
    | Spacing
    | 'solver_order'
    | 'lower_order_final'
    | 'predict_x0'
    | 'disable_corrector'
    | 'final_sigmas_type'
    | 'rescale_betas_zero_snr'
  > {
  /** B(h) = h, for few unguided steps, or exp(h) - 1. */
  readonly solver_type?: 'bh1' | 'bh2';
}

/** Of {@link SASolverScheduler}. */
export interface SASolverConfig
  extends Keys<
    | Training
    | Thresholding
    | Grids
    | Flow
    | Spacing
    | 'predictor_order'
    | 'corrector_order'
    | 'tau_func'
    | 'lower_order_final'
    | 'lambda_min_clipped'
    | 'variance_type'
  > {
  /** Which form the solver has. */
  readonly algorithm_type?: 'data_prediction' | 'noise_prediction';
}

type NoFlowTraining = Exclude<Training, 'prediction_type'>;

/** Of {@link DDIMScheduler}. */
export interface DDIMConfig
  extends Keys<NoFlowTraining | Thresholding | Clipping | Spacing | 'set_alpha_to_one' | 'rescale_betas_zero_snr'>,
    NoFlow {}

/** Of {@link DDIMInverseScheduler}. */
export interface DDIMInverseConfig
  extends Keys<NoFlowTraining | Clipping | 'steps_offset' | 'set_alpha_to_one' | 'rescale_betas_zero_snr'>,
    NoFlow {
  /** Which training labels the steps stand at. */
  readonly timestep_spacing?: 'leading' | 'trailing';
}

/** Of {@link DDPMScheduler}. */
export interface DDPMConfig
  extends Keys<NoFlowTraining | Thresholding | Clipping | Spacing | 'rescale_betas_zero_snr'>,
    NoFlow {
  /** Variance of the noise that a step adds; `learned` and `learned_range` mean twice the channels. */
  readonly variance_type?:
    | 'fixed_small'
    | 'fixed_small_log'
    | 'fixed_large'
    | 'fixed_large_log'
    | 'learned'
    | 'learned_range'
    | null;
}

/** Of {@link PNDMScheduler}. */
export interface PNDMConfig extends Keys<NoFlowTraining | Spacing | 'skip_prk_steps' | 'set_alpha_to_one'> {
  /** What the network predicts. */
  readonly prediction_type?: 'epsilon' | 'v_prediction';
}

/** Of {@link EulerDiscreteScheduler}. */
export interface EulerDiscreteConfig
  extends Keys<
      | NoFlowTraining
      | Grids
      | Spacing
      | 'interpolation_type'
      | 'sigma_min'
      | 'sigma_max'
      | 'timestep_type'
      | 'rescale_betas_zero_snr'
      | 'final_sigmas_type'
    >,
    NoFlow {}

/** Of {@link EulerAncestralDiscreteScheduler}. */
export interface EulerAncestralDiscreteConfig
  extends Keys<NoFlowTraining | Spacing | 'rescale_betas_zero_snr'>,
    NoFlow {}

/** Of {@link HeunDiscreteScheduler}. */
export interface HeunDiscreteConfig extends Keys<NoFlowTraining | Clipping | Grids | Spacing>, NoFlow {}

/** Of {@link LMSDiscreteScheduler}, {@link KDPM2DiscreteScheduler} and {@link KDPM2AncestralDiscreteScheduler}. */
export interface KDiffusionConfig extends Keys<NoFlowTraining | Grids | Spacing>, NoFlow {}

/** Of {@link LCMScheduler} and {@link TCDScheduler}. */
export interface DistilledConfig
  extends Keys<
      | NoFlowTraining
      | Thresholding
      | Clipping
      | Spacing
      | 'original_inference_steps'
      | 'set_alpha_to_one'
      | 'timestep_scaling'
      | 'rescale_betas_zero_snr'
    >,
    NoFlow {}

/** Of {@link CogVideoXDDIMScheduler} and {@link CogVideoXDPMScheduler}. */
export interface CogVideoXConfig
  extends Keys<
      | NoFlowTraining
      | Clipping
      | Spacing
      | 'set_alpha_to_one'
      | 'sample_max_value'
      | 'rescale_betas_zero_snr'
      | 'snr_shift_scale'
    >,
    NoFlow {}

/** What a pipeline makes mu of: {@link TimestepOptions.mu} tells it to the class. */
interface MuOfPipeline {
  /** mu at `base_image_seq_len`. */
  readonly base_shift?: number;
  /** mu at `max_image_seq_len`. */
  readonly max_shift?: number;
  /** Patches of the smallest picture. */
  readonly base_image_seq_len?: number;
  /** Patches of the largest picture. */
  readonly max_image_seq_len?: number;
}
type Shift = 'num_train_timesteps' | 'shift';
type FlowGrid = Shift | Grids | Shifting | 'invert_sigmas' | 'shift_terminal';

/** Of {@link FlowMatchEulerDiscreteScheduler}. */
export interface FlowMatchEulerDiscreteConfig extends Keys<FlowGrid | 'stochastic_sampling'>, MuOfPipeline {}

/** Of {@link FlowMatchLCMScheduler}. */
export interface FlowMatchLCMConfig extends Keys<FlowGrid | 'scale_factors'>, MuOfPipeline {}

/** Of {@link LTXEulerAncestralRFScheduler}. */
export interface LTXEulerAncestralRFConfig extends Keys<FlowGrid | 'eta' | 's_noise'>, MuOfPipeline {}

/** Of {@link FlowMatchHeunDiscreteScheduler}. */
export interface FlowMatchHeunDiscreteConfig extends Keys<Shift> {}

/** Of {@link MiniMaxH3Scheduler}. */
export interface MiniMaxH3Config extends Keys<'shift'> {}

/** Of {@link IPNDMScheduler}. */
export interface IPNDMConfig extends Keys<'num_train_timesteps' | 'trained_betas'> {}

/** Of {@link EDMDPMSolverMultistepScheduler}. */
export interface EDMDPMSolverMultistepConfig
  extends Keys<Preconditioned | Thresholding | 'solver_order' | 'lower_order_final' | 'euler_at_final'> {
  /** Data prediction as ODE or as SDE. */
  readonly algorithm_type?: 'dpmsolver++' | 'sde-dpmsolver++';
  /** Second-order rule. */
  readonly solver_type?: 'midpoint' | 'heun';
}

/** Of {@link EDMEulerScheduler}. */
export interface EDMEulerConfig extends Keys<Preconditioned> {}

/** Of {@link CosineDPMSolverMultistepScheduler}. */
export interface CosineDPMSolverMultistepConfig
  extends Keys<Preconditioned | 'solver_order' | 'lower_order_final' | 'euler_at_final'> {
  /** Second-order rule. */
  readonly solver_type?: 'midpoint' | 'heun';
}

/** Of {@link CMStochasticIterativeScheduler}. */
export interface CMStochasticIterativeConfig
  extends Keys<
    'num_train_timesteps' | 'sigma_min' | 'sigma_max' | 'sigma_data' | 'rho' | 's_noise' | 'clip_denoised'
  > {}
