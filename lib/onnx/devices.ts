// Where networks can run on this machine, as far as can be told without running one.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { firstLine } from '../base/text.js';
import { type Hardware, hardware, ortLibrary } from './library.js';
import { loadRuntime } from './runtime.js';
import type { GraphDevice } from './session.js';

/** One of the places where networks can run. */
export interface NetworkDevice {
  /** What `device` of a pipeline takes. */
  readonly device: GraphDevice;
  /** How it is reached, such as `'WebGPU'`. */
  readonly name: string;
  /**
   * The graphics processors that onnxruntime has found for it, as the system calls them, or else by maker and number, such as
   * `'NVIDIA 10de:2330'`; absent where it has found none, which does not say that there is none, and before onnxruntime 1.22.
   */
  readonly adapters?: readonly string[];
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
    const found = path === undefined ? [] : await hardware();
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
        if (device === 'cuda' && path && !existsSync(cudaProvider(path)))
          return { device, name, missing: CUDA_MISSING };
        const adapters = adaptersOf(found, PROVIDERS[device]);
        return adapters.length > 0 ? { device, name, adapters } : { device, name };
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

/** What a provider can run on, of what onnxruntime has found. @internal */
export function adaptersOf(found: readonly Hardware[], provider: string): string[] {
  const own = found.filter((one) => one.kind !== 'cpu' && one.provider.toLowerCase() === provider);
  return [...new Set(own.map(nameOf))];
}

function nameOf({ vendor, vendorId, deviceId, more }: Hardware): string {
  const hex = (id: number) => id.toString(16).padStart(4, '0');
  return more.Description || `${MAKERS.get(vendorId) ?? (vendor || 'unknown')} ${hex(vendorId)}:${hex(deviceId)}`;
}

/** By their numbers on the PCI bus: Linux tells no names. */
const MAKERS: ReadonlyMap<number, string> = new Map([
  [0x1002, 'AMD'],
  [0x106b, 'Apple'],
  [0x10de, 'NVIDIA'],
  [0x13b5, 'Arm'],
  [0x1414, 'Microsoft'],
  [0x5143, 'Qualcomm'],
  [0x8086, 'Intel'],
]);

/** The library of its own that the provider is in. */
function cudaProvider(library: string): string {
  const name = process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so';
  return join(dirname(library), name);
}

const CUDA_MISSING =
  "the provider's libraries are not there: onnxruntime-node fetches them when it is installed, if its install script is let run";
