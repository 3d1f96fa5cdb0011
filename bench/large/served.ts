/**
 * What a server does with models of real size, as one who waits sees it:
 *
 *     npm run bench:served -- DIR OTHER [--side 128] [--steps 4] [--max-memory 8] [--memory auto] [--json FILE]
 *                                       [--note TEXT]
 *
 * Two models share the memory, of which there is enough for one (--max-memory, in GB): each is drawn with in turn, and what all
 * processes of the server take, and what the server says of its models, is looked at all the while. Then one run waits for
 * another, whose time tells whether the seconds that it was told were right, and one is cancelled within a network call.
 * What is told are bytes, shares of a run's own time and ratios, which do not depend on what else the machine does, and
 * the milliseconds of answers, which do. Needs dist.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.js';

const { values, positionals } = parseArgs({
  options: {
    side: { type: 'string', default: '128' },
    steps: { type: 'string', default: '4' },
    'max-memory': { type: 'string', default: '8' },
    memory: { type: 'string', default: 'auto' },
    json: { type: 'string' },
    note: { type: 'string' },
  },
  allowPositionals: true,
});
if (positionals.length !== 2 || positionals.some((dir) => !existsSync(`${dir}/model_index.json`))) {
  console.error('Expected two model folders: npm run bench:served -- DIR OTHER');
  process.exit(2);
}
const side = Number(values.side);
const steps = Number(values.steps);
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const models = ['one', 'other'].map((name, i) => `${name}=${resolve(positionals[i])}`).join();
const server = spawn(
  process.execPath,
  [
    ...[main, 'serve', '--models', models, '--max-memory', values['max-memory'], '--memory', values.memory],
    ...['--port', '0'],
    // One run after the other, so that the second one waits; however slow the machine is.
    ...['--together', '1', '--time-limit', '86400'],
  ],
  { stdio: ['ignore', 'pipe', 'pipe'] },
);
process.on('exit', () => server.kill('SIGKILL'));
server.stderr.pipe(process.stderr);
const url = await new Promise<string>((found, failed) => {
  server.once('exit', () => failed(new Error('The server has ended before its time')));
  for (const stream of [server.stdout, server.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      const said = /http:\/\/\S+/.exec(line)?.[0];
      if (said !== undefined) found(said);
    });
  }
});

/** Resident bytes of a process and of all that it has started. */
function resident(pid: number): number {
  try {
    const own = 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
    return children.reduce((sum, child) => sum + resident(child), own);
  } catch {
    // It has ended meanwhile.
    return 0;
  }
}

interface Status {
  ready: boolean;
  loading?: { done: number; of: number };
  models: { id: string; state: string; bytes: number }[];
}

// Asked all the while.
let watching = true;
let mostBytes = 0;
const statusMs: number[] = [];
/** Whenever it changes: the models' states. */
const states: string[] = [];
async function status(): Promise<Status> {
  return (await (await fetch(new URL('/api/status', url))).json()) as Status;
}
const watch = (async () => {
  while (watching) {
    const begun = performance.now();
    const { models: all } = await status();
    statusMs.push(performance.now() - begun);
    mostBytes = Math.max(mostBytes, resident(server.pid as number));
    const said = all.map(({ id, state }) => `${id} ${state}`).join(', ');
    if (states.at(-1) !== said) {
      states.push(said);
      console.log(said);
    }
    await sleep(250);
  }
})();

interface Told {
  event: string;
  /** Seconds since it was asked for. */
  at: number;
  data: Record<string, unknown>;
}

/** One run of a model, the first where none is named; `onEvent` is told at once. */
async function run(
  seed: number,
  { model, onEvent }: { model?: string; onEvent?: (told: Told) => void } = {},
): Promise<Told[]> {
  const begun = performance.now();
  const response = await fetch(new URL('/api/runs', url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ prompt: 'an astronaut', steps, width: side, height: side, seed, model }),
  });
  if (!response.ok || response.body === null) throw new Error(await response.text());
  const told: Told[] = [];
  let rest = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + piece).split('\n\n');
    rest = blocks.pop() as string;
    for (const block of blocks) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/m.exec(block) ?? [];
      if (event === undefined) continue;
      const one = { event, at: (performance.now() - begun) / 1000, data: JSON.parse(data) };
      told.push(one);
      onEvent?.(one);
    }
  }
  return told;
}

const at = (told: Told[], event: string) => told.find((one) => one.event === event)?.at ?? Number.NaN;

/** When each step was told, and the loading, in shares of the time from the run's start to its end. */
function shares(told: Told[]) {
  const [started, done] = [at(told, 'started'), at(told, 'done')];
  return {
    steps: told.filter(({ event }) => event === 'step').map((one) => (one.at - started) / (done - started)),
    loadings: told.filter(({ event }) => event === 'loading').length,
    end: told.at(-1)?.event,
  };
}

let readings = 0;
for (let state = await status(); !state.ready; state = await status()) {
  if (state.loading && state.loading.done > 0) readings++;
  await sleep(100);
}
console.log(`${url} is ready`);

const turns = [shares(await run(1))];
await run(2, { model: 'other' });
turns.push(shares(await run(3)));
for (const turn of turns) console.log(JSON.stringify(turn));

// The first run of a pair goes on when the second one comes, and is at its first step or later.
const waits: { promised: number; waited: number }[] = [];
for (let i = 0; i < 3; i++) {
  let begin: () => void = () => {};
  const stepped = new Promise<void>((done) => (begin = done));
  const first = run(10 + i, { onEvent: ({ event }) => event === 'step' && begin() });
  await stepped;
  const second = await run(20 + i);
  await first;
  const queued = second.find(({ event }) => event === 'queued') as Told;
  waits.push({ promised: queued.data.seconds as number, waited: at(second, 'started') - queued.at });
  console.log(JSON.stringify(waits.at(-1)));
}

// Cancelled when a step has been told, a moment into the next call.
let answeredMs = Number.NaN;
let askedAt = Number.NaN;
const began = performance.now();
let id = '';
const cancelled = await run(30, {
  onEvent: ({ event, data }) => {
    if (event === 'started') id = data.id as string;
    if (event !== 'step' || !Number.isNaN(askedAt)) return;
    askedAt = 0;
    setTimeout(async () => {
      askedAt = (performance.now() - began) / 1000;
      await fetch(new URL(`/api/runs/${id}`, url), { method: 'DELETE' });
      answeredMs = performance.now() - began - 1000 * askedAt;
    }, 100);
  },
});
const steptimes = cancelled.filter(({ event }) => event === 'step').map((one) => one.at);
const cancel = {
  answeredMs,
  /** From the request to the event, in network calls of that run. */
  calls: (at(cancelled, 'cancelled') - askedAt) / (steptimes[0] - at(cancelled, 'started')),
  /** Network calls that were made all the same. */
  steps: steptimes.length,
};
console.log(JSON.stringify(cancel));
watching = false;
await watch;
server.kill('SIGINT');

statusMs.sort((a, b) => a - b);
const result = {
  command: `npm run bench:served -- ${positionals.map((dir) => basename(resolve(dir))).join(' ')} --side ${side} --steps ${steps} --max-memory ${values['max-memory']} --memory ${values.memory}`,
  machine: machine(),
  ...(values.note === undefined ? {} : { note: values.note }),
  ...{ side, steps, maxBytes: 1e9 * Number(values['max-memory']), mostBytes, states, readings, turns, waits, cancel },
  status: { requests: statusMs.length, medianMs: statusMs[statusMs.length >> 1], mostMs: statusMs.at(-1) },
};
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
else console.log(JSON.stringify(result));
