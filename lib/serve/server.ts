// The server: sockets and their limits around what app.ts answers.
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { modelName } from '../hub/index.js';
import { createApp } from './app.js';
import { Connections } from './connections.js';
import { Engine } from './engine.js';
import type { Keep } from './follow.js';
import { defaultLimits, type Limits } from './limits.js';
import { type LogLevel, openLog } from './log.js';
import { Memory } from './memory.js';
import type { Model, Place } from './messages.js';
import { openMetrics } from './metrics.js';
import { all, type Observer } from './observe.js';
import { Missing } from '../base/optional.js';
import { Queue } from './queue.js';

export interface ServeOptions extends Omit<Place, 'folder'> {
  /** A model's folder; or several, by name. The first draws what asks for none by name. */
  folder: string | Readonly<Record<string, string>>;
  /** 8321; 0 for any that is free. */
  port?: number;
  /** The address to listen at; the loopback one. */
  host?: string;
  /** Names, besides localhost and addresses, that the server may be called by. */
  hosts?: readonly string[];
  /** One of them has to be shown as a bearer token; nobody has to show any where there are none. */
  keys?: readonly string[];
  limits?: Partial<Limits>;
  /** What is written to the standard error output, as JSON; nothing where absent. */
  log?: LogLevel;
}

export interface Serving {
  url: string;
  model: Model;
  /** Names of models that there was no room for: they are loaded when somebody asks for them. */
  released: string[];
  /** The process that draws, for tests. @internal */
  engine: Engine;
  /** Takes no more runs, and waits for those that are here for so many seconds at most. */
  drain(seconds: number): Promise<void>;
  /** Ends all runs and connections. */
  close(): Promise<void>;
}

/**
 * Loads a model and serves the page that plays with it.
 *
 * @throws Error in one sentence for a model that cannot be loaded, or a port that cannot be had
 */
export async function startServer(options: ServeOptions): Promise<Serving> {
  const { folder, port = 8321, host = '127.0.0.1', hosts = [], keys = [], limits: given, log, ...place } = options;
  const limits = { ...defaultLimits, ...given };
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const observers: Observer[] = log ? [await openLog(log)] : [];
  const observer = all(observers);
  const folders = typeof folder === 'string' ? { [modelName(folder)]: folder } : folder;
  const models = Object.entries(folders).map(([id, own]) => ({
    id,
    engine: new Engine({ folder: own, ...pick(place) }, undefined, { name: id, observer }),
  }));
  const engines = models.map(({ engine }) => engine);
  const [engine] = engines;
  const queue = new Queue(limits, observer, new Memory(engines, limits.memory));
  const metrics = await openMetrics(models, queue);
  if (!(metrics instanceof Missing)) observers.push(metrics);
  const names = hosts.map((name) => name.toLowerCase());
  const connections = new Connections(limits.connections, limits.unread);
  const keep: Keep = ({ socket }, waiting) => connections.keep(socket, waiting);
  const app = createApp({ models, queue, limits, hosts: names, keys, version, keep, observer, metrics });
  const server = listener(app.fetch as Fetch, limits, connections);
  // A port that is taken is told before a model is loaded.
  await listen(server, port, host);
  try {
    await queue.openAll(engines);
  } catch (error) {
    await Promise.all(engines.map((one) => one.close()));
    server.close();
    server.closeAllConnections();
    throw error;
  }
  return {
    url: urlOf(server.address() as AddressInfo),
    model: engine.about as Model,
    released: models.filter((one) => one.engine.released).map(({ id }) => id),
    engine,
    drain: (seconds) => queue.drain(seconds * 1000),
    async close() {
      queue.close();
      const closed = new Promise((resolve) => server.close(resolve));
      await Promise.all(engines.map((one) => one.close()));
      // Long enough for the last events to leave.
      const timer = setTimeout(() => server.closeAllConnections(), 500);
      server.closeIdleConnections();
      await closed;
      clearTimeout(timer);
    },
  };
}

/** What there is of a place besides its folder. */
function pick({ device, dtype, memory, maxBatch, reproducible }: Omit<Place, 'folder'>): Omit<Place, 'folder'> {
  return { device, dtype, memory, maxBatch, reproducible };
}

type Fetch = Parameters<typeof getRequestListener>[0];

function listener(fetch: Fetch, limits: Limits, connections: Connections): Server {
  const answer = getRequestListener(fetch, {
    errorHandler: () => json(400, 'Expected a request with a Host header and an address that can be parsed'),
  });
  const server = createHttpServer(
    {
      headersTimeout: limits.headSeconds * 1000,
      requestTimeout: limits.requestSeconds * 1000,
      // How often the two above are looked at.
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: 5000,
      maxHeaderSize: 16 * 1024,
      // It is checked, and answered in a sentence, by the app.
      requireHostHeader: false,
      noDelay: true,
    },
    (request, response) => {
      if (connections.used(request.socket, response)) answer(request, response);
    },
  );
  server.timeout = limits.idleSeconds * 1000;
  server.maxRequestsPerSocket = 1000;
  server.maxHeadersCount = 100;
  server.on('connection', (socket) => connections.opened(socket));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [status, sentence] =
      error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'Expected the whole request sooner']
        : error.code === 'HPE_HEADER_OVERFLOW'
          ? ['431 Request Header Fields Too Large', 'Expected a shorter head of the request']
          : ['400 Bad Request', 'Expected a request of HTTP/1.1'];
    const body = JSON.stringify({ error: sentence });
    const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    socket.end(head + body);
    socket.destroySoon();
  });
  return server;
}

function json(status: number, error: string): Response {
  return new Response(JSON.stringify({ error }), { status, headers: { 'Content-Type': 'application/json' } });
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why: Record<string, string> = {
        EADDRINUSE: `another program listens there; choose another one with --port`,
        EACCES: 'permission denied',
        EADDRNOTAVAIL: 'this machine does not have that address',
        ENOTFOUND: 'there is no such host',
      };
      const reason = why[cause.code ?? ''] ?? cause.message;
      reject(new Error(`The port ${port} of ${host} cannot be had: ${reason}`, { cause }));
    });
    server.listen(port, host, resolve);
  });
}

function urlOf({ address, family, port }: AddressInfo): string {
  const host = address === '0.0.0.0' || address === '::' ? 'localhost' : address;
  return `http://${family === 'IPv6' && host !== 'localhost' ? `[${host}]` : host}:${port}/`;
}
