// The public module `dpm-solver/pipelines`.
export { encodePng, readPng } from '../image/file.js';
export type { Image } from '../image/image.js';
export { DiffusionPipeline, type PipelineOptions } from './diffusion-pipeline.js';
export type {
  CommonOptions,
  Edit,
  EditOptions,
  GenerateOptions,
  Generation,
  Progress,
  SchedulerLike,
  SolverChoices,
  Timings,
} from './options.js';
