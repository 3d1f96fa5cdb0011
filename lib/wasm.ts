// The public module `dpm-solver/wasm`: all of `dpm-solver`, `dpm-solver/schedulers` and `dpm-solver/native` on the
// WebAssembly build, in one file that needs neither Node nor anything beside it.
export * from './index.js';
export * from './native.js';
export * from './schedulers/index.js';
// Two modules have one of this name.
export type { StepOptions } from './native.js';
