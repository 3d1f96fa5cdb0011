// `dpm-solver info`: what a report of a problem should have in it.
import { existsSync } from 'node:fs';
import { type ArgsDef, defineCommand } from 'citty';
import { version } from '../base/version.js';
import type { Device } from '../engines/devices.js';
import { loadRuntime } from '../onnx/runtime.js';
import { type NetworkDevice, networkDevices } from '../onnx/devices.js';
import { whyNoThread } from '../onnx/session.js';
import { configPath } from './config.js';
import { say } from './say.js';
import { UsageError } from './usage.js';

const args = {
  json: { type: 'boolean', description: 'Print one JSON object' },
} as const satisfies ArgsDef;

export const info = defineCommand({
  meta: {
    name: 'info',
    description: 'Versions, addon, instruction set, threads, onnxruntime, devices and configuration',
  },
  args,
  async run({ args }) {
    if (args._.length > 0) throw new UsageError(`Expected flags only but received '${args._[0]}'`);
    const found = { ...(await collect()), config: configOf((args as { config?: string }).config) };
    if (args.json) {
      say(JSON.stringify(found));
      return;
    }
    const { version, node, platform, backend, addon, simd, simdAvailable, threads, onnxruntime, devices, cuda } = found;
    const lines = [
      ['dpm-solver', version],
      ['node', `${node} on ${platform}`],
      ['backend', backend],
      ['addon', addon ?? 'in the bundle'],
      ['simd', `${simd} (available: ${simdAvailable.join(', ')})`],
      ['threads', String(threads)],
      [
        'onnxruntime',
        onnxruntime === null ? 'not installed' : `${onnxruntime.version} (${onnxruntime.backends.join(', ')})`,
      ],
      ...(onnxruntime === null ? [] : [['networks', describeNetworks(onnxruntime)]]),
      ['devices', devices.map(describe).join(', ')],
      ...(cuda === null ? [] : [['cuda', cuda]]),
      ['config', describeConfig(found.config)],
    ];
    for (const [name, value] of lines) say(`${name.padEnd(12)} ${value}`);
  },
});

async function collect() {
  // Imported here, so that `--help` works where the addon is missing, and the loader's advice comes as a message.
  const { open } = await import('../addon/backend.js');
  const native = await import('../addon/native.js');
  const { devices } = await import('../index.js');
  const { cudaInfo } = await import('../cuda/info.js');
  return {
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    /** The file of the addon, or of the WebAssembly build. */
    addon: open().path,
    ...native.info(),
    onnxruntime: await onnxruntime(),
    devices: devices(),
    /** Why there is no card to run on, or null. */
    cuda: cudaInfo().reason,
  };
}

/** The file that flags may come from: its path where there is one, and where one would be read. */
function configOf(given: string | undefined): { read: string | null; place: string | null } {
  const place = configPath('info', given)?.path ?? null;
  return { read: place !== null && existsSync(place) ? place : null, place };
}

function describeConfig({ read, place }: ReturnType<typeof configOf>): string {
  return read ?? (place === null ? 'none' : `none (there is no ${place})`);
}

function describe({ type, name, memory, computeCapability, driver }: Device): string {
  if (type === 'cpu') return `cpu (${name})`;
  const size = memory === undefined ? '' : `, ${Math.round(memory / 2 ** 30)} GiB`;
  return `cuda (${name}${size}, compute capability ${computeCapability}, driver for CUDA ${driver})`;
}

function describeNetworks({ noThread, devices }: Onnxruntime): string {
  const how =
    noThread === null
      ? 'on threads of their own'
      : `by session.run, which stops JavaScript while they run: ${noThread}`;
  const where = devices.map(({ device, adapters, missing }) => {
    if (missing !== undefined) return `${device} (not here: ${missing})`;
    return adapters ? `${device} (${adapters.join(', ')})` : device;
  });
  return `${how}; devices: ${where.join(', ')}`;
}

interface Onnxruntime {
  version: string;
  backends: string[];
  /** Why networks have no threads of their own, or null. */
  noThread: string | null;
  /** Where they can run. */
  devices: readonly NetworkDevice[];
}

async function onnxruntime(): Promise<Onnxruntime | null> {
  try {
    const { env, listSupportedBackends } = await loadRuntime();
    return {
      version: env.versions.node ?? 'unknown',
      backends: listSupportedBackends().map(({ name }) => name),
      noThread: (await whyNoThread()) ?? null,
      devices: await networkDevices(),
    };
  } catch {
    return null;
  }
}
