// Stands in for lib/backend.ts in dist/wasm.js: WebAssembly always, from bytes that the bundle carries.
import type { Opened } from '../backend.js';
import { bytes } from './bytes.js';
import { instantiate } from './napi.js';

export type { Backend } from '../backend.js';

/** Cards are out of its reach. */
export const cudaAdvice = (): string => '';

let opened: Opened | undefined;

/** Compiled at the first call: synchronously, which engines allow for modules of this size. */
export function open(): Opened {
  opened ??= { backend: 'wasm', path: null, exports: instantiate(bytes()) };
  return opened;
}
