// The public module `dpm-solver/cuda`: tensors, streams and the fused step on a card.
export { type CudaDevice, type CudaInfo, cudaInfo } from './info.js';
export {
  type DeviceBuffers,
  type DeviceStepOptions,
  deviceErrorNorm,
  deviceNoise,
  deviceStep,
  errorNormSpace,
  NEEDS_QUANTILE,
  NOT_FINITE,
  prepareStep,
  type StepKernel,
} from './step.js';
export { Graph, Stream, StreamEvent } from './stream.js';
export { DeviceTensor, type DeviceTensorOptions, type DeviceType, type HostArray } from './tensor.js';
