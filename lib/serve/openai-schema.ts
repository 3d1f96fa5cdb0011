// What OpenAI's clients ask for pictures with: its fields, and this server's settings beside them.
import * as v from 'valibot';
import { nearest } from '../base/text.js';
import type { Coding } from '../image/formats.js';
import { Wrong } from './answers.js';
import type { Limits } from './limits.js';
import type { Job } from './messages.js';
import {
  brief,
  expected,
  flag,
  one,
  readSettings,
  type settingsSchema,
  strengthSchema,
  text,
  whole,
} from './settings.js';

/** Names of settings as the clients of Python's world write them. */
export const renamed: Readonly<Record<string, string>> = {
  negative_prompt: 'negativePrompt',
  skip_type: 'skipType',
  guidance_interval: 'guidanceInterval',
  guidance_variant: 'guidanceVariant',
  guidance_eta: 'guidanceEta',
  guidance_norm: 'guidanceNorm',
  guidance_momentum: 'guidanceMomentum',
  guidance_rescale: 'guidanceRescale',
  denoise_to_zero: 'denoiseToZero',
};
/** Settings that stand in a request as they are, besides the prompt; `count` is `n`, and the sides are `size`. */
export const own = ['solver', 'order', 'steps', 'method', 'guidance', 'thresholding', 'seed'] as const;

/** The largest of OpenAI's pictures has fewer pixels a side than this many digits say. */
const SIZE = /^(\d{1,5})x(\d{1,5})$/;

const UNUSED = 'Taken from clients that send it; it changes nothing.';

/** The schema of a request's body. Fields may be null, which is as if they were not there. */
export function requestSchema(limits: Limits, edits: boolean) {
  const size = v.pipe(
    v.string(expected("'auto' or a size as in '512x512'", 'size')),
    v.check((value) => value === 'auto' || SIZE.test(value), expected("'auto' or a size as in '512x512'", 'size')),
    v.description(
      "Width and height in pixels; 'auto' is the model's own, and with an image the image's where it fits.",
    ),
  );
  const entries = {
    prompt: v.pipe(text('prompt', limits.prompt), v.description('What to draw.')),
    model: v.nullish(
      v.pipe(text('model', 200), v.description("A name of /v1/models; OpenAI's own names are the first.")),
    ),
    n: v.nullish(v.pipe(whole('n', 1, Math.min(10, limits.count)), v.description('Pictures; 1.'))),
    size: v.nullish(size),
    response_format: v.nullish(
      v.pipe(
        one('response_format', ['b64_json', 'url']),
        v.description('b64_json where absent; a url is a data: address with the whole picture in it.'),
      ),
    ),
    output_format: v.nullish(
      v.pipe(
        one('output_format', ['png', 'jpeg', 'webp']),
        v.description('png where absent; the others need the package sharp on the server.'),
      ),
    ),
    output_compression: v.nullish(
      v.pipe(
        whole('output_compression', 0, 100),
        v.description('The quality of JPEG and WebP files; 100 where absent.'),
      ),
    ),
    background: v.nullish(v.pipe(one('background', ['auto', 'opaque']), v.description('Pictures are opaque.'))),
    stream: v.nullish(
      v.pipe(
        flag('stream'),
        v.description('Send partial images and then the result, as server-sent events; one picture.'),
      ),
    ),
    partial_images: v.nullish(
      v.pipe(
        whole('partial_images', 0, 3),
        v.description('How many predictions of the result to send on the way, evenly spaced over the steps; 0.'),
      ),
    ),
    user: v.nullish(v.pipe(text('user', 512), v.description('Users of one client take turns with each other.'))),
    quality: v.nullish(
      v.pipe(
        one('quality', ['auto', 'low', 'medium', 'high', 'standard', 'hd', 'xhigh', 'max']),
        v.description(UNUSED),
      ),
    ),
    style: v.nullish(v.pipe(one('style', ['vivid', 'natural']), v.description(UNUSED))),
    moderation: v.nullish(v.pipe(one('moderation', ['auto', 'low']), v.description(UNUSED))),
    safety_identifier: v.nullish(v.pipe(text('safety_identifier', 512), v.description(UNUSED))),
  };
  const more = {
    input_fidelity: v.nullish(v.pipe(one('input_fidelity', ['high', 'low']), v.description(UNUSED))),
    strength: v.nullish(
      v.pipe(strengthSchema(), v.description('How much of the image is made anew; 0.8, and 1 with a mask.')),
    ),
  };
  // Of a request without an image they are not told of.
  const all = edits ? { ...entries, ...more } : (entries as typeof entries & typeof more);
  return v.looseObject(all, (issue) => {
    const key = issue.path?.[0].key;
    return key === undefined
      ? `Expected an object of settings but received ${brief(issue.input)}`
      : `Expected a string for ${String(key)} but received nothing`;
  });
}

type Request = v.InferOutput<ReturnType<typeof requestSchema>>;

/** A request as it is carried out. */
export interface Asked {
  job: Omit<Job, 'uploads'>;
  model: string | undefined;
  stream: boolean;
  partials: number;
  url: boolean;
  user: string | undefined;
  strength: number | undefined;
  /** As it is told back. */
  quality: string;
}

/** Names that nobody needs to know: fields of OpenAI's, and the settings. */
export function fieldNames(schema: ReturnType<typeof requestSchema>): string[] {
  return [...Object.keys(schema.entries), ...own, ...Object.keys(renamed)];
}

/**
 * Reads a request's body.
 *
 * @throws Wrong, in one sentence
 */
export function readAsked(
  schema: ReturnType<typeof requestSchema>,
  settings: ReturnType<typeof settingsSchema>,
  body: unknown,
): Asked {
  const result = v.safeParse(schema, body, { abortEarly: true });
  if (!result.success) throw new Wrong(result.issues[0].message);
  const request = result.output as Request & Record<string, unknown>;
  const { size, n, stream, user, model, response_format: form, output_format: format } = request;
  const [, width, height] = SIZE.exec(size ?? '') ?? [];
  const asked: Record<string, unknown> = {
    ...(n != null ? { count: n } : {}),
    ...(width ? { width: Number(width), height: Number(height) } : {}),
  };
  const known = fieldNames(schema);
  const camel = Object.fromEntries(Object.entries(renamed).map(([snake, name]) => [name, snake]));
  for (const [key, value] of Object.entries(request)) {
    if (Object.hasOwn(schema.entries, key) && key !== 'prompt') continue;
    const name = Object.hasOwn(renamed, key) ? renamed[key] : key;
    if (name !== 'prompt' && !(own as readonly string[]).includes(name) && !Object.hasOwn(camel, name)) {
      const meant = key.length <= 40 ? nearest(key, known) : undefined;
      throw new Wrong(`There is no setting ${brief(key)}${meant ? `; did you mean '${meant}'?` : ''}`);
    }
    if (value !== null) asked[name] = value;
  }
  const read = readSettings(settings, asked);
  if ('error' in read) throw new Wrong(asOpenAI(read.error, camel));
  const partials = request.partial_images ?? 0;
  if (stream && read.settings.count > 1) {
    throw new Wrong(
      'Expected 1 for n with stream, whose events do not say which picture they are of, but received more',
    );
  }
  if (!stream && partials > 0) throw new Wrong('Expected stream with partial_images, which are its events');
  const coding: Coding = { format: format ?? 'png', quality: request.output_compression ?? 100 };
  if (coding.format === 'png' && request.output_compression != null && request.output_compression < 100) {
    throw new Wrong('Expected jpeg or webp for output_format with output_compression, as PNG files lose nothing');
  }
  return {
    job: { settings: read.settings, coding, previews: stream ? partials : 0 },
    model: model ?? undefined,
    stream: stream ?? false,
    partials,
    url: form === 'url',
    user: user ?? undefined,
    strength: (request.strength as number | null | undefined) ?? undefined,
    quality: request.quality ?? 'auto',
  };
}

/** A sentence about a setting, in the names that were used. */
function asOpenAI(sentence: string, camel: Record<string, string>): string {
  const names: Record<string, string> = { ...camel, count: 'n', width: 'size', height: 'size' };
  return sentence.replace(/ for (\w+)( but received)/, (all, name: string, rest: string) =>
    Object.hasOwn(names, name) ? ` for ${names[name]}${rest}` : all,
  );
}

/**
 * The fields of a form, whose values are all text: numbers and truths are read as what they are.
 *
 * @throws Wrong for a field that comes twice
 */
export function readFields(form: FormData): Record<string, unknown> {
  const pairs = new Set(['guidance_interval', 'guidanceInterval']);
  const words = new Set(['prompt', 'model', 'size', 'user', 'negative_prompt', 'negativePrompt', 'safety_identifier']);
  const body: Record<string, unknown> = {};
  for (const [name, value] of form) {
    if (typeof value !== 'string') continue;
    if (Object.hasOwn(body, name)) throw new Wrong(`Expected one value for ${brief(name)} but received several`);
    body[name] = words.has(name) ? value : pairs.has(name) ? pairOf(value) : readValue(value);
  }
  return body;
}

const literals: Record<string, boolean> = { true: true, false: false };

function readValue(text: string): unknown {
  const number = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text);
  return number ? Number(text) : (literals[text] ?? text);
}

/** As in '0.28,5.42', or as JSON has it. */
function pairOf(text: string): unknown {
  const inner = /^\[(.*)\]$/.exec(text.trim())?.[1] ?? text;
  const parts = inner.split(',').map((part) => readValue(part.trim()));
  return parts.length === 2 ? parts : text;
}
