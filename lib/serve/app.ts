// What the server answers: the page, and the interface beneath it.
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';
import { streamSSE } from 'hono/streaming';
import { type Engine, Unavailable } from './engine.js';
import type { Limits } from './limits.js';
import { Outbox } from './outbox.js';
import { readPage } from './page.js';
import { Full, type Queue, Refused, type RunEvent } from './queue.js';
import { describe } from './schema.js';
import { readSettings, settingsSchema } from './settings.js';

export interface AppOptions {
  engine: Engine;
  queue: Queue;
  limits: Limits;
  /** Names, besides localhost and addresses, that the server may be called by. */
  hosts: readonly string[];
  version: string;
  /**
   * Keeps the connection of a request, however many others there are, until what it returns is called; `waiting` counts
   * the characters that are to be written after that.
   */
  keep: (request: IncomingMessage, waiting: () => number) => () => void;
}

type App = Hono<{ Bindings: HttpBindings }>;

/** Seconds between signs of life on a stream where nothing happens. */
const PULSE = 10;

export function createApp({ engine, queue, limits, hosts, version, keep }: AppOptions): App {
  const app: App = new Hono();
  const schema = settingsSchema(limits);

  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", 'data:', 'blob:'],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
      xFrameOptions: 'DENY',
      referrerPolicy: 'no-referrer',
      // Nothing of it applies to a server that speaks http.
      strictTransportSecurity: false,
    }),
  );

  app.use(async (c, next) => {
    const host = c.req.header('host') ?? '';
    if (!isTrusted(host, hosts)) {
      // A page elsewhere may have pointed its own name at this address (DNS rebinding).
      return refuse(c, 403, 'Expected localhost, an address or a name given with --allow-host for the Host header');
    }
    const origin = c.req.header('origin');
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      return refuse(c, 403, 'Expected a request from the page of this server but it comes from another origin');
    }
    await next();
    c.header('Cache-Control', 'no-cache');
  });

  for (const { path, type, body } of readPage()) {
    app.get(path, (c) => c.body(body, 200, { 'Content-Type': type }));
    app.all(path, (c) => notAllowed(c, 'GET'));
  }

  app.get('/api/model', (c) => {
    const { model } = engine;
    if (!model) return unavailable(c, 'The model is being loaded');
    const { body, prompt, steps, count, side, pixels, waiting, seconds } = limits;
    return answer(c, 200, { version, model, limits: { body, prompt, steps, count, side, pixels, waiting, seconds } });
  });
  app.all('/api/model', (c) => notAllowed(c, 'GET'));

  app.get('/api/status', (c) => answer(c, 200, { ready: engine.model !== undefined, ...queue.state }));
  app.all('/api/status', (c) => notAllowed(c, 'GET'));

  const description = describe(schema, limits, version);
  app.get('/api/schema', (c) => answer(c, 200, description));
  app.all('/api/schema', (c) => notAllowed(c, 'GET'));

  const small = bodyLimit({
    maxSize: limits.body,
    onError: (c) => refuse(c, 413, `Expected a body of at most ${limits.body} bytes but received more`),
  });
  app.post('/api/runs', small, async (c) => {
    // Other types can be posted by pages elsewhere without being asked first.
    const type = c.req.header('content-type') ?? '';
    if (!/^application\/json\s*(;|$)/i.test(type)) {
      return refuse(c, 415, 'Expected application/json for the Content-Type header');
    }
    let value: unknown;
    try {
      value = JSON.parse(await c.req.text());
    } catch {
      return refuse(c, 400, 'Expected JSON in the body but it cannot be parsed');
    }
    const read = readSettings(schema, value);
    if ('error' in read) return refuse(c, 400, read.error);

    const outbox = new Outbox(limits.backlog);
    const { signal } = c.req.raw;
    // Until the run is over: what is then left to read is the reader's affair.
    const release = keep(c.env.incoming, () => outbox.size);
    const tell = ({ event, data }: RunEvent): void => {
      outbox.push({ event, data: encode(data) });
      if (event !== 'done' && event !== 'cancelled' && event !== 'failed') return;
      outbox.end();
      release();
    };
    let id: string;
    try {
      id = await queue.enter(read.settings, tell, signal);
    } catch (error) {
      release();
      if (error instanceof Refused) return refuse(c, 400, error.message);
      if (error instanceof Unavailable) return unavailable(c, error.message);
      if (!(error instanceof Full)) throw error;
      c.header('Retry-After', String(error.retryAfter));
      return refuse(c, 429, error.message);
    }
    // A reader that goes away frees its place.
    const leave = (): void => {
      outbox.end();
      queue.cancel(id);
    };
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    return streamSSE(c, async (stream) => {
      stream.onAbort(leave);
      while (!stream.aborted) {
        const letter = await outbox.next(PULSE * 1000);
        if (letter === null) break;
        // Waits for a slow reader; one that takes nothing is cut off by the socket's timeout.
        if (letter) await stream.writeSSE(letter);
        else await stream.write(':\n\n');
      }
    });
  });
  app.all('/api/runs', (c) => notAllowed(c, 'POST'));

  app.delete('/api/runs/:id', (c) =>
    queue.cancel(c.req.param('id')) ? c.body(null, 204) : refuse(c, 404, 'There is no run of this id'),
  );
  app.all('/api/runs/:id', (c) => notAllowed(c, 'DELETE'));

  app.notFound((c) => refuse(c, 404, 'There is nothing at this address'));
  app.onError((error, c) => {
    if (error instanceof HTTPException) return refuse(c, error.status, 'The request cannot be understood');
    // A body that breaks off is the client's doing, and nobody is there to be answered.
    if (!c.req.raw.signal.aborted) console.error(error);
    return refuse(c, 500, 'The server failed to answer');
  });
  return app;
}

/** No name that a page elsewhere could have: an address in a Host header was not looked up. */
function isTrusted(host: string, names: readonly string[]): boolean {
  const match = /^(\[[\da-f:.]+\]|[^:[\]]+)(:\d{1,5})?$/i.exec(host);
  if (!match) return false;
  const name = match[1].toLowerCase();
  if (name.startsWith('[')) return isIP(name.slice(1, -1)) === 6;
  return isIP(name) === 4 || name === 'localhost' || name.endsWith('.localhost') || names.includes(name);
}

/** JSON without a character that could begin markup, or a terminal's commands, wherever it may end up. */
function encode(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function answer(c: Context, status: number, value: unknown): Response {
  return c.body(encode(value), status as 200, { 'Content-Type': 'application/json; charset=utf-8' });
}

function refuse(c: Context, status: number, error: string): Response {
  return answer(c, status, { error });
}

function unavailable(c: Context, error: string): Response {
  c.header('Retry-After', '2');
  return refuse(c, 503, error);
}

function notAllowed(c: Context, method: string): Response {
  c.header('Allow', method === 'GET' ? 'GET, HEAD' : method);
  return refuse(c, 405, `Expected the method ${method} for this address`);
}
