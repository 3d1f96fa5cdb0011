// The public module `dpm-solver`.
export { type Generator, generator, type NoiseData, type NoiseTensor, type NoiseType, randn } from './addon/noise.js';
export type { Tensor, TensorType } from './base/tensor.js';
export {
  type DeviceSolverOptions,
  DPMSolver,
  type ModelDevice,
  type ModelOn,
  type OutputFor,
  type SampleOptions,
  type SolverOptions,
  type SolverOptionsOn,
  type WebGpuSolverOptions,
} from './dpm-solver.js';
export type { DeviceContext, DeviceModel } from './engines/cuda/options.js';
export { type Device, devices } from './engines/devices.js';
export type { WebGpuContext, WebGpuModel } from './engines/webgpu/options.js';
export { type BetaSchedule, betas, betasForZeroTerminalSnr } from './schedule/betas.js';
export type { SkipType } from './schedule/grid.js';
export {
  type Clip,
  type DiscreteOptions,
  NoiseSchedule,
  type ScheduleKind,
  type ScheduleNode,
} from './schedule/noise-schedule.js';
export type { NetworkKind, PublishedType } from './schedule/published-grid.js';
export { type ClassicOptions, classicTable } from './solver/classic-table.js';
export type { Sampling } from './solver/drive.js';
export type { Transfers } from './solver/engine.js';
export {
  type DcSolverOptions,
  dcSolverTable,
  type GeneralRow,
  type ImportOptions,
  rowsOverPredictions,
  timesTable,
} from './solver/imported-tables.js';
export type { ClassifierFreeGuidance, GuidanceOption, GuidanceVariant } from './solver/guidance.js';
export type { AlgorithmType, Model, NetworkType, Progress, SolverMethod } from './solver/options.js';
export type { Run } from './solver/run.js';
export { readTable, type SolverTable, type TableForm, type TableGuidance } from './solver/table.js';
