// Forms with pictures: what a run starts from, beside its settings.
import * as v from 'valibot';
import { Wrong } from './answers.js';
import { parseBody } from './body.js';
import type { Limits } from './limits.js';
import type { Uploads } from './messages.js';
import { readRequest, type Settings, type settingsSchema, strengthSchema, text } from './settings.js';

export const isForm = (type: string | undefined): boolean => /^multipart\/form-data\s*(;|$)/i.test(type ?? '');

/**
 * The files of a form: `image` or `image[]`, one of them, and `mask`.
 *
 * @throws Wrong, in one sentence
 */
export async function readFiles(
  form: FormData,
  strength: number | undefined,
  { side, area, pixels }: Limits,
): Promise<Uploads> {
  const files = (...names: string[]): Blob[] =>
    names.flatMap((name) => form.getAll(name)).flatMap((value) => (typeof value === 'string' ? [] : [value as Blob]));
  for (const [name, value] of form) {
    if (typeof value !== 'string' && !['image', 'image[]', 'mask'].includes(name)) {
      throw new Wrong(`Expected files for image and mask only but received one for '${name.slice(0, 40)}'`);
    }
  }
  const [images, masks] = [files('image', 'image[]'), files('mask')];
  if (images.length !== 1) throw new Wrong(`Expected one file for image but received ${images.length || 'none'}`);
  if (masks.length > 1) throw new Wrong(`Expected one file for mask but received ${masks.length}`);
  const bytes = async (blob: Blob) => new Uint8Array(await blob.arrayBuffer());
  return {
    image: await bytes(images[0]),
    ...(masks.length > 0 ? { mask: await bytes(masks[0]) } : {}),
    ...(strength !== undefined ? { strength } : {}),
    most: { side, area, pixels },
  };
}

/**
 * A picture that is sent in text.
 *
 * @throws Wrong, in one sentence
 */
export function fromBase64(value: unknown, name: string): Uint8Array {
  if (typeof value !== 'string')
    throw new Wrong(`Expected a picture in base64 for ${name} but received something else`);
  const text = value.replace(/^data:image\/[\w+.-]+;base64,/, '');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0) throw new Wrong(`Expected a picture in base64 for ${name} but received none`);
  return new Uint8Array(bytes);
}

/**
 * The pictures of an edit that is asked for in JSON: `images`, one of them, and `mask`, each with its `image_url`.
 *
 * @throws Wrong, in one sentence
 */
export function readReferences(
  images: unknown,
  mask: unknown,
  strength: number | undefined,
  { side, area, pixels }: Limits,
): Uploads {
  if (!Array.isArray(images) || images.length !== 1) {
    const count = Array.isArray(images) ? images.length || 'none' : 'none';
    throw new Wrong(`Expected one picture for images but received ${count}`);
  }
  return {
    image: fromReference(images[0], 'images'),
    ...(mask == null ? {} : { mask: fromReference(mask, 'mask') }),
    ...(strength !== undefined ? { strength } : {}),
    most: { side, area, pixels },
  };
}

function fromReference(value: unknown, name: string): Uint8Array {
  const { image_url: url } = (value ?? {}) as { image_url?: unknown };
  // Nothing that others name is fetched from here, and no files are kept that could be named.
  if (typeof url !== 'string' || !/^data:image\//.test(url)) {
    throw new Wrong(`Expected an image_url that begins with data:image/ for ${name} but received another reference`);
  }
  return fromBase64(url, name);
}

/**
 * A run from a picture, as the page sends it: the field `settings` has JSON, `image` and `mask` are files; `strength` says how
 * much is made anew, and `source` what the picture shows, which makes it an edit.
 *
 * @throws Wrong, in one sentence
 */
export async function readRunForm(
  form: FormData,
  schema: ReturnType<typeof settingsSchema>,
  limits: Limits,
): Promise<{ settings: Settings; model?: string; uploads: Uploads }> {
  const fields: Record<string, string> = {};
  for (const [name, value] of form) {
    if (typeof value !== 'string') continue;
    if (!['settings', 'strength', 'source'].includes(name)) {
      throw new Wrong(`There is no field '${name.slice(0, 40)}'; expected settings, strength, source, image or mask`);
    }
    if (Object.hasOwn(fields, name)) throw new Wrong(`Expected one value for ${name} but received several`);
    fields[name] = value;
  }
  const read = readRequest(schema, readJsonField(fields.settings, limits));
  if ('error' in read) throw new Wrong(read.error);
  const strength = fields.strength === undefined ? undefined : checked(strengthSchema(), Number(fields.strength));
  const source = fields.source === undefined ? undefined : checked(text('source', limits.prompt), fields.source);
  const uploads = { ...(await readFiles(form, strength, limits)), ...(source !== undefined ? { source } : {}) };
  return { ...read, uploads };
}

function readJsonField(value: string | undefined, limits: Limits): unknown {
  if (value === undefined) throw new Wrong('Expected JSON for settings but received nothing');
  if (value.length > limits.body) {
    throw new Wrong(`Expected at most ${limits.body} characters for settings but received ${value.length}`);
  }
  try {
    return parseBody(value);
  } catch {
    throw new Wrong('Expected JSON for settings but it cannot be parsed');
  }
}

function checked<T extends v.GenericSchema>(schema: T, value: unknown): v.InferOutput<T> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (!result.success) throw new Wrong(result.issues[0].message);
  return result.output;
}
