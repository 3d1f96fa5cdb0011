// Attacks on a server, for the benchmark and, in small, for the tests.
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Memory {
  resident: number;
  heap: number;
  /** The most that was ever resident. */
  peak: number;
}

export interface AttackOptions {
  port: number;
  memory: () => Promise<Memory>;
  connect: (port: number) => Socket;
  /** Connections that stall at once, streams that are left, and wrong requests, in each of so many rounds. */
  stalled: number;
  halves: number;
  bad: number;
  rounds: number;
  /** How many leave runs, or send wrong requests, at once; 6 and 16 where absent. */
  attackers?: number;
}

export interface Attacked {
  kind: string;
  /** In each round. */
  count: number;
  /** Requests for the status while the attack went on that were answered with 200, of how many. */
  answered: string;
  p99Ms: number;
  slowestMs: number;
  /** Before, and after each round. */
  residentMiB: number[];
  heapMiB: number[];
}

const run = JSON.stringify({ prompt: 'red', steps: 200, count: 4 });
const head = 'POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

/** What is said before there is silence. */
const beginnings = [
  '',
  'GET / HT',
  'GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ',
  `${head}Content-Length: 100\r\n\r\n{"prompt":`,
  `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"pro`,
];

/** Requests that are wrong, each in another way; `i` makes them differ. */
const wrong: ((i: number) => string)[] = [
  (i) => body(`{"prompt":${i}}`),
  (i) => body(`{"prompt":"a","steps":${i + 1e9}}`),
  (i) => body(`{"prompt":"unknown${i}"}`),
  (i) => body(`${'['.repeat(1000 + (i % 7000))}`),
  (i) => body(`{"key${i}":"<script>alert(${i})</script>"}`),
  (i) => body(`{"prompt":"${'x'.repeat(1001 + (i % 9000))}"}`),
  (i) => body('x'.repeat(16 * 1024 + 1 + i)),
  (i) => body('\u0000\ud800'.repeat(1 + (i % 100))),
  (i) => `${head}Content-Length: ${i}x\r\n\r\n`,
  (i) => `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${i}`,
  (i) => `GET /${'../'.repeat(1 + (i % 20))}etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  (i) => `GET /?q=<script>${i}</script> HTTP/1.1\r\nHost: evil${i}.example\r\nConnection: close\r\n\r\n`,
  (i) => `GET / HTTP/1.1\r\nHost: localhost\r\nX-${i}: ${'y'.repeat(17_000)}\r\n\r\n`,
  (i) =>
    `DELETE /api/runs/${i.toString(16).padStart(32, '0')} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  (i) => `\u0016\u0003\u0001${String.fromCharCode(i % 128)}`,
  (i) => `GET /${i} HTTP/1.1\r\n\r\n`,
];

function body(text: string): string {
  return `${head}Connection: close\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

/** Attacks the server at a port, round after round, and asks it for its status all the while. */
export async function attack(options: AttackOptions): Promise<Attacked[]> {
  const { stalled, halves, bad } = options;
  const results: Attacked[] = [];
  const kinds: [string, number, (count: number) => Promise<void>][] = [
    ['connections that stall', stalled, (count) => stall(options, count)],
    ['runs whose client closes its half', halves, (count) => leave(options, count, 'half')],
    ['runs whose client reads nothing and leaves', halves, (count) => leave(options, count, 'unread')],
    ['wrong requests', bad, (count) => misbehave(options, count)],
  ];
  // What is allocated once, such as compiled code, is no leak.
  for (const [, count, make] of kinds) await make(Math.ceil(count / 10));
  for (const [kind, count, make] of kinds) results.push(await watched(kind, count, () => make(count), options));
  return results;
}

async function watched(kind: string, count: number, make: () => Promise<void>, options: AttackOptions) {
  const found = [await settled(options)];
  const took: number[] = [];
  let answered = 0;
  for (let round = 0; round < options.rounds; round++) {
    let going = true;
    const attacking = make().finally(() => {
      going = false;
    });
    while (going) {
      const started = performance.now();
      if ((await state(options.port)) !== null) answered++;
      took.push(performance.now() - started);
      await sleep(20);
    }
    await attacking;
    found.push(await settled(options));
  }
  const residentMiB = found.map(({ resident }) => resident / 2 ** 20);
  const heapMiB = found.map(({ heap }) => heap / 2 ** 20);
  took.sort((a, b) => a - b);
  const [p99Ms, slowestMs] = [took[Math.floor(0.99 * (took.length - 1))], took[took.length - 1]];
  return { kind, count, answered: `${answered} of ${took.length}`, p99Ms, slowestMs, residentMiB, heapMiB };
}

/** Memory when the server is idle. */
async function settled({ port, memory }: AttackOptions): Promise<Memory> {
  for (let i = 0; i < 600; i++) {
    const now = await state(port);
    if (now?.ready && now.running + now.waiting === 0) break;
    await sleep(50);
  }
  await sleep(200);
  return memory();
}

async function state(port: number): Promise<{ ready: boolean; running: number; waiting: number } | null> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/api/status`, { headers: { Connection: 'close' } });
    return response.status === 200 ? ((await response.json()) as never) : null;
  } catch {
    return null;
  }
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
  });

/** Opens connections, says part of a request on each, and waits until the server has had enough of all of them. */
async function stall({ port, connect }: AttackOptions, count: number): Promise<void> {
  const ends = Array.from({ length: count }, (_, i) => {
    const socket = connect(port);
    const end = closed(socket);
    socket.write(beginnings[i % beginnings.length]);
    socket.resume();
    return Promise.race([
      end,
      // A connection that says nothing at all is closed as idle, which takes longer.
      sleep(15_000).then(() => socket.destroy()),
    ]);
  });
  await Promise.all(ends);
}

/** Starts runs and leaves them. */
async function leave(
  { port, connect, attackers = 6 }: AttackOptions,
  count: number,
  how: 'half' | 'unread',
): Promise<void> {
  const some = Array.from({ length: attackers }, async (_, worker) => {
    for (let i = worker; i < count; i += attackers) {
      const socket = connect(port);
      const end = closed(socket);
      socket.write(`${head}Content-Length: ${run.length}\r\n\r\n${run}`);
      if (how === 'unread') {
        socket.pause();
        await sleep(50);
        socket.destroy();
      } else {
        socket.resume();
        socket.end();
        await Promise.race([end, sleep(10_000).then(() => socket.destroy())]);
      }
    }
  });
  await Promise.all(some);
}

/** Sends wrong requests, several at a time, each on a connection of its own. */
async function misbehave({ port, connect, attackers = 16 }: AttackOptions, count: number): Promise<void> {
  const some = Array.from({ length: attackers }, async (_, worker) => {
    for (let i = worker; i < count; i += attackers) {
      const socket = connect(port);
      const end = closed(socket);
      let answer = '';
      const answered = new Promise<void>((resolve) => {
        socket.on('data', (chunk) => {
          answer += chunk;
          if (answer.includes('\r\n\r\n') && answer.endsWith('}')) resolve();
        });
      });
      socket.write(wrong[i % wrong.length](i));
      await Promise.race([end, answered, sleep(10_000)]);
      socket.destroy();
      if (answer !== '' && !/^HTTP\/1\.1 (4\d\d|503) /.test(answer)) {
        throw new Error(`a wrong request was answered with ${answer.slice(0, 80)}`);
      }
      if (/<script>/.test(answer)) throw new Error('markup came back');
    }
  });
  await Promise.all(some);
}
