// The interface's description, in OpenAPI 3.1: what settings there are, and what the events say.
import { toJsonSchema } from '@valibot/to-json-schema';
import type { Limits } from './limits.js';
import { own, renamed, requestSchema } from './openai-schema.js';
import type { settingsSchema } from './settings.js';

const string = { type: 'string' } as const;
const number = { type: 'number' } as const;
const integer = { type: 'integer' } as const;

function object(properties: Record<string, object>, description?: string) {
  return { type: 'object', description, properties, required: Object.keys(properties) };
}

/** Of an object, fields that may be missing. */
function withOptional(of: ReturnType<typeof object>, properties: Record<string, object>) {
  return { ...of, properties: { ...of.properties, ...properties } };
}

const list = (items: object) => ({ type: 'array', items });
const tableName = { ...string, description: "The model's table that made the steps, where one did" };
const png = { type: 'string', contentEncoding: 'base64', contentMediaType: 'image/png' };

/** The events of a run, by name. */
const events = {
  queued: object(
    { id: string, ahead: integer, seconds: integer },
    'The run waits; `ahead` runs come first, and it begins in about so many `seconds`. Told again when that changes.',
  ),
  loading: object(
    { id: string, model: string, done: integer, of: integer },
    'The model was not in memory: so many of its bytes have been loaded.',
  ),
  started: object({ id: string, seeds: list(integer), settings: { $ref: '#/components/schemas/Settings' } }),
  step: object(
    {
      ...{ step: integer, steps: integer, nfe: number, t: number, batch: integer, batches: integer },
      ...{ first: integer, ms: number, width: integer, height: integer, images: list(png) },
    },
    'A completed step of one batch (`steps` is 0 with the adaptive method) and what the network takes its pictures to be; `first` is the place of the first one.',
  ),
  done: withOptional(
    object({
      ...{ images: list(png), width: integer, height: integer, nfe: number, seeds: list(integer), guidance: number },
      solver: withOptional(object({ name: string, grid: string }, 'What made the steps'), {
        order: integer,
        method: string,
      }),
      timings: object(
        { networkMs: number, networkCalls: integer, stepMs: number, totalMs: number },
        'Milliseconds; medians.',
      ),
    }),
    { table: tableName },
  ),
  cancelled: object({ ms: number }),
  failed: withOptional(object({ error: string }), {
    refused: {
      const: true,
      description: 'What was asked for is wrong, which is found out late where a model is loaded.',
    },
  }),
};

const nullable = (type: object) => ({ anyOf: [type, { type: 'null' }] });

/** What OpenAI's clients are answered with. */
const openai = {
  OpenAIError: object({
    error: object({ message: string, type: string, param: nullable(string), code: nullable(string) }),
  }),
  OpenAIModel: object({ id: string, object: { const: 'model' }, created: integer, owned_by: string }),
  ImagesResponse: withOptional(
    object({
      created: { type: 'integer', description: 'Seconds since 1970' },
      data: list({
        type: 'object',
        description: 'One of the two, by `response_format`; a url is a data: address with the whole picture in it.',
        properties: { b64_json: string, url: string, seed: integer },
        required: ['seed'],
      }),
      ...{ background: { const: 'opaque' }, output_format: string, quality: string, size: string, nfe: number },
      timings: { type: 'object' },
    }),
    { table: tableName },
  ),
};

/** The events of a stream, by their type. */
function streamEvents(kind: string) {
  const common = { b64_json: string, created_at: integer, background: string, output_format: string, quality: string };
  const partial = `${kind}.partial_image`;
  const completed = `${kind}.completed`;
  return {
    [partial]: object({ type: { const: partial }, ...common, size: string, partial_image_index: integer }),
    [completed]: withOptional(
      object({ type: { const: completed }, ...common, size: string, seed: integer, nfe: number }),
      { table: tableName },
    ),
  };
}

export function describe(schema: ReturnType<typeof settingsSchema>, limits: Limits, version: string): object {
  const plain = (value: Parameters<typeof toJsonSchema>[0]) => {
    const { $schema: _, ...rest } = toJsonSchema(value, { target: 'draft-2020-12', errorMode: 'ignore' });
    return rest;
  };
  const content = (type: string, value: object) => ({ content: { [type]: { schema: value } } });
  const json = (value: object) => content('application/json', value);
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  const ok = (value: object, description = 'JSON') => ({ 200: { description, ...json(value) } });
  const later = { 'Retry-After': { description: 'Seconds, at most 60', schema: integer } };
  const why: Record<number, string> = {
    400: 'What is asked for is wrong; one sentence says what.',
    401: 'A key is needed.',
    404: 'There is none of this name.',
    413: 'The body is too large.',
    415: 'The body has another type.',
    422: 'What is asked for is not made here.',
    429: 'The queue is full, or this client has all the places that one may have.',
    500: 'The run failed.',
    501: 'A package is missing, which the sentence names.',
    503: 'The model is being loaded.',
  };
  const refusals = (form: string, ...codes: number[]) =>
    Object.fromEntries(
      codes.map((code) => [
        code,
        { description: why[code], ...(code === 429 || code === 503 ? { headers: later } : {}), ...json(ref(form)) },
      ]),
    );
  const get = (summary: string, value: object) => ({
    get: { summary, responses: { ...ok(value), ...refusals('Error', 401) } },
  });
  const images = (summary: string, requests: Record<string, string>, kind: string) => ({
    post: {
      summary,
      description: 'Closing the connection cancels the run. With `stream` the answer is server-sent events.',
      requestBody: {
        required: true,
        content: Object.fromEntries(Object.entries(requests).map(([type, name]) => [type, { schema: ref(name) }])),
      },
      responses: {
        200: {
          description: 'The pictures; or with `stream` the partial images, and then the picture.',
          content: {
            'application/json': { schema: ref('ImagesResponse') },
            'text/event-stream': {
              schema: { type: 'string', description: Object.keys(streamEvents(kind)).join(', ') },
            },
          },
        },
        ...refusals('OpenAIError', 400, 401, 404, 413, 415, 429, 500, 503),
      },
    },
  });
  const webUI = (summary: string, picture: boolean) => ({
    post: {
      summary,
      description: "The web UI's own interface, as far as it goes here: what is not known is passed over.",
      requestBody: {
        required: true,
        ...json({
          type: 'object',
          properties: {
            ...{ prompt: string, negative_prompt: string, steps: integer, cfg_scale: number, seed: integer },
            ...{ width: integer, height: integer, batch_size: integer, n_iter: integer, sampler_name: string },
            ...(picture ? { init_images: list(string), mask: string, denoising_strength: number } : {}),
            ...(picture ? { inpainting_mask_invert: { type: ['integer', 'boolean'] } } : {}),
          },
          ...(picture ? { required: ['init_images'] } : {}),
        }),
      },
      responses: {
        ...ok(object({ images: list(png), parameters: { type: 'object' }, info: string })),
        ...refusals('Error', 400, 401, 404, 413, 415, 422, 429, 500, 503),
      },
    },
  });
  const edit = withOwn(plain(requestSchema(limits, true)), plain(schema));
  const id = (name: string) => ({ name, in: 'path', required: true, schema: string });
  return {
    openapi: '3.1.0',
    info: { title: 'dpm-solver serve', version },
    security: [{}, { key: [] }],
    paths: {
      '/api/runs': {
        post: {
          summary: 'Make pictures',
          description: 'The answer is the run: closing it cancels the run and frees its place.',
          requestBody: {
            required: true,
            content: { ...json(ref('Run')).content, ...content('multipart/form-data', ref('RunForm')).content },
          },
          responses: {
            200: {
              description: 'Server-sent events; the last one is done, cancelled or failed.',
              ...content('text/event-stream', string),
            },
            ...refusals('Error', 400, 401, 404, 413, 415, 429, 503),
          },
        },
      },
      '/api/runs/{id}': {
        delete: {
          summary: 'Cancel a run, which then ends with the event cancelled',
          parameters: [id('id')],
          responses: { 204: { description: 'It will end.' }, ...refusals('Error', 401, 404) },
        },
      },
      '/api/model': {
        get: {
          summary: 'A model and the limits',
          parameters: [{ name: 'model', in: 'query', schema: string, description: 'A name of /v1/models; the first.' }],
          responses: { ...ok({ type: 'object' }), ...refusals('Error', 401, 404, 503) },
        },
      },
      '/api/status': get(
        'How busy the server is',
        withOptional(object({ ready: { type: 'boolean' }, running: integer, waiting: integer }), {
          loading: object({ done: integer, of: integer }, 'Bytes of the model, while it is being loaded'),
          models: list(
            withOptional(
              object({
                ...{ id: string, state: { enum: ['loaded', 'loading', 'released'] }, bytes: integer, batch: integer },
              }),
              { loading: object({ done: integer, of: integer }) },
            ),
          ),
        }),
      ),
      '/api/schema': get('This document', { type: 'object' }),
      '/healthz': { get: { summary: 'Is the server there?', responses: ok(object({ ok: { const: true } })) } },
      '/readyz': {
        get: {
          summary: 'Are the models loaded, and runs taken?',
          responses: {
            ...ok(object({ ready: { type: 'boolean' } })),
            503: { description: 'Not now.', ...json(object({ ready: { type: 'boolean' } })) },
          },
        },
      },
      '/metrics': {
        get: {
          summary: 'Figures for Prometheus',
          responses: {
            200: { description: 'Text', ...content('text/plain', string) },
            ...refusals('Error', 401, 501),
          },
        },
      },
      '/v1/models': {
        get: {
          summary: 'The models that are served',
          responses: {
            ...ok(object({ object: { const: 'list' }, data: list(ref('OpenAIModel')) })),
            ...refusals('OpenAIError', 401),
          },
        },
      },
      '/v1/models/{id}': {
        get: {
          summary: 'One model',
          parameters: [id('id')],
          responses: { ...ok(ref('OpenAIModel')), ...refusals('OpenAIError', 401, 404) },
        },
      },
      '/v1/images/generations': images(
        'Make pictures, as OpenAI has it',
        { 'application/json': 'ImageRequest' },
        'image_generation',
      ),
      '/v1/images/edits': images(
        'Make pictures from a picture, as OpenAI has it',
        { 'multipart/form-data': 'ImageEditRequest', 'application/json': 'ImageEditJson' },
        'image_edit',
      ),
      '/v1/images/variations': {
        post: {
          summary: 'Make pictures like one, as OpenAI has it: image to image without a prompt',
          requestBody: { required: true, ...content('multipart/form-data', ref('ImageVariationRequest')) },
          responses: {
            ...ok(ref('ImagesResponse')),
            ...refusals('OpenAIError', 400, 401, 404, 413, 415, 429, 500, 503),
          },
        },
      },
      '/sdapi/v1/txt2img': webUI('Make pictures, as the web UI has it', false),
      '/sdapi/v1/img2img': webUI('Make pictures from a picture, as the web UI has it', true),
      '/sdapi/v1/samplers': get('Names for sampler_name', list({ type: 'object' })),
      '/sdapi/v1/schedulers': get('Names for scheduler', list({ type: 'object' })),
      '/sdapi/v1/sd-models': get('The models that are served', list({ type: 'object' })),
      '/sdapi/v1/options': get('The model that draws', { type: 'object' }),
      '/sdapi/v1/progress': get('How busy the server is', { type: 'object' }),
    },
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'Where the server has keys.' } },
      schemas: {
        Settings: plain(schema),
        Run: withModel(plain(schema)),
        RunForm: withFiles({
          type: 'object',
          properties: {
            settings: { type: 'string', contentMediaType: 'application/json', contentSchema: ref('Run') },
            strength: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'How much is made anew.' },
            source: { type: 'string', description: 'What the image shows; with it the image is edited, see DiffEdit.' },
          },
          required: ['settings'],
        } as Schema),
        ImageRequest: withOwn(plain(requestSchema(limits, false)), plain(schema)),
        ImageEditRequest: withFiles(edit),
        ImageEditJson: {
          ...edit,
          properties: {
            ...edit.properties,
            images: { ...list(ref('ImageReference')), maxItems: 1 },
            mask: ref('ImageReference'),
          },
          required: [...(edit.required ?? []), 'images'],
        },
        ImageReference: object({ image_url: { type: 'string', pattern: '^data:image/' } }),
        ImageVariationRequest: { ...withFiles(edit), required: ['image'] },
        Error: { type: 'object', properties: { error: string, detail: string }, required: ['error'] },
        Events: { type: 'object', properties: events },
        ImageEvents: {
          type: 'object',
          properties: { ...streamEvents('image_generation'), ...streamEvents('image_edit') },
        },
        ...openai,
      },
    },
  };
}

type Schema = ReturnType<typeof toJsonSchema>;

/** With this server's settings, in their own names. */
function withOwn(request: Schema, settings: Schema): Schema {
  const known = settings.properties ?? {};
  const named = [...own.map((name) => [name, name]), ...Object.entries(renamed)];
  return {
    ...request,
    properties: {
      ...request.properties,
      ...Object.fromEntries(named.map(([name, setting]) => [name, known[setting]])),
    },
    additionalProperties: false,
  } as Schema;
}

/** With the name of the model that is to draw. */
function withModel(settings: Schema): Schema {
  const model = { type: 'string', description: 'A name of /v1/models; the first.' };
  return { ...settings, properties: { ...settings.properties, model } } as Schema;
}

/** With the files of a form. */
function withFiles(request: Schema): Schema {
  const file = (description: string) => ({ type: 'string', contentMediaType: 'application/octet-stream', description });
  return {
    ...request,
    properties: {
      ...request.properties,
      image: file('PNG; and what sharp reads, where the server has it. `image[]` is the same.'),
      mask: file('What is transparent is made anew; of a picture without transparency what is white.'),
    },
    required: [...(request.required ?? []), 'image'],
  } as Schema;
}
