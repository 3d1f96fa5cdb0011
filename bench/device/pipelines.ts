/**
 * What pipelines do on a device beside the CPU: how far their latents are from the CPU's, how many calls they make, what
 * crosses, what is spent outside of the network, and how late the event loop is meanwhile.
 *
 *     npm run bench:device [-- --device webgpu --steps 10 --folders shapes,sd1,browser --guidance 3]
 *
 * Folders are the embedded network and those of test/fixtures/exports that draw from a prompt: layouts of real exporters with
 * small networks of random weights; what a folder cannot do on the CPU is left out. Each run is in a process of its own, as
 * drivers write to the terminal and may end it. Where no graphics processor is found and Debian's chromium is installed, WebGPU
 * runs on the one in software that it brings (SwiftShader), and the results say so: its times are none of a graphics
 * processor's.
 *
 * `browser` is the embedded network in headless Chromium, by WebGPU and by WebAssembly (bench/device/browser.ts).
 *
 * Differences are the root of the mean square of the difference over that of the CPU's latents. What is measured is put into
 * bench/results/device.json, other folders' rows in it stay.
 */
import { fork } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { firstLine } from '../../lib/base/text.js';
import { networkDevices, ortLibrary } from '../../lib/onnx/index.js';
import { DiffusionPipeline, type Generation } from '../../lib/pipelines/index.js';
import { webGpuEnv, whyNoWebGpu } from '../../test/onnx/webgpu.js';
import { folder, madeAt, type Reference, references } from '../../test/pipelines/exports.js';
import { shapes } from '../../test/pipelines/models.js';
import { machine } from '../machine.js';
import { type BrowserRow, browserRows } from './browser.js';

interface Ask {
  folder: string;
  device: 'cpu' | 'webgpu';
  call: { prompt: string; steps: number; guidance: number; seed: number; width?: number; height?: number };
}

export interface Answer {
  latents: number[];
  calls: number;
  transfers?: Generation['transfers'];
  outsideMs: number;
  networkMs: number;
  /** Of the event loop, in milliseconds. */
  late: { median: number; most: number };
}

/** A folder's, or why there is none. */
export interface Row {
  folder: string;
  reason?: string;
  dims?: number;
  apart?: number;
  cpu?: Omit<Answer, 'latents'>;
  there?: Omit<Answer, 'latents'>;
}

export interface DeviceResults {
  machine: ReturnType<typeof machine>;
  onnxruntime: string;
  device: string;
  /** What the device is. */
  on: string;
  steps: number;
  guidance: number;
  rows: Row[];
  /** The embedded network in a page. */
  browser: BrowserRow[];
}

/** The word that a process of a run is started with. */
const CHILD = 'run';

/** In a process of its own. */
async function draw({ folder: place, device, call }: Ask): Promise<Answer> {
  const pipe = await DiffusionPipeline.fromPretrained(place, { device });
  // Shaders are made at the first call.
  await pipe({ ...call, steps: 1 });
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const { sample, timings, transfers } = await pipe(call);
  loop.disable();
  await pipe.dispose();
  const { encodeMs, vaeMs = 0, networkTotalMs, networkCalls, networkMs, totalMs } = timings;
  return {
    ...{ latents: [...sample.data], calls: networkCalls, networkMs },
    ...(transfers ? { transfers } : {}),
    outsideMs: totalMs - networkTotalMs - encodeMs - vaeMs,
    late: { median: loop.percentile(50) / 1e6, most: loop.max / 1e6 },
  };
}

function inProcess(ask: Ask, env: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [CHILD], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let errors = '';
    child.stderr?.on('data', (data) => {
      errors += data;
    });
    child.once('message', (answer: Answer) => resolve(answer));
    child.once('exit', (code, signal) => reject(new Error(`${ask.folder}: ended with ${signal ?? code}: ${errors}`)));
    child.send(ask);
  });
}

const size = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/** Is there a graphics processor, or do runs need the one in software? */
async function environment(device: Ask['device'], ask: Ask): Promise<{ env: Record<string, string>; on: string }> {
  if (device !== 'webgpu') return { env: {}, on: device };
  const found = await inProcess({ ...ask, device }, {}).catch((error: Error) => error);
  if (!(found instanceof Error)) {
    const { adapters } = (await networkDevices()).find((one) => one.device === device)!;
    return { env: {}, on: adapters?.join(', ') ?? 'a graphics processor' };
  }
  const reason = await whyNoWebGpu();
  if (reason !== undefined) throw new Error(`WebGPU cannot run here: ${reason}`);
  return { env: webGpuEnv, on: 'SwiftShader' };
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      device: { ...text, default: 'webgpu' },
      steps: { ...text, default: '10' },
      guidance: { ...text, default: '3' },
      folders: text,
      results: { ...text, default: fileURLToPath(new URL('../results/device.json', import.meta.url)) },
    },
  });
  const device = values.device as Ask['device'];
  const known = (await networkDevices()).map((one) => one.device as string);
  if (!known.includes(device)) throw new RangeError(`Expected ${known.join(', ')} for --device but received ${device}`);
  const drawn = new Map(references().flatMap((one) => (one.kind === 'txt2img' ? [[one.model, one] as const] : [])));
  const all = ['shapes', ...drawn.keys(), 'browser'];
  const names = values.folders?.split(',') ?? all;
  const call = { prompt: 'a red circle', steps: Number(values.steps), guidance: Number(values.guidance), seed: 1 };
  const askOf = (name: string): Omit<Ask, 'device'> => {
    if (name === 'shapes') return { folder: shapes, call };
    const { width, height } = drawn.get(name) as Reference;
    return { folder: folder(name), call: { ...call, width, height } };
  };
  const { env, on } = await environment(device, { ...askOf('shapes'), device });
  console.log(`on ${on}, ${call.steps} steps, guidance ${call.guidance}`);
  const before: Partial<DeviceResults> = existsSync(values.results)
    ? JSON.parse(readFileSync(values.results, 'utf8'))
    : {};
  let { browser = [] } = before;
  const rows = (before.rows ?? []).filter(({ folder: name }) => all.includes(name) && !names.includes(name));
  const { version: onnxruntime } = await ortLibrary();
  const { steps, guidance } = call;
  const keep = (...more: Row[]) => {
    rows.push(...more);
    rows.sort((a, b) => all.indexOf(a.folder) - all.indexOf(b.folder));
    const content: DeviceResults = { machine: machine(), onnxruntime, device, on, steps, guidance, rows, browser };
    writeFileSync(values.results, `${JSON.stringify(content, null, 2)}\n`);
  };
  for (const name of names) {
    if (name === 'browser') {
      const found = await browserRows(steps);
      if (typeof found === 'string') console.log(`browser          left out: ${found}`);
      else browser = found;
      for (const { device: there, apart, calls, late } of browser) {
        console.log(`browser, ${there}  ${apart.toExponential(1)}  ${calls} calls  late ${late.median.toFixed(1)} ms`);
      }
      keep();
      continue;
    }
    const ask = askOf(name);
    const here = await inProcess({ ...ask, device: 'cpu' }, {}).catch((error: Error) => error);
    if (here instanceof Error) {
      console.log(`${name.padEnd(16)} left out: ${firstLine(here.message)}`);
      continue;
    }
    const there = await inProcess({ ...ask, device }, env).catch((error: Error) => error);
    if (there instanceof Error) {
      const reason = there.message.match(/could not be loaded by [^\n]*/)?.[0] ?? firstLine(there.message);
      keep({ folder: name, reason });
      console.log(`${name.padEnd(16)} ${reason}`);
      continue;
    }
    const apart = size(here.latents.map((value, i) => value - there.latents[i])) / size(here.latents);
    const of = ({ latents: _, ...rest }: Answer) => rest;
    keep({ folder: name, dims: here.latents.length, apart, cpu: of(here), there: of(there) });
    const { uploaded = 0, downloaded = 0, onHost } = there.transfers ?? {};
    console.log(
      `${name.padEnd(16)} ${apart.toExponential(1)}  ${there.calls} calls  up ${uploaded} down ${downloaded} bytes  ` +
        `outside ${there.outsideMs.toFixed(1)} (cpu ${here.outsideMs.toFixed(1)}) ms  ` +
        `late ${there.late.median.toFixed(1)}, at most ${there.late.most.toFixed(1)} ms${onHost ? `  on the host: ${onHost}` : ''}`,
    );
  }
  const place = madeAt();
  if (place) rmSync(place, { recursive: true });
}

if (process.argv[2] === CHILD) {
  process.once('message', (ask: Ask) => {
    draw(ask).then(
      (answer) => process.send?.(answer, () => process.exit(0)),
      (error) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
} else await main();
