// onnxruntime-node is an optional peer: it is loaded on first use, and its absence is one clear sentence.
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { whyNotLoaded } from '../base/text.js';

/** What this package uses of onnxruntime-node. */
export interface Runtime {
  InferenceSession: {
    create(model: string | Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  Tensor: typeof Tensor;
  env: { versions: { common?: string; node?: string }; logLevel?: string };
  listSupportedBackends(): { name: string; bundled: boolean }[];
}

let runtime: Promise<Runtime> | undefined;

/**
 * onnxruntime-node, loaded once.
 *
 * From 1.30 on it keeps a device identifier in the user's cache folder and reports sessions to its makers unless
 * ORT_DISABLE_TELEMETRY says otherwise when it is first loaded. A package that draws pictures has no business with that,
 * so the variable is set where it is not yet; `ORT_DISABLE_TELEMETRY=0` leaves the reports on.
 *
 * @throws Error that says what to install where the package is missing, or what failed where it cannot be loaded
 */
export function loadRuntime(): Promise<Runtime> {
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  // A failed load is not kept: a server may install the package and try again.
  runtime ??= importRuntime(importPeer).catch((error) => {
    runtime = undefined;
    throw error;
  });
  return runtime;
}

/** So that who bundles a program without onnxruntime-node can: webpack leaves it alone, and esbuild needs the catch. */
function importPeer(): Promise<unknown> {
  return import(/* webpackIgnore: true */ 'onnxruntime-node').catch((error) => {
    throw error;
  });
}

/** @internal */
export async function importRuntime(load: () => Promise<unknown>): Promise<Runtime> {
  let loaded: Runtime & { default?: Runtime };
  try {
    loaded = (await load()) as typeof loaded;
  } catch (cause) {
    const why = whyNotLoaded('onnxruntime-node', 'Running a network', cause as NodeJS.ErrnoException);
    throw new Error(why, { cause });
  }
  // A CommonJS package: its names are seen by static analysis, and are in any case on the default export.
  return loaded.InferenceSession ? loaded : (loaded.default as Runtime);
}
