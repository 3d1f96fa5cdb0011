// The public module `dpm-solver/web`: all of `dpm-solver/wasm`, and networks in a browser by onnxruntime-web, whose states stay
// on the graphics processor where they do.
export type { DeviceValue } from './onnx/value.js';
export type { OrtData, OrtType } from './onnx/elements.js';
export {
  type OrtWebInfo,
  OrtWebNetwork,
  type OrtWebNetworkOptions,
  type OrtWebRunOptions,
  type OrtWebTensor,
  OrtWebValue,
  type WebDevice,
  type WebModel,
  type WebModelOptions,
} from './onnx/web/network.js';
export {
  onDeviceLost,
  type OnnxRuntimeWeb,
  setOnnxRuntime,
  type WebDeclared,
  type WebSession,
  type WebTensor,
} from './onnx/web/runtime.js';
export {
  answerCalls,
  NetworkWorker,
  type WorkerCallContext,
  type WorkerCallOptions,
  type WorkerCalls,
  type WorkerLike,
} from './onnx/web/worker.js';
export {
  type EncodeOptions,
  PromptTokenizer,
  type TokenizerFiles,
  type TokenizerLike,
} from './pipelines/prompt-tokenizer.js';
export * from './wasm.js';
