export { type Generator, generator, type NoiseTensor, type NoiseType, randn } from './addon/noise.js';
export type { Tensor, TensorType } from './base/tensor.js';
export { DPMSolver, type Sampling } from './dpm-solver.js';
export type { Transfers } from './engines/cuda/engine.js';
export { type Device, devices } from './engines/devices.js';
export { type BetaSchedule, betas, betasForZeroTerminalSnr } from './schedule/betas.js';
export type { SkipType } from './schedule/grid.js';
export {
  type Clip,
  type DiscreteOptions,
  NoiseSchedule,
  type ScheduleKind,
  type ScheduleNode,
} from './schedule/noise-schedule.js';
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
