// How fast is the step on this card? npm run bench:gpu -- [--shape 1x4x64x64] [--no-write] [--no-check] [--sanitize] [--tiny]
//
// Builds and checks first (npm run test:gpu), then times by the card's own events: the step with and without guidance
// and thresholding, against the card's copy bandwidth measured in the same run, and against the eager PyTorch
// operations for the same step where PyTorch is there (bench/gpu/eager.py). Small shapes also inside a graph. Then whole
// runs of DPMSolver with a network that costs next to nothing, eager and as one graph. Last, the targets, and whether
// they were met.
// Inputs rotate among as many sets as exceed the second-level cache several times, and are random. --tiny is a rehearsal:
// shapes and counts of no meaning, nothing written, nothing checked first, and on an emulated card where there is none.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    shape: { type: 'string', multiple: true },
    'no-write': { type: 'boolean', default: false },
    'no-check': { type: 'boolean', default: false },
    sanitize: { type: 'boolean', default: false },
    tiny: { type: 'boolean', default: false },
  },
});
const { tiny } = options;
const root = fileURLToPath(new URL('../..', import.meta.url));
const rehearsal = tiny ? await (await import('../../test/cuda/card.js')).card() : null;
process.on('exit', () => rehearsal && rmSync(rehearsal.folder, { recursive: true, force: true }));
if (!options['no-check'] && !tiny) {
  const args = ['scripts/test-gpu.mjs', ...(options.sanitize ? ['--sanitize'] : [])];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
const { cudaInfo, DeviceTensor, deviceNoise, prepareStep, Stream, StreamEvent } = await import(
  '../../lib/cuda/index.js'
);
const { DPMSolver, NoiseSchedule } = await import('../../lib/index.js');
const { machine } = await import('../machine.js');
const info = cudaInfo();
if (!info.available) {
  console.error(`bench:gpu needs a CUDA card, but ${info.reason}`);
  process.exit(1);
}
const card = info.devices[0]!;
const stream = new Stream();

const ALL_SHAPES = [
  ...[1, 4, 16, 64].map((batch) => [batch, 4, 64, 64]),
  ...[1, 4, 16, 64].map((batch) => [batch, 4, 128, 128]),
  [1, 3, 256, 256],
  [16, 3, 256, 256],
  [64, 3, 256, 256],
  [1, 3, 512, 512],
  [16, 3, 512, 512],
  [1, 3, 1024, 1024],
  [8, 3, 1024, 1024],
  [16, 32, 96, 96],
];
const asked = (shape: number[]) => !options.shape || options.shape.includes(shape.join('x'));
const SHAPES = tiny
  ? [
      [1, 4, 8, 8],
      [2, 3, 16, 16],
    ]
  : ALL_SHAPES.filter(asked);
/** What the rotating sets together exceed. */
const BEYOND_CACHE = tiny ? 2 ** 16 : 512 * 2 ** 20;
const inGraph = tiny ? 4 : 200;
/** More sets than this for nothing: small shapes measure the launch. */
const MOST_SETS = 16;

type Tensor = ReturnType<typeof DeviceTensor.alloc>;
const median = (list: number[]) => list.sort((a, b) => a - b)[list.length >> 1]!;

/** Microseconds of the card's time for one of `count` runs, the median of several. */
function time(queue: (k: number) => void, count: number, repetitions = tiny ? 1 : 9): number {
  const [begin, end] = [new StreamEvent(), new StreamEvent()];
  for (let k = 0; k < count; k++) queue(k);
  const times: number[] = [];
  for (let r = 0; r < repetitions; r++) {
    begin.record(stream);
    for (let k = 0; k < count; k++) queue(k);
    end.record(stream);
    end.wait();
    times.push((end.since(begin) * 1000) / count);
  }
  begin.dispose();
  end.dispose();
  return median(times);
}

let seed = 1;
function random(length: number): Tensor {
  const tensor = DeviceTensor.alloc([length]);
  deviceNoise(tensor, [{ seedLow: seed++, seedHigh: 0, stream: 0 }], 0, stream);
  return tensor;
}

// ---- the ceiling ----------------------------------------------------------------------------------------------------

const copied = tiny ? 2 ** 12 : 2 ** 28;
const half = random(copied);
const other = DeviceTensor.alloc([copied]);
const copyTime = time(() => other.copy(half, stream), 4);
const bandwidth = (2 * half.bytes) / copyTime / 1e6; // TB/s, read and written
half.dispose();
other.dispose();
console.log(`${card.name}, driver for CUDA ${info.driver}: copies at ${bandwidth.toFixed(2)} TB/s`);

// ---- the step -------------------------------------------------------------------------------------------------------

interface Result {
  shape: string;
  variant: string;
  kernel: string;
  microseconds: number;
  /** The fewest bytes that have to cross memory, and the share of copy bandwidth that this makes. */
  bytes: number;
  share: number;
  graph?: number;
  call?: number;
  eager?: { device: number; call: number };
}
const results: Result[] = [];

const python = spawnSync('python3', [`${root}/bench/gpu/eager.py`, ...SHAPES.map((shape) => shape.join('x'))], {
  encoding: 'utf8',
});
const eager = python.status === 0 ? JSON.parse(python.stdout) : {};
if (!eager.torch)
  console.log(
    `no PyTorch with CUDA to compare with${
      python.status === 0
        ? ''
        : `: ${String(python.stderr ?? python.error)
            .trim()
            .split('\n')
            .at(-1)}`
    }`,
  );

for (const shape of SHAPES) {
  const name = shape.join('x');
  const batch = shape[0]!;
  const total = shape.reduce((a, b) => a * b, 1);
  const stateBytes = 4 * total;
  for (const guidance of [false, true]) {
    for (const threshold of [false, true]) {
      const variant = `${guidance ? 'guided' : 'plain'}${threshold ? '+threshold' : ''}`;
      const row = new Array<number>(32).fill(0);
      // x0 = (x - sigma e) / alpha with e = u + 7.5 (c - u); second order.
      Object.assign(row, guidance ? { 0: 1.43, 1: -7.65, 2: 6.63 } : { 0: 1.43, 1: -1.02 });
      Object.assign(row, { 4: threshold ? 2 : 0, 5: 0.995, 6: 1, 7: 100, 8: 1, 12: 0.84, 13: 0.384, 15: -0.12 });
      const host = Float64Array.from(Array.from({ length: batch }, () => row).flat());
      const rows = await DeviceTensor.from(host, stream);
      // Reads x, the outputs, d1; writes d0 and out.
      const bytes = stateBytes * (guidance ? 6 : 5);
      const sets = Math.max(1, Math.min(MOST_SETS, Math.ceil(BEYOND_CACHE / bytes)));
      const tensors: Tensor[] = [rows];
      const queues = Array.from({ length: sets }, () => {
        const [x, d1] = [random(total), random(total)];
        const m = random(guidance ? 2 * total : total);
        const [d0, out] = [DeviceTensor.alloc([total]), DeviceTensor.alloc([total])];
        tensors.push(x, d1, m, d0, out);
        const buffers = { x, base: x, m, d1, d0, out };
        return prepareStep(rows, buffers, { stream, batch, doubled: guidance, quantile: threshold });
      });
      const kernel = queues[0]!();
      const small = bytes < 2 ** 24;
      const count = tiny ? 2 : small ? 1000 : Math.max(sets, Math.min(200, Math.ceil(2 ** 32 / bytes)));
      const microseconds = time((k) => queues[k % sets]!(), count);
      const result: Result = { shape: name, variant, kernel, microseconds, bytes, share: 0 };
      result.share = bytes / microseconds / 1e6 / bandwidth;
      if (small) {
        const graph = stream.capture(() => {
          for (let k = 0; k < inGraph; k++) queues[k % sets]!();
        });
        result.graph = time(() => graph.launch(stream), 1) / inGraph;
        graph.dispose();
        const calls: number[] = [];
        for (let k = 0; k < inGraph; k++) {
          const begin = process.hrtime.bigint();
          queues[0]!();
          stream.wait();
          calls.push(Number(process.hrtime.bigint() - begin) / 1000);
        }
        result.call = median(calls);
      }
      const theirs = eager.shapes?.[name]?.[variant];
      if (theirs) result.eager = theirs;
      results.push(result);
      for (const tensor of tensors) tensor.dispose();
      const columns = [
        name.padEnd(14),
        variant.padEnd(18),
        kernel.padEnd(8),
        `${microseconds.toFixed(2)} us`.padStart(12),
        `${(100 * result.share).toFixed(0)}% of copy`.padStart(13),
        result.graph === undefined ? ''.padStart(15) : `graph ${result.graph.toFixed(2)} us`.padStart(15),
        theirs ? `eager ${(theirs.device / microseconds).toFixed(1)}x` : '',
        theirs && result.call ? `call ${(theirs.call / result.call).toFixed(1)}x` : '',
      ];
      console.log(columns.join('  '));
    }
  }
}

// ---- whole runs -----------------------------------------------------------------------------------------------------

interface RunResult {
  shape: string;
  /** Milliseconds from call to result for 20 steps: the network is one step kernel. */
  eager: number;
  graph: number;
  /** The same with a network on the host that returns its input: what the copies cost. */
  host: number;
  hostCopies: number;
}
const runs: RunResult[] = [];
const RUN_SHAPES = [
  [1, 4, 64, 64],
  [16, 4, 128, 128],
  [1, 3, 1024, 1024],
];
for (const shape of tiny ? SHAPES : RUN_SHAPES.filter(asked)) {
  const total = shape.reduce((a, b) => a * b, 1);
  const batch = shape[0]!;
  const row = new Array<number>(32).fill(0);
  Object.assign(row, { 0: 0.1, 8: 1, 13: 1 });
  const rows = await DeviceTensor.from(Float64Array.from(Array.from({ length: batch }, () => row).flat()), stream);
  const outs = [DeviceTensor.alloc(shape), DeviceTensor.alloc(shape)];
  let call = 0;
  const solver = new DPMSolver(
    (x, _t, context) => {
      const out = outs[call++ % 2]!;
      prepareStep(rows, { x, out }, { stream: context.stream, batch })();
      return out;
    },
    NoiseSchedule.linear(),
    { modelDevice: 'cuda', stream },
  );
  const xT = DeviceTensor.alloc(shape);
  xT.copy(random(total), stream);
  const timed = async (f: () => Promise<unknown>) => {
    for (let k = 0; k < (tiny ? 1 : 3); k++) await f();
    const times: number[] = [];
    for (let k = 0; k < (tiny ? 1 : 15); k++) {
      const begin = performance.now();
      await f();
      times.push(performance.now() - begin);
    }
    return median(times);
  };
  const settings = { steps: tiny ? 3 : 20 };
  const onHost = new DPMSolver((x) => x, NoiseSchedule.linear(), { device: 'cuda', stream });
  const start = { data: new Float32Array(total).fill(0.5), dims: shape };
  let hostCopies = 0;
  const result: RunResult = {
    shape: shape.join('x'),
    eager: await timed(async () => (await solver.sample(xT, settings)).sample.dispose()),
    graph: await timed(async () => (await solver.sample(xT, { ...settings, graph: true })).sample.dispose()),
    host: await timed(async () => {
      hostCopies = (await onHost.sample(start, settings)).transfers!.milliseconds;
    }),
    hostCopies,
  };
  result.hostCopies = hostCopies;
  runs.push(result);
  console.log(
    `${result.shape.padEnd(14)}  ${settings.steps} steps      eager ${result.eager.toFixed(2)} ms, graph ${result.graph.toFixed(2)} ms, network on the host ${result.host.toFixed(2)} ms (copies ${hostCopies.toFixed(2)})`,
  );
  solver.dispose();
  for (const tensor of [rows, xT, ...outs]) tensor.dispose();
}

// ---- targets --------------------------------------------------------------------------------------------------------

interface Target {
  what: string;
  target: number;
  /** The worst of the shapes that it speaks of. */
  worst: number | null;
  met: boolean | null;
}
const elements = (name: string) => name.split('x').reduce((product, size) => product * Number(size), 1);
const beyondCache = (r: Result) => r.bytes > 2 ** 27;
const latent = (r: Result) => r.shape.includes('x4x64x64') || r.shape.includes('x4x128x128');
const thresholds = (r: Result) => r.variant.endsWith('threshold');
function target(
  what: string,
  least: number,
  value: (r: Result) => number | undefined,
  of: (r: Result) => boolean,
): Target {
  const found = results
    .filter(of)
    .map(value)
    .filter((v): v is number => v !== undefined);
  const worst = found.length > 0 ? Math.min(...found) : null;
  return { what, target: least, worst, met: worst === null ? null : worst >= least };
}
const most = (
  what: string,
  limit: number,
  value: (r: Result) => number | undefined,
  of: (r: Result) => boolean,
): Target => {
  const { worst } = target(what, -limit, (r) => (value(r) === undefined ? undefined : -value(r)!), of);
  return { what, target: limit, worst: worst === null ? null : -worst, met: worst === null ? null : -worst <= limit };
};
const onDevice = (r: Result) => r.eager && r.eager.device / r.microseconds;
const toCompletion = (r: Result) => r.eager && r.call && r.eager.call / r.call;
const large = (r: Result) => /x3x\d+x\d+$/.test(r.shape) && elements(r.shape) >= 16 * 3 * 256 * 256;
const targets = [
  target(
    'share of copy bandwidth beyond the cache',
    0.85,
    (r) => r.share,
    (r) => beyondCache(r) && !thresholds(r),
  ),
  target(
    'the same with thresholding, from 16x3x256x256 on',
    0.6,
    (r) => r.share,
    (r) => large(r) && thresholds(r),
  ),
  most(
    'microseconds per launch, small latents',
    4,
    (r) => r.microseconds,
    (r) => r.shape === '1x4x64x64' && !thresholds(r),
  ),
  most(
    'the same inside a graph',
    2.5,
    (r) => r.graph,
    (r) => r.shape === '1x4x64x64' && !thresholds(r),
  ),
  target('times as fast as eager PyTorch to completion, latents', 10, toCompletion, (r) => latent(r) && !!r.call),
  target('times as fast on the card, beyond the cache', 4.5, onDevice, (r) => beyondCache(r) && !thresholds(r)),
  target('the same with thresholding', 8, onDevice, (r) => beyondCache(r) && thresholds(r)),
];
for (const { what, target: goal, worst, met } of targets) {
  const verdict = met === null ? 'not measured' : `${worst!.toFixed(2)}: ${met ? 'met' : 'MISSED'}`;
  console.log(`${what.padEnd(56)} ${String(goal).padStart(5)}  ${verdict}`);
}

if (!options['no-write'] && !tiny) {
  const slug = card.name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const folder = process.env.OUT || `${root}/bench/results`;
  const file = `${folder}/gpu-${slug}.json`;
  mkdirSync(folder, { recursive: true });
  const report = { ...machine(), card, driver: info.driver, runtime: info.runtime, torch: eager.torch ?? null };
  const figures = { copyTerabytesPerSecond: bandwidth, targets, runs, results };
  writeFileSync(file, `${JSON.stringify({ ...report, ...figures }, null, 2)}\n`);
  console.log(file);
}
stream.dispose();
