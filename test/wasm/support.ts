import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = fileURLToPath(new URL('../../prebuilds/wasm/dpm-solver.wasm', import.meta.url));

/** The WebAssembly build, or null where it has not been made (npm run build:wasm, which needs clang). */
export const wasmFile = existsSync(path) ? path : null;
