/**
 * One loop in two languages: this package with onnxruntime-node, and diffusers with onnxruntime in Python, on the network that
 * comes with the package, with as many threads each.
 *
 *     npm run bench:python -- --python PYTHON [--rounds 9] [--batches 1,4,16]        PYTHON has diffusers, torch and onnxruntime
 *
 * The processes live through all rounds and take turns, so that what the machine does besides meets all of them; the figures are
 * of the fastest turn of each, which was disturbed the least. Spinning is what onnxruntime's threads do between two
 * runs: with 0 they sleep. Torch has threads of its own, as many or one; compiled: guidance and the scheduler's step by
 * torch.compile. Each loop takes the grid that its package takes by itself, so that the results differ; a step of both is the same
 * arithmetic of the same size. Last, one process of Python takes turns with itself: torch with two threads and with one, and the
 * step by torch.compile and without. Writes bench/results/python.json; --only loops, threads or compiled keeps the other parts as
 * they are there.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../../lib/pipelines/clock.js';
import { machine } from '../machine.js';

interface Turn {
  /** Seconds of a loop outside of the network, and inside of it. */
  outside: number;
  inside: number;
  /** The result's size: of two that sample from the same noise on nearly the same grid it is nearly the same. */
  mean: number;
  /** Of Python: how often its threads gave up their core or were made to, and the seconds that they computed. */
  switches?: number;
  cpu?: number;
}

interface Setting {
  threads: number;
  spinning: 0 | 1;
  /** Threads of torch. */
  torch: number;
  compiled?: true;
}
const SETTINGS: readonly Setting[] = [
  { threads: 1, spinning: 1, torch: 1 },
  { threads: 1, spinning: 1, torch: 1, compiled: true },
  { threads: 2, spinning: 1, torch: 2 },
  { threads: 2, spinning: 1, torch: 1 },
  { threads: 2, spinning: 0, torch: 2 },
  { threads: 2, spinning: 0, torch: 1 },
];

/** What bench/results/python.json has of a setting and a batch. */
export interface PythonRow extends Setting {
  batch: number;
  /** How many times as long Python is outside of the network, and inside. */
  outside: number;
  inside: number;
  /** The least and the most of that, round by round. */
  outsideRounds: [number, number];
  shareNode: number;
  sharePython: number;
  /** Medians of Python's turns. */
  switches: number;
  cpu: number;
  sizes: [number, number];
}
export interface PythonResults {
  machine: ReturnType<typeof machine>;
  load: number;
  rounds: number;
  steps: number;
  rows: PythonRow[];
  threads: ThreadsRow[];
  compiled: CompiledRow[];
}
/** How many times as long Python is outside of the network without torch.compile as with it, on one thread. */
export interface CompiledRow {
  batch: number;
  ratio: [median: number, least: number, most: number];
}
/** How many times as long Python is outside of the network when torch has two threads in place of one. */
export interface ThreadsRow {
  spinning: 0 | 1;
  batch: number;
  /** Of the tensors that the step works on. */
  elements: number;
  ratio: [median: number, least: number, most: number];
  /** The share of the loop that is outside of the network, with one thread and with two: medians. */
  shares: [one: number, two: number];
}

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '9' },
    batches: { type: 'string', default: '1,4,16' },
    only: { type: 'string' },
  },
});
const here = fileURLToPath(new URL('.', import.meta.url));
const model = fileURLToPath(new URL('../../models/shapes', import.meta.url));

class Loop {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  constructor(program: string, script: string, { threads, spinning, torch, compiled }: Setting) {
    const args = [model, threads, spinning, torch, ...(compiled ? ['compiled'] : [])].map(String);
    this.#process = spawn(program, [here + script, ...args], { stdio: 'pipe' });
    this.#process.stderr.resume();
    const lines: Interface = createInterface({ input: this.#process.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
  }
  async turn(batch: number, other: { torch?: number; compiled?: boolean } = {}): Promise<Turn> {
    this.#process.stdin.write(`${JSON.stringify({ batch, ...other })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('A loop has ended before its time: start it by hand to see why');
    return JSON.parse(value) as Turn;
  }
  end(): void {
    this.#process.kill();
  }
}

const rounds = Number(values.rounds);
const file = new URL('../results/python.json', import.meta.url);
const before = values.only ? (JSON.parse(readFileSync(file, 'utf8')) as PythonResults) : undefined;
const loops = values.only === undefined || values.only === 'loops';
const rows: PythonRow[] = loops ? [] : before!.rows;
for (const setting of loops ? SETTINGS : []) {
  const node = new Loop(process.execPath, 'loop.mjs', setting);
  const python = new Loop(values.python, 'loop.py', setting);
  for (const batch of values.batches.split(',').map(Number)) {
    await node.turn(batch); // warm, one after the other
    await python.turn(batch);
    const turns: [Turn, Turn][] = [];
    for (let i = 0; i < rounds; i++) turns.push([await node.turn(batch), await python.turn(batch)]);
    const least = (which: 0 | 1, part: 'outside' | 'inside') => Math.min(...turns.map((pair) => pair[which][part]));
    const [own, theirs] = ([0, 1] as const).map((i) => ({ outside: least(i, 'outside'), inside: least(i, 'inside') }));
    const each = turns.map(([a, b]) => b.outside / a.outside);
    const row: PythonRow = {
      ...setting,
      batch,
      outside: theirs!.outside / own!.outside,
      inside: theirs!.inside / own!.inside,
      outsideRounds: [Math.min(...each), Math.max(...each)],
      shareNode: own!.outside / (own!.outside + own!.inside),
      sharePython: theirs!.outside / (theirs!.outside + theirs!.inside),
      switches: median(turns.map(([, { switches = 0 }]) => switches)),
      cpu: median(turns.map(([, { cpu = 0 }]) => cpu)),
      sizes: [turns[0]![0].mean, turns[0]![1].mean],
    };
    rows.push(row);
    console.log(JSON.stringify(row));
  }
  node.end();
  python.end();
}
/** The median of what the second takes outside of the network in units of the first, the least and the most, and all turns. */
async function against(python: Loop, batch: number, ways: readonly [object, object]) {
  const turns: [Turn, Turn][] = [];
  for (let i = 0; i <= rounds; i++) {
    // Each goes first in every other round.
    const first = await python.turn(batch, ways[i % 2]);
    const second = await python.turn(batch, ways[1 - (i % 2)]);
    turns.push(i % 2 ? [second, first] : [first, second]);
  }
  turns.shift(); // warm
  const ratios = turns.map(([one, two]) => two.outside / one.outside);
  return { turns, ratio: [median(ratios), Math.min(...ratios), Math.max(...ratios)] as ThreadsRow['ratio'] };
}

const asked = (part: string) => values.only === undefined || values.only === part;
const threads: ThreadsRow[] = asked('threads') ? [] : before!.threads;
for (const spinning of asked('threads') ? ([1, 0] as const) : []) {
  const python = new Loop(values.python, 'loop.py', { threads: 2, spinning, torch: 2 });
  for (const batch of [8, 16]) {
    const { turns, ratio } = await against(python, batch, [{ torch: 1 }, { torch: 2 }]);
    const share = (which: 0 | 1) =>
      median(turns.map((pair) => pair[which].outside / (pair[which].outside + pair[which].inside)));
    threads.push({ spinning, batch, elements: batch * 3 * 32 * 32, ratio, shares: [share(0), share(1)] });
    console.log(JSON.stringify(threads.at(-1)));
  }
  python.end();
}
const compiled: CompiledRow[] = asked('compiled') ? [] : before!.compiled;
if (asked('compiled')) {
  const python = new Loop(values.python, 'loop.py', { threads: 1, spinning: 1, torch: 1, compiled: true });
  for (const batch of [1, 16]) {
    const { ratio } = await against(python, batch, [{ compiled: true }, { compiled: false }]);
    compiled.push({ batch, ratio });
    console.log(JSON.stringify(compiled.at(-1)));
  }
  python.end();
}
const machineNow = before?.machine ?? machine();
const result: PythonResults = { machine: machineNow, load: loadavg()[0]!, rounds, steps: 6, rows, threads, compiled };
writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
