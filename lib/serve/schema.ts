// The interface's description, in OpenAPI 3.1: what settings there are, and what the events say.
import { toJsonSchema } from '@valibot/to-json-schema';
import type { Limits } from './limits.js';
import type { settingsSchema } from './settings.js';

const string = { type: 'string' } as const;
const number = { type: 'number' } as const;
const integer = { type: 'integer' } as const;

function object(properties: Record<string, object>, description?: string) {
  return { type: 'object', description, properties, required: Object.keys(properties) };
}

const list = (items: object) => ({ type: 'array', items });
const png = { type: 'string', contentEncoding: 'base64', contentMediaType: 'image/png' };

/** The events of a run, by name. */
const events = {
  queued: object(
    { id: string, ahead: integer },
    'The run waits; `ahead` runs come first. Told again when that changes.',
  ),
  started: object({ id: string, seeds: list(integer), settings: { $ref: '#/components/schemas/Settings' } }),
  step: object(
    {
      ...{ step: integer, steps: integer, nfe: integer, t: number, batch: integer, batches: integer },
      ...{ first: integer, ms: number, images: list(png) },
    },
    'A completed step of one batch (`steps` is 0 with the adaptive method) and what the network takes its pictures to be; `first` is the place of the first one.',
  ),
  done: object({
    ...{ images: list(png), width: integer, height: integer, nfe: integer, seeds: list(integer), guidance: number },
    timings: object(
      { networkMs: number, networkCalls: integer, stepMs: number, totalMs: number },
      'Milliseconds; medians.',
    ),
  }),
  cancelled: object({ ms: number }),
  failed: object({ error: string }),
};

export function describe(schema: ReturnType<typeof settingsSchema>, limits: Limits, version: string): object {
  const { $schema: _, ...settings } = toJsonSchema(schema, { target: 'draft-2020-12', errorMode: 'ignore' });
  const json = (value: object) => ({ content: { 'application/json': { schema: value } } });
  const error = (description: string, headers?: object) => ({
    description,
    ...(headers ? { headers } : {}),
    ...json({ $ref: '#/components/schemas/Error' }),
  });
  const later = { 'Retry-After': { description: 'Seconds', schema: integer } };
  return {
    openapi: '3.1.0',
    info: { title: 'dpm-solver serve', version },
    paths: {
      '/api/runs': {
        post: {
          summary: 'Make pictures',
          description: 'The answer is the run: closing it cancels the run and frees its place.',
          requestBody: { required: true, ...json({ $ref: '#/components/schemas/Settings' }) },
          responses: {
            200: {
              description: 'Server-sent events; the last one is done, cancelled or failed.',
              content: { 'text/event-stream': { schema: string } },
            },
            400: error('The settings are wrong; one sentence says what.'),
            413: error(`The body is larger than ${limits.body} bytes.`),
            415: error('The body is not JSON.'),
            429: error('The queue is full.', later),
            503: error('The model is being loaded.', later),
          },
        },
      },
      '/api/runs/{id}': {
        delete: {
          summary: 'Cancel a run, which then ends with the event cancelled',
          parameters: [{ name: 'id', in: 'path', required: true, schema: string }],
          responses: { 204: { description: 'It will end.' }, 404: error('There is no such run, or no more.') },
        },
      },
      '/api/model': { get: { summary: 'The model and the limits', responses: { 200: { description: 'JSON' } } } },
      '/api/status': {
        get: {
          summary: 'How busy the server is',
          responses: {
            200: {
              description: 'JSON',
              ...json(object({ ready: { type: 'boolean' }, running: integer, waiting: integer })),
            },
          },
        },
      },
      '/api/schema': { get: { summary: 'This document', responses: { 200: { description: 'JSON' } } } },
    },
    components: {
      schemas: { Settings: settings, Error: object({ error: string }), Events: { type: 'object', properties: events } },
    },
  };
}
