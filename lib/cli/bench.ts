// `dpm-solver bench`: what pictures take on this machine: network calls, solver steps, and what is outside of the network. All
// cases take turns in every round, so that what slows the machine down for a while slows all of them, and ratios are of one round.
import { cpus, totalmem } from 'node:os';
import { type ArgsDef, defineCommand } from 'citty';
import { bytes, firstLine } from '../base/text.js';
import { loadRuntime } from '../onnx/runtime.js';
import type { DiffusionPipeline, Generation } from '../pipelines/index.js';
import { median } from '../pipelines/clock.js';
import {
  DEVICES,
  fetched,
  guidanceArg,
  machineArgs,
  modelArgs,
  numberOf,
  readPlace,
  shapesArg,
  wholeOf,
  withPipeline,
} from './generate.js';
import { withBar } from './progress.js';
import { say } from './say.js';
import { choice, UsageError, whole } from './usage.js';
import { version } from '../base/version.js';

/** What the help ends with. */
export const examples = [
  'dpm-solver bench',
  'dpm-solver bench --model ./sd-v1-5 --sizes 512,768x512 --batches 1,4 --json',
];

const { device: _device, ...placed } = machineArgs;
const args = {
  prompt: { type: 'positional', required: false, description: 'What is drawn, in words that the model knows' },
  devices: {
    type: 'string',
    valueHint: 'NAMES',
    description: 'Where the networks run: cpu,cuda (Default: cpu, and what auto takes where that is another one)',
  },
  sizes: {
    type: 'string',
    valueHint: 'SIZES',
    description: "Pixels: 512,768x512 (Default: the model's, and half of it where the model takes that)",
  },
  batches: { type: 'string', default: '1,4', valueHint: 'NUMBERS', description: 'Pictures made at once' },
  steps: { type: 'string', default: '6', valueHint: 'N', description: 'Network evaluations for a picture' },
  guidance: guidanceArg,
  seconds: {
    type: 'string',
    default: '60',
    valueHint: 'N',
    description: 'How long rounds are begun after warming up; one is made in any case, and 20 at most',
  },
  ...modelArgs,
  model: shapesArg,
  ...placed,
  json: { type: 'boolean', description: 'Print one JSON object' },
} as const satisfies ArgsDef;

/** Rounds beyond these tell nothing new. */
const MOST_ROUNDS = 20;
const PROMPT = 'a red circle on a blue background';

interface Case {
  readonly device: string;
  readonly width: number;
  readonly height: number;
  readonly batch: number;
  readonly run: (steps: number) => Promise<Generation>;
}

/** The median of rounds, and the least and the most of them. */
interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

interface Result extends Omit<Case, 'run'> {
  /** A network call. Milliseconds, as all that end in Ms. */
  readonly networkMs: Spread;
  /** Network calls of a run. */
  readonly networkCalls: number;
  /** A solver step of the whole batch. */
  readonly stepMs: Spread;
  /** Of the time between the first evaluation and the last step the share that no network call takes, 0 to 1. */
  readonly outside: Spread;
  /** Tokenizing and encoding the prompt. */
  readonly encodeMs: Spread;
  /** Decoding all pictures; null for networks in pixels. */
  readonly decodeMs: Spread | null;
  /** From the call to its answer, by the number of pictures. */
  readonly pictureMs: Spread;
  /** That, in units of the first case's in the same round. */
  readonly ratio: Spread;
}

interface Measured {
  readonly rounds: number;
  readonly results: readonly Result[];
}

export const bench = defineCommand({
  meta: { name: 'bench', description: 'Measure what pictures take on this machine' },
  args,
  async run({ args }) {
    if (args._.length > 1) throw new UsageError(`Expected one prompt but received ${args._.length}`);
    const prompt = args._[0] ?? PROMPT;
    const steps = wholeOf(args, 'steps', 1) as number;
    const guidance = numberOf(args, 'guidance');
    const seconds = numberOf(args, 'seconds') as number;
    const batches = args.batches.split(',').map((part) => whole('batches', part, 1) as number);
    const sizes = args.sizes?.split(',').map(readSize);
    const named = args.devices?.split(',').map((one) => choice('devices', one, DEVICES) as (typeof DEVICES)[number]);
    const json = args.json ?? false;
    const place = await fetched(readPlace(args, 'shapes'), json);
    const devices = named ?? (['cpu', 'auto'] as const);
    const left: { device: string; why: string }[] = [];
    /** Opens the devices one within the other, as all of them take turns. */
    const withCases = async (rest: readonly (typeof DEVICES)[number][], cases: Case[]): Promise<Measured> => {
      const [device, ...others] = rest;
      if (device === undefined) {
        if (cases.length === 0) throw new Error(left[0].why);
        return measure(cases, steps, seconds);
      }
      let opened = false;
      try {
        return await withPipeline({ ...place, device }, json, async (pipe, { stop }) => {
          const own = await casesOf(pipe, { prompt, steps, guidance }, sizes, batches);
          // What a device cannot do shows at its first call, and which one it is.
          const { device: found } = await own[0].run(steps);
          stop();
          opened = true;
          const known = named === undefined && cases.some((one) => one.device === found);
          return withCases(others, [...cases, ...(known ? [] : own.map((one) => ({ ...one, device: found })))]);
        });
      } catch (error) {
        // One that was not asked for, or not alone, is left out.
        if (opened || devices.length === 1 || named !== undefined) throw error;
        left.push({ device, why: firstLine((error as Error).message) });
        return withCases(others, cases);
      }
    };
    const measured = await withCases(devices, []);
    const model = args.model ?? 'shapes';
    const found = { machine: await machine(), model, steps, guidance: guidance ?? null, ...measured, left };
    if (json) say(JSON.stringify(found));
    else for (const line of linesOf(found)) say(line);
  },
});

function readSize(text: string): { width: number; height: number } {
  const [, width, height = width] = /^(\d+)(?:x(\d+))?$/.exec(text.trim()) ?? [];
  if (width === undefined)
    throw new UsageError(`Expected sizes such as 512,768x512 for --sizes but received '${text}'`);
  return { width: Number(width), height: Number(height) };
}

async function casesOf(
  pipe: DiffusionPipeline,
  asked: { prompt: string; steps: number; guidance: number | undefined },
  sizes: readonly { width: number; height: number }[] | undefined,
  batches: readonly number[],
): Promise<Omit<Case, 'device'>[]> {
  const { width, height } = pipe.defaults;
  const half = { width: width / 2, height: height / 2 };
  const takesHalf =
    sizes === undefined &&
    (await pipe.check({ ...asked, ...half }).then(
      () => true,
      () => false,
    ));
  const all = sizes ?? [...(takesHalf ? [half] : []), { width, height }];
  for (const size of all) await pipe.check({ ...asked, ...size });
  return all.flatMap((size) =>
    batches.map((batch) => ({
      ...{ ...size, batch },
      run: (steps: number) => pipe({ ...asked, ...size, steps, seed: 0, count: batch, batchSize: batch }),
    })),
  );
}

async function measure(cases: readonly Case[], steps: number, seconds: number): Promise<Measured> {
  const rounds: Generation[][] = [];
  await withBar(async (show) => {
    let at = 0;
    const tell = (what: string) => show?.(cases.length * (MOST_ROUNDS + 1), at++, what);
    for (const one of cases) {
      tell('warming up');
      await one.run(steps);
    }
    const begun = performance.now();
    do {
      const round: Generation[] = [];
      for (const one of cases) {
        const rest = Math.max(0, Math.ceil(seconds - (performance.now() - begun) / 1000));
        tell(`round ${rounds.length + 1}, ${rest} s left`);
        round.push(await one.run(steps));
      }
      rounds.push(round);
    } while (performance.now() - begun < 1000 * seconds && rounds.length < MOST_ROUNDS);
  });
  const results = cases.map(({ run: _run, ...one }, i) => resultOf(one, i, rounds, cases[0].batch));
  return { rounds: rounds.length, results };
}

function resultOf(one: Omit<Case, 'run'>, i: number, rounds: readonly Generation[][], firstBatch: number): Result {
  const of = (pick: (timings: Generation['timings'], first: Generation['timings']) => number) =>
    spread(rounds.map((round) => pick(round[i].timings, round[0].timings)));
  const vae = rounds[0][i].timings.vaeMs;
  return {
    ...one,
    networkMs: of(({ networkMs }) => networkMs),
    networkCalls: rounds[0][i].timings.networkCalls,
    stepMs: of(({ stepMs }) => stepMs),
    outside: of(
      ({ networkTotalMs, totalMs, encodeMs, vaeMs = 0 }) => 1 - networkTotalMs / (totalMs - encodeMs - vaeMs),
    ),
    encodeMs: of(({ encodeMs }) => encodeMs),
    decodeMs: vae === undefined ? null : of(({ vaeMs = 0 }) => vaeMs),
    pictureMs: of(({ totalMs }) => totalMs / one.batch),
    ratio: of(({ totalMs }, first) => totalMs / one.batch / (first.totalMs / firstBatch)),
  };
}

function spread(values: readonly number[]): Spread {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

async function machine() {
  const { info } = await import('../addon/native.js');
  const { env } = await loadRuntime();
  const { simd, threads, backend } = info();
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: totalmem(),
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    version,
    onnxruntime: env.versions.node ?? 'unknown',
    ...{ backend, simd, threads },
  };
}

type Found = Measured & {
  readonly machine: Awaited<ReturnType<typeof machine>>;
  readonly model: string;
  readonly steps: number;
  readonly left: readonly { device: string; why: string }[];
};

function linesOf({ machine: on, model, steps, rounds, results, left }: Found): string[] {
  const rows = results.map(({ device, width, height, batch, networkMs, stepMs, outside, pictureMs, ratio }) => [
    ...[device, `${width} x ${height}`, String(batch), withSpread(networkMs, ms), withSpread(stepMs, ms)],
    ...[withSpread(outside, percent), withSpread(pictureMs, ms), withSpread(ratio, times)],
  ]);
  const head = ['device', 'size', 'batch', 'network call', 'solver step', 'outside', 'a picture', 'of the first'];
  const widths = head.map((name, c) => Math.max(name.length, ...rows.map((row) => row[c].length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, c) => cell.padEnd(widths[c]))
      .join('  ')
      .trimEnd();
  return [
    `${on.cpu}, ${on.cores} core${on.cores === 1 ? '' : 's'}, ${bytes(on.memory)}; ${on.platform}, node ${on.node}, onnxruntime ${on.onnxruntime}`,
    `dpm-solver ${on.version}, ${on.backend}, ${on.simd}, ${on.threads} threads; ${model}, ${steps} evaluations a picture`,
    '',
    line(head),
    ...rows.map(line),
    ...left.map(({ device, why }) => `${device}: ${why}`),
    '',
    `Medians of ${rounds} round${rounds === 1 ? '' : 's'}, in each of which all cases take their turn, with the least and the most.`,
    'Outside: the share of the loop that no network call takes. Of the first: the time of a picture by that of the first line.',
  ];
}

const withSpread = ({ median, low, high }: Spread, write: (value: number) => string) =>
  low === high ? write(median) : `${write(median)} (${write(low)} - ${write(high)})`;
const ms = (value: number) => `${Number(value.toPrecision(value < 1000 ? 2 : 3))} ms`;
const percent = (value: number) => `${Number((100 * value).toPrecision(2))}%`;
const times = (value: number) => `${value.toFixed(2)} x`;
