// The WebAssembly module, for bundles: they take along what is imported, and no file beside it. scripts/build-ts.mjs puts it
// here, in base64.
declare const DPM_SOLVER_WASM: string | undefined;

/** @internal */
export function hasBytes(): boolean {
  return typeof DPM_SOLVER_WASM !== 'undefined' && DPM_SOLVER_WASM !== '';
}

/** @internal */
export function bytes(): Uint8Array {
  if (typeof DPM_SOLVER_WASM === 'undefined' || DPM_SOLVER_WASM === '') {
    throw new Error('This build of dpm-solver has no WebAssembly module: npm run build:wasm makes it in a checkout');
  }
  return Uint8Array.from(atob(DPM_SOLVER_WASM), (character) => character.charCodeAt(0));
}
