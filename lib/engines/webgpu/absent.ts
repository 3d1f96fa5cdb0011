// What stands in dist/wasm.js for sample.ts: networks of onnxruntime's C API need the native addon.
import type { sampleThere as there } from './sample.js';

/** @internal */
export const sampleThere: typeof there = () =>
  Promise.reject(
    new Error("Expected the native addon for modelDevice 'webgpu' but found WebAssembly: use modelDevice 'cpu'"),
  );
