/**
 * One loop in two languages: this package with onnxruntime-node, and diffusers with onnxruntime in Python, on the network that
 * comes with the package, with as many threads each.
 *
 *     npm run bench:python -- --python PYTHON [--rounds 9] [--batches 1,4,16]        PYTHON has diffusers, torch and onnxruntime
 *
 * Both processes live through all rounds and take turns, so that what the machine does besides meets both; the figures are of
 * the fastest turn of each, which was disturbed the least. Spinning is what onnxruntime's threads do between two
 * runs: with 0 they sleep. Writes bench/results/python.json.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.js';

interface Turn {
  /** Seconds of a loop outside of the network, and inside of it. */
  outside: number;
  inside: number;
  /** The result's size, by which the two loops are known to do the same. */
  mean: number;
}

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '9' },
    batches: { type: 'string', default: '1,4,16' },
  },
});
const here = fileURLToPath(new URL('.', import.meta.url));
const model = fileURLToPath(new URL('../../models/shapes', import.meta.url));

class Loop {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  constructor(program: string, script: string, threads: number, spinning: 0 | 1) {
    this.#process = spawn(program, [here + script, model, String(threads), String(spinning)], { stdio: 'pipe' });
    this.#process.stderr.resume();
    const lines: Interface = createInterface({ input: this.#process.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
  }
  async turn(batch: number): Promise<Turn> {
    this.#process.stdin.write(`${JSON.stringify({ batch })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('A loop has ended before its time: start it by hand to see why');
    return JSON.parse(value) as Turn;
  }
  end(): void {
    this.#process.kill();
  }
}

const rows = [];
for (const [threads, spinning] of [
  [1, 1],
  [2, 1],
  [2, 0],
] as const) {
  const node = new Loop(process.execPath, 'loop.mjs', threads, spinning);
  const python = new Loop(values.python, 'loop.py', threads, spinning);
  for (const batch of values.batches.split(',').map(Number)) {
    await Promise.all([node.turn(batch), python.turn(batch)]); // warm
    const turns: [Turn, Turn][] = [];
    for (let i = 0; i < Number(values.rounds); i++) turns.push([await node.turn(batch), await python.turn(batch)]);
    const least = (which: 0 | 1, part: 'outside' | 'inside') => Math.min(...turns.map((pair) => pair[which][part]));
    const [own, theirs] = ([0, 1] as const).map((i) => ({ outside: least(i, 'outside'), inside: least(i, 'inside') }));
    const row = {
      threads,
      spinning,
      batch,
      /** How many times as long Python is outside of the network, and inside. */
      outside: theirs!.outside / own!.outside,
      inside: theirs!.inside / own!.inside,
      shareNode: own!.outside / (own!.outside + own!.inside),
      sharePython: theirs!.outside / (theirs!.outside + theirs!.inside),
      sizes: [turns[0]![0].mean, turns[0]![1].mean],
    };
    rows.push(row);
    console.log(JSON.stringify(row));
  }
  node.end();
  python.end();
}
const result = { machine: machine(), rounds: Number(values.rounds), steps: 6, rows };
writeFileSync(new URL('../results/python.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
