// npm run bench:memory [-- --quick | --only stub | --only shapes]: does the memory of a server stay what it is? 100,000 runs of a network that costs nothing
// (test/fixtures/models/constant, one step each) and 2,000 of the one that comes with the package (4 steps of the model's own
// size, with previews), over HTTP, eight at a time; every ninth client leaves in the middle of its run. The
// server's resident set and heap are taken after a garbage collection, and that of the process that draws as the server tells it, before
// and after each twentieth part. How much is grown is told from the first quarter on: what is allocated once is there by then.
// Writes bench/results/memory.json.
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { machine } from '../machine.js';
import type { Memory } from './attacks.js';

const quick = process.argv.includes('--quick');
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : undefined;
const out = fileURLToPath(new URL('../results/memory.json', import.meta.url));
const PARTS = 20;
const kinds = [
  { kind: 'stub', folder: '../../test/fixtures/models/constant', runs: quick ? 400 : 100_000, settings: { steps: 1 } },
  { kind: 'shapes', folder: '../../models/shapes', runs: quick ? 40 : 2000, settings: { steps: 4 } },
];
const prompts: Record<string, string> = { stub: 'red', shapes: 'a red circle on a blue background' };

interface Target {
  url: string;
  memory(): Promise<Memory>;
  end(): Promise<unknown>;
}

async function start(folder: string): Promise<Target> {
  const child: ChildProcess = fork(
    fileURLToPath(new URL('./target.ts', import.meta.url)),
    [fileURLToPath(new URL(folder, import.meta.url))],
    { execArgv: [...process.execArgv, '--expose-gc'] },
  );
  const told = <T>(): Promise<T> => new Promise((resolve) => child.once('message', (message) => resolve(message as T)));
  const port = await told<number>();
  const ask = <T>(what: string): Promise<T> => {
    const answer = told<T>();
    child.send(what);
    return answer;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    memory: () => ask<Memory>('memory'),
    end() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.send('end');
      return ended;
    },
  };
}

/** One run; its outcome is the name of its last event, or `left`. */
async function draw(url: string, settings: object, leaves: boolean): Promise<string> {
  const leaving = new AbortController();
  const response = await fetch(new URL('/api/runs', url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Connection: 'close' },
    body: JSON.stringify(settings),
    signal: leaving.signal,
  });
  if (response.status !== 200) return String(response.status);
  if (leaves) {
    leaving.abort();
    return 'left';
  }
  const names = [...(await response.text()).matchAll(/^event: (\w+)$/gm)];
  return names.at(-1)?.[1] ?? 'nothing';
}

const mib = (bytes: number): number => Math.round((bytes / 2 ** 20) * 10) / 10;

/** The slope of a line through the values, by least squares, over as many steps as there are between them. */
function growth(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const above = values.reduce((sum, value, i) => sum + (i - middle) * (value - mean), 0);
  const below = values.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  return Math.round((above / below) * (values.length - 1) * 10) / 10;
}

const results: ({ kind: string } & Record<string, unknown>)[] = [];
for (const { kind, folder, runs, settings } of kinds) {
  if (only !== undefined && kind !== only) continue;
  const target = await start(folder);
  const outcomes: Record<string, number> = {};
  const found: { runs: number; serverMiB: number; serverHeapMiB: number; drawingMiB: number }[] = [];
  const take = async (made: number): Promise<void> => {
    const { resident, heap } = await target.memory();
    const status = await (await fetch(new URL('/api/status', target.url), { headers: { Connection: 'close' } })).json();
    const [{ bytes }] = (status as { models: { bytes: number }[] }).models;
    found.push({ runs: made, serverMiB: mib(resident), serverHeapMiB: mib(heap), drawingMiB: mib(bytes) });
    console.log(`${kind} ${JSON.stringify(found.at(-1))}`);
  };
  await take(0);
  const each = runs / PARTS;
  for (let part = 0; part < PARTS; part++) {
    let next = part * each;
    const clients = Array.from({ length: 8 }, async () => {
      while (next < (part + 1) * each) {
        const seed = next++;
        const outcome = await draw(target.url, { prompt: prompts[kind], seed, ...settings }, seed % 9 === 8);
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      }
    });
    await Promise.all(clients);
    await take((part + 1) * each);
  }
  await target.end();
  const late = found.slice(PARTS / 4);
  const grown = {
    serverMiB: growth(late.map(({ serverMiB }) => serverMiB)),
    serverHeapMiB: growth(late.map(({ serverHeapMiB }) => serverHeapMiB)),
    drawingMiB: growth(late.map(({ drawingMiB }) => drawingMiB)),
  };
  console.log(`${kind}: ${JSON.stringify(outcomes)}, grown from ${late[0].runs} runs on by ${JSON.stringify(grown)}`);
  results.push({ kind, runs, settings, outcomes, grown, found });
}
if (!quick) {
  // What is not made anew stays.
  const before = existsSync(out) ? (JSON.parse(readFileSync(out, 'utf8')) as { results: typeof results }).results : [];
  const kept = before.filter(({ kind }) => !results.some((one) => one.kind === kind));
  writeFileSync(out, `${JSON.stringify({ machine: machine(), results: [...kept, ...results] }, null, 2)}\n`);
}
