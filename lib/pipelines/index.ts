// The public module `dpm-solver/pipelines`.
export type { Image } from '../image/image.js';
export {
  DiffusionPipeline,
  type GenerateOptions,
  type Generation,
  type PipelineOptions,
  type Progress,
  type SolverChoices,
  type Timings,
} from './diffusion-pipeline.js';
