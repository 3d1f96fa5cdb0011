// How answers are written: JSON, and what is wrong as one sentence, in the form that the interface which was asked has.
import type { HttpBindings } from '@hono/node-server';
import type { Context, Hono, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { escaped } from '../base/text.js';
import { parseBody } from './body.js';

export type App = Hono<Env>;
export type Env = { Bindings: HttpBindings; Variables: { client: string; request: string } };
type Asked = Context<Env>;

/** JSON without a character that could begin markup, or a terminal's commands, wherever it may end up. */
export function encode(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u007f-\u009f\u2028\u2029]/g, escaped);
}

export function answer(c: Asked, status: number, value: unknown): Response {
  return c.body(encode(value), status as 200, { 'Content-Type': 'application/json; charset=utf-8' });
}

const isOpenAI = (path: string): boolean => path === '/v1' || path.startsWith('/v1/');

/** What OpenAI's clients tell apart. */
export interface Detail {
  /** The field that is wrong. */
  param?: string;
  /** A word for it; of the status where absent. */
  code?: string;
}

/** Clients of OpenAI's wait no longer than this, in seconds. */
const LONGEST = 60;

const codes: Record<number, string> = {
  401: 'invalid_api_key',
  404: 'not_found',
  413: 'request_too_large',
  429: 'rate_limit_exceeded',
  503: 'service_unavailable',
};

/** One sentence: `{ error }`, for OpenAI's clients an object of theirs, for those of the web UI `detail` as well. */
export function refuse(c: Asked, status: number, error: string, { param, code }: Detail = {}): Response {
  const { path } = c.req;
  if (path.startsWith('/sdapi/')) return answer(c, status, { error, detail: error });
  if (!isOpenAI(path)) return answer(c, status, { error });
  const type = status === 429 ? 'rate_limit_error' : status >= 500 ? 'server_error' : 'invalid_request_error';
  const message = error;
  return answer(c, status, { error: { message, type, param: param ?? null, code: code ?? codes[status] ?? null } });
}

/** What is wrong with what a request asks for, in one sentence: it is answered with 400. */
export class Wrong extends Error {
  override name = 'Wrong';
}

/** Refuses bodies of more bytes. */
export function atMost(size: number): MiddlewareHandler<Env> {
  return bodyLimit({
    maxSize: size,
    onError: (c) => refuse(c, 413, `Expected a body of at most ${size} bytes but received more`),
  });
}

export const isJson = (c: Asked): boolean => /^application\/json\s*(;|$)/i.test(c.req.header('content-type') ?? '');

/** The JSON in a request's body, or what is answered where there is none. */
export async function readJson(c: Asked): Promise<{ value: unknown } | Response> {
  // Other types can be posted by pages elsewhere without being asked first.
  if (!isJson(c)) {
    return refuse(c, 415, 'Expected application/json for the Content-Type header');
  }
  try {
    return { value: parseBody(await c.req.text()) };
  } catch {
    return refuse(c, 400, 'Expected JSON in the body but it cannot be parsed');
  }
}

/**
 * The settings that are the JSON of a body.
 *
 * @throws Wrong where that is something else
 */
export function objectIn({ value }: { value: unknown }): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Wrong('Expected an object of settings in the body');
}

/** The form in a request's body, or what is answered where there is none. */
export async function readForm(c: Asked): Promise<FormData | Response> {
  try {
    return await c.req.formData();
  } catch {
    return refuse(c, 400, 'Expected a form in the body but it cannot be parsed');
  }
}

export function notAllowed(c: Asked, method: string): Response {
  c.header('Allow', method === 'GET' ? 'GET, HEAD' : method);
  return refuse(c, 405, `Expected the method ${method} for this address`);
}

export function unavailable(c: Asked, error: string, seconds: number): Response {
  c.header('Retry-After', String(Math.min(seconds, LONGEST)));
  return refuse(c, 503, error);
}

/**
 * There is no place. Who waits for a minute at most is told for how long; where it is more, there is no sense in trying
 * again by itself, which the header that OpenAI's clients know says.
 */
export function full(c: Asked, error: string, seconds: number): Response {
  if (seconds <= LONGEST || !isOpenAI(c.req.path)) c.header('Retry-After', String(seconds));
  else c.header('x-should-retry', 'false');
  return refuse(c, 429, error);
}
