// A Redis server of a test's own, and a proxy before it whose connections can be cut.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Is it installed? */
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

/** A port that was free just now, of so many in a row. */
export async function freePort(many = 1): Promise<number> {
  for (;;) {
    const servers: Server[] = [];
    let first = 0;
    try {
      for (let i = 0; i < many; i++) {
        const server = createServer();
        await once(server.listen(i === 0 ? 0 : first + i, '127.0.0.1'), 'listening');
        servers.push(server);
        if (i === 0) first = (server.address() as AddressInfo).port;
      }
      return first;
    } catch {
      // Somebody has one of them, or there is none after the last.
    } finally {
      for (const server of servers) await new Promise((resolve) => server.close(resolve));
    }
  }
}

export class TestRedis {
  readonly port: number;
  readonly #folder: string;
  readonly #kept: boolean;
  #child: ChildProcess | undefined;

  private constructor(port: number, kept: boolean) {
    this.port = port;
    this.#kept = kept;
    this.#folder = mkdtempSync(join(tmpdir(), 'dpm-solver-redis-'));
  }

  /** @param kept does what it has outlive it? */
  static async start(kept = false): Promise<TestRedis> {
    const redis = new TestRedis(await freePort(), kept);
    await redis.begin();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async begin(): Promise<void> {
    const keeping = this.#kept ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    this.#child = spawn(
      'redis-server',
      ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--dir', this.#folder, ...keeping],
      { stdio: 'ignore' },
    );
    for (let i = 0; i < 600; i++) {
      if (await answers(this.port)) return;
      await sleep(50);
    }
    throw new Error('redis-server does not answer');
  }

  /** Ends it as a machine ends that loses its power. */
  async kill(): Promise<void> {
    const child = this.#child as ChildProcess;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      socket.destroy();
      resolve(String(data).startsWith('+PONG'));
    });
    socket.once('error', () => resolve(false));
  });
}

/** A cable that can be cut: connections end, and no new ones are made; or it is silent: they stay and nothing comes through. */
export class Cable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #state: 'whole' | 'cut' | 'silent' = 'whole';

  private constructor(to: number) {
    this.#server = createServer((socket) => {
      this.#keep(socket);
      if (this.#state === 'cut') {
        socket.destroy();
        return;
      }
      const other = connect(to, '127.0.0.1');
      this.#keep(other);
      const pass = (from: Socket, into: Socket): void => {
        from.on('data', (data) => into.write(data)).on('close', () => into.destroy());
        if (this.#state === 'silent') from.pause();
      };
      pass(socket, other);
      pass(other, socket);
    });
  }

  static async to(port: number): Promise<Cable> {
    const cable = new Cable(port);
    await new Promise<void>((resolve) => cable.#server.listen(0, '127.0.0.1', resolve));
    return cable;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  cut(): void {
    this.#state = 'cut';
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing comes through, and nobody is told. */
  mute(): void {
    this.#state = 'silent';
    for (const socket of this.#sockets) socket.pause();
  }

  /** Who has not given up hears what was sent meanwhile, as TCP sends it again. */
  unmute(): void {
    this.#state = 'whole';
    for (const socket of this.#sockets) socket.resume();
  }

  /** Whole again; what was under way is lost, and connections over it end. */
  mend(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#state = 'whole';
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
