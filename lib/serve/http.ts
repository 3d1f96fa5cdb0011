// Sockets and their limits around what app.ts answers.
import { createServer as createHttpServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { type App, refuse } from './answers.js';
import { createApp } from './app.js';
import { Connections } from './connections.js';
import type { Keep } from './follow.js';
import { Gate } from './gate.js';
import { healthRoutes, metricsRoute } from './health.js';
import type { Limits } from './limits.js';
import { type Metrics, openMetrics, type SharedFigures } from './metrics.js';
import type { Served } from './models.js';
import type { Observer } from './observe.js';
import { Missing } from '../base/optional.js';
import { version } from '../base/version.js';
import type { Runs } from './runs.js';
import { openTraces } from './traces.js';

/** Where a server listens, and to whom. */
export interface Address {
  /** 8321; 0 for any that is free. */
  port?: number;
  /** The address to listen at; the loopback one. */
  host?: string;
  /** Names, besides localhost and addresses, that the server may be called by. */
  hosts?: readonly string[];
  /** One of them has to be shown as a bearer token; nobody has to show any where there are none. */
  keys?: readonly string[];
}

/** What is answered from. */
export interface Behind {
  models: readonly Served[];
  queue: Runs;
  limits: Limits;
  observer: Observer;
  /** Those that {@link observer} tells, to whom the figures are added. */
  observers: Observer[];
  shared?: SharedFigures;
}

export interface Http {
  url: string;
  /** Ends all connections; those that runs are told over when `work` is done and their last events have left. */
  close(work: Promise<unknown>): Promise<void>;
}

/**
 * Answers at an address.
 *
 * @throws Error in one sentence for a port that cannot be had
 */
export async function answerAt(address: Address, behind: Behind): Promise<Http> {
  const { port = 8321, host = '127.0.0.1', hosts = [], keys = [] } = address;
  const { models, queue, limits, observer } = behind;
  const names = hosts.map((name) => name.toLowerCase());
  return answerBy(port, host, behind, (metrics, keep) =>
    createApp({ models, queue, limits, hosts: names, keys, version, keep, observer, metrics }),
  );
}

/** Answers at an address whether all is well, and how much has been done; nothing else. */
export async function answerHealth({ port = 0, host = '127.0.0.1' }: Address, behind: Behind): Promise<Http> {
  const { models, queue } = behind;
  return answerBy(port, host, behind, (metrics) => {
    const app: App = new Hono();
    healthRoutes(app, models, queue);
    metricsRoute(app, metrics);
    app.notFound((c) => refuse(c, 404, 'There is nothing at this address'));
    return app;
  });
}

async function answerBy(
  port: number,
  host: string,
  { models, queue, limits, observers, shared }: Behind,
  makeApp: (metrics: Metrics | Missing, keep: Keep) => App,
): Promise<Http> {
  const metrics = await openMetrics(models, queue, shared);
  if (!(metrics instanceof Missing)) observers.push(metrics);
  observers.push(...(await openTraces()));
  const connections = new Connections(limits.connections, limits.unread);
  const app = makeApp(metrics, ({ socket }, waiting) => connections.keep(socket, waiting));
  const server = listener(app.fetch as Fetch, limits, connections);
  await listen(server, port, host);
  return { url: urlOf(server.address() as AddressInfo), close: (work) => end(server, work) };
}

async function end(server: Server, work: Promise<unknown>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  await work;
  // Long enough for the last events to leave.
  const timer = setTimeout(() => server.closeAllConnections(), 500);
  server.closeIdleConnections();
  await closed;
  clearTimeout(timer);
}

/** What is asked to see whether the server is there, and answered in no time. */
const QUICK = new Set(['/api/status', '/healthz', '/readyz']);

type Fetch = Parameters<typeof getRequestListener>[0];

function listener(fetch: Fetch, limits: Limits, connections: Connections): Server {
  const answer = getRequestListener(fetch, {
    errorHandler: () => json(400, 'Expected a request with a Host header and an address that can be parsed'),
  });
  // Those that wait to be begun must not have to make room for others.
  const gate = new Gate(Math.floor((limits.connections * 7) / 8));
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
      const { method, url, socket } = request;
      if (!connections.used(socket, response)) return;
      gate.enter(
        () => {
          // Who has left meanwhile costs no more.
          if (!socket.destroyed) answer(request, response);
        },
        method === 'GET' && QUICK.has(url ?? ''),
      );
    },
  );
  server.timeout = limits.idleSeconds * 1000;
  server.maxRequestsPerSocket = 1000;
  server.maxHeadersCount = 100;
  server.on('connection', (socket) => {
    gate.came();
    connections.opened(socket);
  });
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
