// The only file that knows the addon.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export type FloatArray = Float32Array | Float64Array | Uint16Array;

/** What the addon exports: positional arguments, checked by the addon itself. */
interface Addon {
  [name: string]: (...args: never[]) => unknown;
}

/** @internal */
export const addon: Addon = load();

function load(): Addon {
  const require = createRequire(import.meta.url);
  return require('node-gyp-build')(fileURLToPath(new URL('..', import.meta.url))) as Addon;
}
