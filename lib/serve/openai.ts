// The interface of OpenAI's clients: pictures in their shape, and predictions of the result on the way to it.
import { Hono } from 'hono';
import type { SSEStreamingApi } from 'hono/streaming';
import {
  answer,
  type App,
  atMost,
  type Detail,
  encode,
  isJson,
  notAllowed,
  objectIn,
  readForm,
  readJson,
  refuse,
  Wrong,
} from './answers.js';
import { failed, follow, type FollowOptions, type Followed, lastOf, paramOf, streamOf } from './follow.js';
import { isForm, readFiles, readReferences } from './form.js';
import type { Limits } from './limits.js';
import type { Done, Uploads } from './messages.js';
import { modelOf, noModel, type Served } from './models.js';
import { type Asked, readAsked, readFields, requestSchema } from './openai-schema.js';
import type { Letter } from './outbox.js';
import { isNews } from './runs.js';
import type { settingsSchema } from './settings.js';
import type { UploadBudget } from './upload-budget.js';

export interface OpenAIOptions extends FollowOptions {
  models: readonly Served[];
  limits: Limits;
  settings: ReturnType<typeof settingsSchema>;
  budget: UploadBudget;
  /** Seconds since 1970 when the server began. */
  since: number;
}

export function openaiRoutes(options: OpenAIOptions): App {
  const { models, limits, since, budget } = options;
  const app: App = new Hono();
  const describe = ({ id }: Served) => ({ id, object: 'model', created: since, owned_by: 'dpm-solver' });

  app.get('/models', (c) => answer(c, 200, { object: 'list', data: models.map(describe) }));
  app.all('/models', (c) => notAllowed(c, 'GET'));
  app.get('/models/:id', (c) => {
    const model = models.find(({ id }) => id === c.req.param('id'));
    return model ? answer(c, 200, describe(model)) : refuse(c, 404, noModel(models), missing);
  });
  app.all('/models/:id', (c) => notAllowed(c, 'GET'));

  const generation = requestSchema(limits, false);
  const small = atMost(limits.body);
  app.post('/images/generations', small, async (c) => {
    const body = await readJson(c);
    if (body instanceof Response) return body;
    return draw(options, c, 'image_generation', readAsked(generation, options.settings, body.value));
  });
  app.all('/images/generations', (c) => notAllowed(c, 'POST'));

  const edition = requestSchema(limits, true);
  app.post('/images/edits', budget.guard(), async (c) => {
    const inJson = isJson(c);
    if (!inJson && !isForm(c.req.header('content-type'))) {
      return refuse(c, 415, 'Expected multipart/form-data or application/json for the Content-Type header');
    }
    const body = inJson ? await readJson(c) : await readForm(c);
    if (body instanceof Response) return body;
    if (body instanceof FormData) {
      const asked = readAsked(edition, options.settings, readFields(body));
      return draw(options, c, 'image_edit', asked, await readFiles(body, asked.strength, limits));
    }
    const { images, mask, ...fields } = objectIn(body);
    const asked = readAsked(edition, options.settings, fields);
    return draw(options, c, 'image_edit', asked, readReferences(images, mask, asked.strength, limits));
  });
  app.all('/images/edits', (c) => notAllowed(c, 'POST'));

  app.post('/images/variations', budget.guard(), async (c) => {
    if (!isForm(c.req.header('content-type'))) {
      return refuse(c, 415, 'Expected multipart/form-data for the Content-Type header');
    }
    const form = await readForm(c);
    if (form instanceof Response) return form;
    // Without a prompt there is nothing to guide to.
    const asked = readAsked(edition, options.settings, { prompt: '', guidance: 1, ...readFields(form) });
    if (asked.stream) throw new Wrong('Expected no stream for variations, which have no events');
    return draw(options, c, 'image_edit', asked, await readFiles(form, asked.strength, limits));
  });
  app.all('/images/variations', (c) => notAllowed(c, 'POST'));
  return app;
}

const missing: Detail = { param: 'model', code: 'model_not_found' };

/** What OpenAI's clients are told besides of what is wrong. */
export function detailOf({ message }: Wrong): Detail {
  const unknown = message.startsWith('There is no setting');
  return { ...paramOf(message), ...(unknown ? { code: 'unknown_parameter' } : {}) };
}

type Context = Parameters<typeof refuse>[0];
type Kind = 'image_generation' | 'image_edit';

async function draw(
  options: OpenAIOptions,
  c: Context,
  kind: Kind,
  asked: Asked,
  uploads?: Uploads,
): Promise<Response> {
  const { models } = options;
  const model = modelOf(models, asked.model);
  if (!model) return refuse(c, 404, noModel(models), missing);
  const job = { ...asked.job, ...(uploads ? { uploads } : {}) };
  // Written when it is sent: of a run that is over, only what is asked for is kept.
  const followed = await follow(
    options,
    c,
    model.engine,
    job,
    (event) => (event.event === 'started' ? '{}' : isNews(event) ? encode(event.data) : undefined),
    asked.user,
  );
  if (followed instanceof Response) return followed;
  return asked.stream ? sendStream(c, kind, asked, followed) : sendWhole(c, asked, followed);
}

const now = () => Math.floor(Date.now() / 1000);

/** What pictures are told with. */
function about(asked: Asked, size: string) {
  const { job, quality } = asked;
  return { background: 'opaque', output_format: job.coding.format, quality, size };
}

/** All pictures, when they are done. */
async function sendWhole(c: Context, asked: Asked, followed: Followed): Promise<Response> {
  const last = await lastOf(c, followed);
  if (last?.event !== 'done') return failed(c, last);
  const done = JSON.parse(last.data) as Done;
  const address = `data:image/${asked.job.coding.format};base64,`;
  return answer(c, 200, {
    created: now(),
    data: done.images.map((image, i) => ({
      ...(asked.url ? { url: `${address}${image}` } : { b64_json: image }),
      seed: done.seeds[i],
    })),
    ...about(asked, `${done.width}x${done.height}`),
    ...{ nfe: done.nfe, table: done.table, timings: done.timings },
  });
}

/** Partial images, and the picture. */
function sendStream(c: Context, kind: Kind, asked: Asked, followed: Followed): Response {
  let [sent, seen] = [0, 0];
  return streamOf(c, followed, async (stream, letter) => {
    // A run that is begun anew makes the same pictures again: those that were sent are not sent twice.
    if (letter.event === 'started') seen = 0;
    else if (letter.event !== 'step' || ++seen > sent) sent = await sendEvent(stream, kind, asked, letter, sent);
  });
}

async function sendEvent(
  stream: SSEStreamingApi,
  kind: Kind,
  asked: Asked,
  { event, data }: Letter,
  index: number,
): Promise<number> {
  const send = (type: string, value: object) => stream.writeSSE({ event: type, data: encode({ type, ...value }) });
  const told = JSON.parse(data) as Done & { error?: string };
  if (event === 'step' || event === 'done') {
    const [image] = told.images;
    const value = { b64_json: image, created_at: now(), ...about(asked, `${told.width}x${told.height}`) };
    if (event === 'step') {
      await send(`${kind}.partial_image`, { ...value, partial_image_index: index });
      return index + 1;
    }
    const { seeds, nfe, table, timings } = told;
    await send(`${kind}.completed`, { ...value, seed: seeds[0], nfe, table, timings });
    return index;
  }
  const message = told.error ?? 'The run was cancelled';
  await send('error', { error: { message, type: 'server_error', param: null, code: null } });
  return index;
}
