// What the server answers: the page, and the interface beneath it.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';
import { a1111Routes } from './a1111.js';
import {
  answer,
  type App,
  atMost,
  encode,
  type Env,
  notAllowed,
  readForm,
  readJson,
  refuse,
  unavailable,
  Wrong,
} from './answers.js';
import { docsRoutes } from './docs.js';
import { follow, type Keep, streamOf } from './follow.js';
import { isForm, readRunForm } from './form.js';
import { healthRoutes, metricsRoute } from './health.js';
import type { Limits } from './limits.js';
import type { Uploads } from './messages.js';
import type { Metrics } from './metrics.js';
import { modelOf, noModel, type Served } from './models.js';
import { detailOf, openaiRoutes } from './openai.js';
import { readPage } from './page.js';
import type { Observer } from './observe.js';
import type { Missing } from '../base/optional.js';
import type { Runs } from './runs.js';
import { describe } from './schema.js';
import { readRequest, type Settings, settingsSchema } from './settings.js';
import { UploadBudget } from './upload-budget.js';

export interface AppOptions {
  /** The first draws what asks for none of them by name. */
  models: readonly Served[];
  queue: Runs;
  limits: Limits;
  /** Names, besides localhost and addresses, that the server may be called by. */
  hosts: readonly string[];
  /** One of them has to be shown; nobody has to show any where there are none. */
  keys: readonly string[];
  version: string;
  keep: Keep;
  observer?: Observer;
  /** Figures for Prometheus, or why there are none. */
  metrics?: Metrics | Missing;
}

export function createApp({ models, queue, limits, hosts, keys, version, keep, ...more }: AppOptions): App {
  const app: App = new Hono();
  const schema = settingsSchema(limits);
  const [{ engine }] = models;
  const { observer = {}, metrics } = more;
  const following = { queue, backlog: limits.backlog, keep };
  const budget = new UploadBudget(limits.upload, limits.uploads);

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
    const since = performance.now();
    const given = c.req.header('x-request-id') ?? '';
    const id = /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    c.set('request', id);
    c.set('client', '');
    const { method } = c.req;
    const path = c.req.path.slice(0, 200);
    observer.asked?.({ id, method, path, headers: () => c.req.header() });
    await next();
    c.header('X-Request-Id', id);
    const ms = performance.now() - since;
    observer.request?.({ id, method, path, status: c.res.status, ms, client: c.get('client') });
  });

  healthRoutes(app, models, queue);

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

  app.use('/api/*', withKey(keys));
  app.use('/v1/*', withKey(keys));
  app.use('/sdapi/*', withKey(keys));
  app.use('/metrics', withKey(keys));

  metricsRoute(app, metrics);

  for (const { path, type, body } of readPage()) {
    app.get(path, (c) => c.body(body, 200, { 'Content-Type': type }));
    app.all(path, (c) => notAllowed(c, 'GET'));
  }

  docsRoutes(app);

  app.get('/api/model', (c) => {
    const served = modelOf(models, c.req.query('model'));
    if (!served) return refuse(c, 404, noModel(models));
    const { about: model, absent, readyIn } = served.engine;
    if (!model) return unavailable(c, absent ?? 'The model is being loaded', readyIn);
    const { body, prompt, steps, count, side, area, pixels, waiting, seconds } = limits;
    return answer(c, 200, {
      version,
      model,
      limits: { body, prompt, steps, count, side, area, pixels, waiting, seconds },
    });
  });
  app.all('/api/model', (c) => notAllowed(c, 'GET'));

  app.get('/api/status', (c) => {
    const { about, loading } = engine;
    const all = models.map(({ id, engine: { model, released, loading, memory, batch } }) => {
      const state = model ? 'loaded' : released ? 'released' : 'loading';
      return { id, state, ...(loading ? { loading } : {}), bytes: memory.bytes, batch };
    });
    return answer(c, 200, {
      ...{ ready: about !== undefined, ...(loading ? { loading } : {}) },
      ...{ ...queue.state, models: all },
    });
  });
  app.all('/api/status', (c) => notAllowed(c, 'GET'));

  const description = describe(schema, limits, version);
  app.get('/api/schema', (c) => answer(c, 200, description));
  app.all('/api/schema', (c) => notAllowed(c, 'GET'));

  const small = atMost(limits.body);
  const large = budget.guard();
  type Asked = { settings: Settings; model?: string; uploads?: Uploads };
  const readRun = async (c: Context<Env>): Promise<Asked | Response> => {
    if (isForm(c.req.header('content-type'))) {
      const form = await readForm(c);
      return form instanceof Response ? form : readRunForm(form, schema, limits);
    }
    const body = await readJson(c);
    if (body instanceof Response) return body;
    const read = readRequest(schema, body.value);
    return 'error' in read ? refuse(c, 400, read.error) : read;
  };
  app.post('/api/runs', (c, next) => (isForm(c.req.header('content-type')) ? large : small)(c, next));
  app.post('/api/runs', async (c) => {
    const asked = await readRun(c);
    if (asked instanceof Response) return asked;
    const { model, ...run } = asked;
    const served = modelOf(models, model);
    if (!served) return refuse(c, 404, noModel(models));
    const job = { ...run, coding: { format: 'png', quality: 100 }, previews: 'each' } as const;
    const followed = await follow(following, c, served.engine, job, ({ data }) => encode(data));
    if (followed instanceof Response) return followed;
    return streamOf(c, followed, (stream, letter) => stream.writeSSE(letter));
  });
  app.all('/api/runs', (c) => notAllowed(c, 'POST'));

  app.delete('/api/runs/:id', (c) =>
    queue.cancel(c.req.param('id')) ? c.body(null, 204) : refuse(c, 404, 'There is no run of this id'),
  );
  app.all('/api/runs/:id', (c) => notAllowed(c, 'DELETE'));

  const shared = { ...following, models, limits, settings: schema, budget };
  app.route('/v1', openaiRoutes({ ...shared, since: Math.floor(Date.now() / 1000) }));
  app.route('/sdapi/v1', a1111Routes(shared));

  app.notFound((c) => refuse(c, 404, 'There is nothing at this address'));
  app.onError((error, c) => {
    if (error instanceof Wrong) return refuse(c, 400, error.message, detailOf(error));
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

/** Asks for a key, as a bearer token, where there are any; and says who a client is. */
function withKey(keys: readonly string[]): MiddlewareHandler<Env> {
  // Hashes have one length, so that comparing them takes as long whatever was sent.
  const hash = (text: string) => createHash('sha256').update(text).digest();
  const known = keys.map(hash);
  return async (c, next) => {
    if (known.length === 0) {
      c.set('client', c.env.incoming.socket.remoteAddress ?? '');
      return next();
    }
    const token = hash(/^Bearer +(\S+) *$/i.exec(c.req.header('authorization') ?? '')?.[1] ?? '');
    let found = -1;
    for (const [i, key] of known.entries()) if (timingSafeEqual(key, token)) found = i;
    if (found < 0) {
      c.header('WWW-Authenticate', 'Bearer');
      return refuse(c, 401, 'Expected a key of this server as the bearer token of the Authorization header');
    }
    c.set('client', `key ${found}`);
    return next();
  };
}
