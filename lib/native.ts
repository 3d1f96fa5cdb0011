// The public module `dpm-solver/native`: the fused step for those who bring their own loop.
export {
  type Form,
  type Guidance,
  type Method,
  type ModelType,
  type Node,
  predictionRow,
  ROW,
  STATUS,
  type Status,
  SUM,
  TRANSFORM,
  type Update,
  updateRow,
} from './addon/coefficients.js';
export {
  type Backend,
  convert,
  info,
  type NetworkArray,
  type StateArray,
  type StepBuffers,
  type StepOptions,
  scratchBytes,
  step,
} from './addon/native.js';
/** @internal */
export { addon, CHECK_FINITE, DOUBLED } from './addon/native.js';
