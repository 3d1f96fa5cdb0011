// dpm-solver/onnx: networks on threads of their own.
export { type NetworkDevice, networkDevices } from './devices.js';
export type { OrtData, OrtType } from './elements.js';
export { type OrtLibrary, ortLibrary } from './library.js';
export {
  type CudaMemory,
  type CudaQueue,
  type OrtDevice,
  type OrtInfo,
  OrtNetwork,
  type OrtNetworkOptions,
  type OrtResult,
  type OrtRunOptions,
  type OrtTensor,
  OrtValue,
} from './network.js';
export type { GraphDevice } from './session.js';
export type { DeviceValue } from './value.js';
