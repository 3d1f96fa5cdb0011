// The public module `dpm-solver/schedulers`: the classes that diffusers' pipelines know.
export type { Tensor, TensorType } from '../base/tensor.js';
export type { SchedulerConfig } from '../folder/scheduler-config.js';
export { DDIMScheduler, PNDMScheduler } from './ddim.js';
export { DEISMultistepScheduler } from './deis.js';
export {
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
} from './dpm-solver.js';
export { EDMDPMSolverMultistepScheduler } from './edm.js';
export { schedulerFromConfig } from './from-config.js';
export type { TimestepOptions } from './request.js';
export { Scheduler, type SchedulerClass, type Sequence, type StepOptions } from './scheduler.js';
export { UniPCMultistepScheduler } from './unipc.js';
