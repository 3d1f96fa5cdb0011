// The public module `dpm-solver/schedulers`: the classes that diffusers' pipelines know.
export type { Tensor, TensorType } from '../base/tensor.js';
export type {
  CMStochasticIterativeConfig,
  CogVideoXConfig,
  CosineDPMSolverMultistepConfig,
  DDIMConfig,
  DDIMInverseConfig,
  DDPMConfig,
  DEISMultistepConfig,
  DPMSolverMultistepConfig,
  DPMSolverMultistepInverseConfig,
  DPMSolverSinglestepConfig,
  DistilledConfig,
  EDMDPMSolverMultistepConfig,
  EDMEulerConfig,
  EulerAncestralDiscreteConfig,
  EulerDiscreteConfig,
  FlowMatchEulerDiscreteConfig,
  FlowMatchHeunDiscreteConfig,
  FlowMatchLCMConfig,
  HeunDiscreteConfig,
  IPNDMConfig,
  KDiffusionConfig,
  LTXEulerAncestralRFConfig,
  MiniMaxH3Config,
  PNDMConfig,
  SASolverConfig,
  UniPCMultistepConfig,
} from './configs.js';
export { CogVideoXDDIMScheduler, CogVideoXDPMScheduler } from './cogvideox.js';
export type { SchedulerConfig } from '../folder/scheduler-config.js';
export { LCMScheduler, TCDScheduler } from './consistency.js';
export { DDIMInverseScheduler, DDIMScheduler, PNDMScheduler } from './ddim.js';
export { DDPMScheduler } from './ddpm.js';
export { DEISMultistepScheduler } from './deis.js';
export {
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
} from './dpm-solver.js';
export {
  CMStochasticIterativeScheduler,
  CosineDPMSolverMultistepScheduler,
  EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler,
} from './edm.js';
export {
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
  FlowMatchLCMScheduler,
  LTXEulerAncestralRFScheduler,
  MiniMaxH3Scheduler,
} from './flow-match.js';
export { schedulerFromConfig } from './from-config.js';
export { IPNDMScheduler } from './ipndm.js';
export {
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  HeunDiscreteScheduler,
  KDPM2AncestralDiscreteScheduler,
  KDPM2DiscreteScheduler,
  LMSDiscreteScheduler,
} from './k-diffusion.js';
export { SASolverScheduler } from './sa-solver.js';
export type { TimestepOptions } from './request.js';
export { type ConfigOf, Scheduler, type SchedulerClass, type Sequence, type StepOptions } from './scheduler.js';
export { UniPCMultistepScheduler } from './unipc.js';
