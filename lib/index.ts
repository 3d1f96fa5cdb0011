export { type Device, devices } from './devices.js';
export { type Generator, generator, type NoiseTensor, type NoiseType, randn } from './noise.js';
export { type BetaSchedule, betas, betasForZeroTerminalSnr } from './schedule/betas.js';
export type { SkipType } from './schedule/grid.js';
export {
  type Clip,
  type DiscreteOptions,
  NoiseSchedule,
  type ScheduleKind,
  type ScheduleNode,
} from './schedule/noise-schedule.js';
export type { Transfers } from './cuda/engine.js';
export { DPMSolver, type Sampling } from './solver/dpm-solver.js';
export type {
  AlgorithmType,
  DeviceContext,
  DeviceModel,
  DeviceSolverOptions,
  GuidanceOption,
  Model,
  NetworkType,
  Progress,
  SampleOptions,
  SolverMethod,
  SolverOptions,
} from './solver/options.js';
export type { Run } from './solver/run.js';
export type { Tensor, TensorType } from './tensor.js';
