/**
 * What a model folder takes at its real size, each measurement in a process of its own:
 *
 *     npm run bench:large -- DIR [--side 512] [--steps 3] [--decode 1024] [--rounds 5] [--only low,fast,python,whole,tiles,turns]
 *                                [--json FILE] [--note TEXT]
 *
 * `low` and `fast` are whole calls with guidance, `whole` and `tiles` a decode of random latents, and `python` the same graphs
 * in onnxruntime for Python (the program of PYTHON, python3 where that is not set; left out where it has no onnxruntime).
 * `turns` is the ratio of the two in the denoiser alone: both have it open and make calls in turn, so that what the machine does
 * besides meets both; it takes the weights twice.
 * What is measured is the package as `npm run build:ts` made it. Folders with random weights are made by bench/large/make.py.
 * --json adds to a file that is there, and takes the place of what it has of the same folder, kind and size.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.js';

const KINDS = ['fast', 'low', 'python', 'whole', 'tiles', 'turns'] as const;
type Kind = (typeof KINDS)[number];

const { values, positionals } = parseArgs({
  options: {
    side: { type: 'string', default: '512' },
    steps: { type: 'string', default: '3' },
    decode: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: KINDS.join() },
    json: { type: 'string' },
    note: { type: 'string' },
  },
  allowPositionals: true,
});
const [given] = positionals;
if (given === undefined || !existsSync(join(given, 'model_index.json'))) {
  console.error('Expected a model folder: npm run bench:large -- DIR');
  process.exit(2);
}
const model = resolve(given);
const only = values.only.split(',') as Kind[];
for (const kind of only) {
  if (!KINDS.includes(kind)) throw new Error(`Expected ${KINDS.join(', ')} for --only but received ${kind}`);
}
const python = process.env.PYTHON ?? 'python3';
const own = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const hasPython = spawnSync(python, ['-c', 'import onnxruntime']).status === 0;

interface Measured {
  what: string;
  side: number;
  [figure: string]: unknown;
}

async function measure(kind: Kind): Promise<Measured | undefined> {
  const side = kind === 'whole' || kind === 'tiles' ? values.decode : values.side;
  if ((kind === 'python' || kind === 'turns') && !hasPython) {
    console.error(`${python} has no onnxruntime: ${kind} is left out`);
    return undefined;
  }
  try {
    if (kind === 'turns') return await turns();
    const [program, args] =
      kind === 'python'
        ? [python, [own('./reference.py'), model, side, values.steps]]
        : [process.execPath, [own('./child.mjs'), model, kind, side, values.steps]];
    const output = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    return JSON.parse(output.trim().split('\n').at(-1) as string);
  } catch (error) {
    console.error(`${kind}: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

/** Lines that a program answers with, one for each that it is told. */
function talk(program: string, args: readonly string[]) {
  const child: ChildProcessWithoutNullStreams = spawn(program, args, { stdio: 'pipe' });
  child.stderr.pipe(process.stderr);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${basename(program)} has ended before its time`);
    return JSON.parse(value);
  };
  const turn = async (): Promise<{ seconds: number; mean: number }> => {
    child.stdin.write('\n');
    return next();
  };
  return { next, turn, end: () => child.kill() };
}

/** How many times as long as in Python a call takes here, by pairs of calls that were made in turn. */
async function turns(): Promise<Measured> {
  const theirs = talk(python, [own('./reference.py'), model, values.side, 'turns']);
  const ours = talk(process.execPath, [own('./turns.mjs'), model, JSON.stringify(await theirs.next())]);
  try {
    const warm = [await ours.turn(), await theirs.turn()];
    const ratios: number[] = [];
    for (let i = 0; i < Number(values.rounds); i++) {
      // Whoever comes first changes from round to round.
      const first = i % 2 === 0 ? ours : theirs;
      const one = await first.turn();
      const other = await (first === ours ? theirs : ours).turn();
      const [a, b] = first === ours ? [one, other] : [other, one];
      ratios.push(a.seconds / b.seconds);
    }
    ratios.sort((a, b) => a - b);
    const median = ratios[ratios.length >> 1];
    return { what: 'turns', side: Number(values.side), ratio: median, ratios, means: warm.map(({ mean }) => mean) };
  } finally {
    ours.end();
    theirs.end();
  }
}

/** Bytes of all files in a folder. */
function bytesIn(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    return sum + (entry.isDirectory() ? bytesIn(path) : statSync(path).size);
  }, 0);
}

interface Run {
  model: string;
  bytes: number;
  results: Measured[];
}

const { side, steps, decode, json, note } = values;
const run: Run = { model: basename(model), bytes: bytesIn(model), results: [] };
for (const kind of only) {
  const made = await measure(kind);
  if (!made) continue;
  const command = `npm run bench:large -- ${run.model} --side ${side} --steps ${steps} --decode ${decode} --only ${kind}`;
  const row = { ...made, command, machine: machine(), ...(note === undefined ? {} : { note }) };
  run.results.push(row);
  console.log(JSON.stringify(made));
  // After each, as the next may take hours.
  if (json !== undefined) add(json, run.model, run.bytes, row);
}

function add(file: string, name: string, bytes: number, row: Measured): void {
  const { runs }: { runs: Run[] } = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { runs: [] };
  const known = runs.find((one) => one.model === name);
  const results = (known?.results ?? []).filter((one) => one.what !== row.what || one.side !== row.side);
  const made = { model: name, bytes, results: [...results, row] };
  const all = known ? runs.map((one) => (one === known ? made : one)) : [...runs, made];
  writeFileSync(file, `${JSON.stringify({ runs: all }, null, 2)}\n`);
}
