// The public module `dpm-solver/schedulers`: the classes that diffusers' pipelines know.
export type { Tensor, TensorType } from '../base/tensor.js';
export type { SchedulerConfig } from '../folder/scheduler-config.js';
export { DDIMScheduler, PNDMScheduler } from './ddim.js';
export {
  DEISMultistepScheduler,
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  EDMDPMSolverMultistepScheduler,
} from './dpm-solver.js';
export { schedulerFromConfig } from './from-config.js';
export { Scheduler, type SchedulerClass, type Sequence, type StepOptions, type TimestepOptions } from './scheduler.js';
export { UniPCMultistepScheduler } from './unipc.js';
