// The public module `dpm-solver/pipelines`.
export { encodePng, readPng } from '../image/file.js';
export { type HubOptions, type HubProgress, type PullOptions, pull } from '../hub/index.js';
export type { Image } from '../image/image.js';
export { DecodeError, type Latents } from './coder.js';
export type { DecodeOptions } from './decode.js';
export type { PipelineCalibrateOptions } from './calibrate.js';
export { DiffusionPipeline } from './diffusion-pipeline.js';
export type {
  CommonOptions,
  Edit,
  EditOptions,
  GenerateOptions,
  Generation,
  Progress,
  SchedulerLike,
  SolverChoices,
  Solving,
  Timings,
} from './options.js';
export type { PipelineOptions } from './parts.js';
export { type NetworkCall, PipelineSession, type SessionCallOptions, type SessionOptions } from './session.js';
export type { OnProgress, StageProgress } from './stages.js';
export type { Tiles, VaeTiling } from './tiling.js';
