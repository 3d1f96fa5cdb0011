// Attacks on a server, for the benchmark and, in small, for the tests.
import { connect as connectTo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Memory {
  resident: number;
  heap: number;
  /** The most that was ever resident. */
  peak: number;
}

export interface Target {
  port: number;
  /** One that answers anything with 200, which what is compared with it would not. */
  simple?: boolean;
}

/** What an attacker does again and again: `i` makes each time another one. */
export interface Kind {
  name: string;
  once(target: Target, i: number): Promise<void>;
}

const run = JSON.stringify({ prompt: 'red', steps: 200, count: 4 });
const head = 'POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
const post = (text: string, more = ''): string =>
  `${head}${more}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
const closing = (text: string): string => post(text, 'Connection: close\r\n');

/** What is said before there is silence. */
const beginnings = [
  '',
  'GET / HT',
  'GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ',
  `${head}Content-Length: 100\r\n\r\n{"prompt":`,
  `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"pro`,
];

/** As much JSON as a body may have, all of it brackets. */
const deep = (i: number): string => '['.repeat(16 * 1024 - (i % 16));

/** Requests that are wrong, each in another way; `i` makes them differ. */
const wrong: ((i: number) => string)[] = [
  (i) => closing(`{"prompt":${i}}`),
  (i) => closing(`{"prompt":"a","steps":${i + 1e9}}`),
  (i) => closing(`{"prompt":"unknown${i}"}`),
  (i) => closing(`${'['.repeat(1000 + (i % 7000))}`),
  (i) => closing(`{"key${i}":"<script>alert(${i})</script>"}`),
  (i) => closing(`{"prompt":"${'x'.repeat(1001 + (i % 9000))}"}`),
  (i) => closing('x'.repeat(16 * 1024 + 1 + i)),
  (i) => closing('\u0000\ud800'.repeat(1 + (i % 100))),
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

const connect = ({ port }: Target): { socket: Socket; end: Promise<void> } => {
  const socket = connectTo(port, '127.0.0.1');
  const end = new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
  });
  return { socket, end };
};

/** Opens a connection, says a part of a request, and waits until the server has had enough of it. */
const stall: Kind = {
  name: 'connections that stall',
  async once(target, i) {
    const { socket, end } = connect(target);
    socket.write(beginnings[i % beginnings.length]);
    socket.resume();
    // A connection that says nothing at all is closed as idle, which takes longer.
    await Promise.race([end, sleep(15_000)]);
    socket.destroy();
  },
};

const closeHalf: Kind = {
  name: 'runs whose client closes its half',
  async once(target) {
    const { socket, end } = connect(target);
    socket.write(post(run));
    socket.resume();
    socket.end();
    await Promise.race([end, sleep(10_000)]);
    socket.destroy();
  },
};

const leaveUnread: Kind = {
  name: 'runs whose client reads nothing and leaves',
  async once(target) {
    const { socket } = connect(target);
    socket.write(post(run));
    socket.pause();
    await sleep(50);
    socket.destroy();
  },
};

const misbehave: Kind = {
  name: 'wrong requests',
  async once(target, i) {
    const { socket, end } = connect(target);
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
    if (answer !== '' && !target.simple && !/^HTTP\/1\.1 (4\d\d|503) /.test(answer)) {
      throw new Error(`a wrong request was answered with ${answer.slice(0, 80)}`);
    }
    if (/<script>/.test(answer)) throw new Error('markup came back');
  },
};

const nest: Kind = {
  name: 'deep JSON, sent on and on without waiting',
  async once(target, i) {
    const { socket, end } = connect(target);
    socket.resume();
    socket.write(post(deep(i)).repeat(8));
    await Promise.race([end, sleep(1000)]);
    socket.destroy();
  },
};

const askOn: Kind = {
  name: 'requests on and on, whose answers nobody reads',
  async once(target) {
    const { socket, end } = connect(target);
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(100));
    await Promise.race([end, sleep(100)]);
    socket.destroy();
  },
};

export const kinds: readonly Kind[] = [stall, closeHalf, leaveUnread, misbehave, nest, askOn];

/** So many attackers at once, each of whom begins again for as long as there is `more`. Resolves to how often. */
export async function crowd(
  { once }: Kind,
  target: Target,
  attackers: number,
  more: (i: number) => boolean,
): Promise<number> {
  let next = 0;
  await Promise.all(
    Array.from({ length: attackers }, async () => {
      while (more(next)) await once(target, next++);
    }),
  );
  return next;
}

export interface State {
  ready: boolean;
  running: number;
  waiting: number;
}

/** The server's status, asked over a connection of its own; null where it is not answered with 200. */
export async function state({ port }: Target): Promise<State | null> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/api/status`, { headers: { Connection: 'close' } });
    return response.status === 200 ? ((await response.json()) as State) : null;
  } catch {
    return null;
  }
}

/** Waits until the server is idle. */
export async function settled(target: Target): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const now = await state(target);
    if (now?.ready && now.running + now.waiting === 0) break;
    await sleep(50);
  }
  await sleep(200);
}
