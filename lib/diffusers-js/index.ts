// The public module `dpm-solver/diffusers-js`.
export { type AcceleratedPipeline, type AccelerateOptions, accelerate } from './accelerate.js';
