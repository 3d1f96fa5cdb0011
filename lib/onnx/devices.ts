// Where networks can run on this machine, as far as can be told without running one.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { firstLine } from '../base/text.js';
import { ortLibrary } from './library.js';
import { loadRuntime } from './runtime.js';
import type { GraphDevice } from './session.js';

/** One of the places where networks can run. */
export interface NetworkDevice {
  /** What `device` of a pipeline takes. */
  readonly device: GraphDevice;
  /** How it is reached, such as `'WebGPU'`. */
  readonly name: string;
  /** Why it cannot be used and what to do about it; absent where all that onnxruntime needs is there. */
  readonly missing?: string;
}

interface Kind {
  readonly name: string;
  readonly systems: readonly NodeJS.Platform[];
}

const KINDS: Readonly<Record<Exclude<GraphDevice, 'cpu'>, Kind>> = {
  cuda: { name: 'CUDA', systems: ['linux', 'win32'] },
  dml: { name: 'DirectML', systems: ['win32'] },
  coreml: { name: 'CoreML', systems: ['darwin'] },
  webgpu: { name: 'WebGPU', systems: ['linux', 'win32', 'darwin'] },
};

/** onnxruntime's names for its providers, in small letters. */
const PROVIDERS: Readonly<Record<Exclude<GraphDevice, 'cpu'>, string>> = {
  cuda: 'cudaexecutionprovider',
  dml: 'dmlexecutionprovider',
  coreml: 'coremlexecutionprovider',
  webgpu: 'webgpuexecutionprovider',
};

/**
 * The CPU first, then what onnxruntime-node has for this system, the likely fastest first. That a provider is there does not
 * say that a graphics processor is: `device: 'auto'` of a pipeline finds out. Never rejects.
 */
export async function networkDevices(): Promise<NetworkDevice[]> {
  const kinds = (Object.keys(KINDS) as Exclude<GraphDevice, 'cpu'>[]).filter((device) =>
    KINDS[device].systems.includes(process.platform),
  );
  try {
    const { listSupportedBackends, env } = await loadRuntime();
    const { path, providers, version } = await ortLibrary().catch(() => ({
      path: undefined,
      version: env.versions.node ?? 'of this version',
      providers: listSupportedBackends().map(({ name }) => `${name}ExecutionProvider`),
    }));
    const built = new Set(providers.map((name) => name.toLowerCase()));
    return [
      { device: 'cpu', name: 'CPU' },
      ...kinds.map((device): NetworkDevice => {
        const { name } = KINDS[device];
        if (!built.has(PROVIDERS[device])) {
          return {
            device,
            name,
            missing: `onnxruntime-node ${version} brings none for ${process.platform}-${process.arch}`,
          };
        }
        return device === 'cuda' && path && !existsSync(cudaProvider(path))
          ? { device, name, missing: CUDA_MISSING }
          : { device, name };
      }),
    ];
  } catch (error) {
    const missing = firstLine((error as Error).message);
    return [
      { device: 'cpu', name: 'CPU', missing },
      ...kinds.map((device) => ({ device, name: KINDS[device].name, missing })),
    ];
  }
}

/** The library of its own that the provider is in. */
function cudaProvider(library: string): string {
  const name = process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so';
  return join(dirname(library), name);
}

const CUDA_MISSING =
  "the provider's libraries are not there: onnxruntime-node fetches them when it is installed, if its install script is let run";
