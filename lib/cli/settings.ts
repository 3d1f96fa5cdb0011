// Settings that travel with a picture: the flags that made it, in its file, and back with --like.
import { basename } from 'node:path';
import { type ArgsDef, parseArgs } from 'citty';
import { readBytes } from '../image/file.js';
import { COMMON, OWN, textsIn } from '../image/formats.js';
import { readStdin } from './input.js';
import { beforeDashes, UsageError } from './usage.js';

/** Flags that say where and on what, not what is drawn. */
const NOT_KEPT = [
  'output',
  'format',
  'quality',
  'preview',
  'preview-as',
  'config',
  'sheet',
  'scale',
  'json',
  'like',
  'model',
  'revision',
  'subfolder',
  'device',
  'memory',
  'split-guidance',
  'save-latents',
  'keep',
  'latents',
  'batch',
  'image',
  'mask',
  'mask-output',
];

export interface Settings {
  readonly command: string;
  readonly prompts: readonly string[];
  /** By name, without the dashes. */
  readonly flags: Readonly<Record<string, string | boolean>>;
}

/** What a command was told, of which a picture keeps what says how it looks. */
export function settingsOf(command: string, values: Readonly<Record<string, unknown>>): Settings {
  const flags = Object.fromEntries(
    Object.entries(values).filter(
      (entry): entry is [string, string | boolean] =>
        (typeof entry[1] === 'string' || entry[1] === true) && !NOT_KEPT.includes(entry[0]) && entry[0] !== 'prompts',
    ),
  );
  // citty gives a flag by its letter and in camel case, too.
  for (const name of Object.keys(flags)) if (name.length === 1 || /[A-Z]/.test(name)) delete flags[name];
  return { command, prompts: (values._ as string[] | undefined) ?? [], flags };
}

/** Of one picture, or of a sheet of several. */
export interface Drawn {
  readonly version: string;
  readonly model: string;
  readonly prompts: readonly string[];
  readonly negativePrompt?: string;
  readonly seeds: readonly number[];
  readonly steps?: number;
  readonly guidance?: number | null;
  /** Of one picture. */
  readonly width: number;
  readonly height: number;
  readonly sampler: string;
}

/** The texts of a picture's file: of this program `{ version, command, prompts, flags }` as JSON. */
export function textsOf(settings: Settings, drawn: Drawn): Record<string, string> {
  const [seed] = drawn.seeds;
  const single = drawn.seeds.length === 1;
  const flags =
    single && 'seed' in settings.flags ? { ...settings.flags, seed: String(seed), count: '1' } : settings.flags;
  const own = { version: drawn.version, command: settings.command, prompts: drawn.prompts, flags };
  const text = { [OWN]: JSON.stringify(own) };
  // That form has one prompt and one seed.
  if (!single || drawn.prompts.length !== 1) return text;
  const facts: [string, unknown][] = [
    ['Steps', drawn.steps],
    ['Sampler', drawn.sampler],
    ['CFG scale', drawn.guidance],
    ['Seed', seed],
    ['Size', `${drawn.width}x${drawn.height}`],
    ['Model', basename(drawn.model)],
    ['Version', `dpm-solver ${drawn.version}`],
  ];
  const line = facts
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => `${name}: ${value}`);
  const negative = drawn.negativePrompt ? [`Negative prompt: ${drawn.negativePrompt}`] : [];
  return { [COMMON]: [drawn.prompts[0], ...negative, line.join(', ')].join('\n'), ...text };
}

/** The solver by the name that A1111 and ComfyUI's users know it by, where there is one. */
export function samplerName(options: {
  scheduler?: string;
  algorithmType?: string;
  order?: number;
  method?: string;
  skipType?: string;
}): string {
  const { scheduler, algorithmType = 'dpmsolver++', order = 2, method = 'multistep', skipType } = options;
  const others: Record<string, string> = { ddim: 'DDIM', pndm: 'PLMS', deis: 'DEIS', unipc: 'UniPC' };
  if (scheduler !== undefined) return others[scheduler] ?? scheduler;
  const letter = method === 'multistep' ? 'M' : method.startsWith('singlestep') ? 'S' : undefined;
  const names: Record<string, string> = { 'dpmsolver++': `DPM++ ${order}`, 'sde-dpmsolver++': `DPM++ ${order}` };
  const known = letter && names[algorithmType];
  if (!known) return [algorithmType, method, order].join(' ');
  const sde = algorithmType.startsWith('sde-') ? ' SDE' : '';
  return `${known}${letter}${sde}${skipType === 'karras' ? ' Karras' : ''}`;
}

/**
 * The arguments with what `--like` says put in where nothing else was said.
 *
 * @throws UsageError for a file that has none
 */
export async function withLike(raw: readonly string[], definition: ArgsDef): Promise<string[]> {
  const given = parseArgs<ArgsDef>([...raw], { ...definition }) as unknown as Record<string, unknown> & { _: string[] };
  const path = given.like;
  if (typeof path !== 'string') return [...raw];
  const settings = await readSettings(path);
  const extra: string[] = [];
  const typed = beforeDashes(raw);
  const said = (name: string) => {
    const { alias } = definition[name] as { alias?: string | string[] };
    const words = [`--${name}`, `--no-${name}`, ...[alias ?? []].flat().map((other) => `-${other}`)];
    return typed.some((word) => words.some((flag) => word === flag || word.startsWith(`${flag}=`)));
  };
  for (const [name, value] of Object.entries(settings.flags)) {
    // What another command knows and this one does not.
    if (!Object.hasOwn(definition, name) || NOT_KEPT.includes(name) || said(name)) continue;
    extra.push(typeof value === 'string' ? `--${name}=${value}` : `--${name}`);
  }
  const takesPrompts = Object.hasOwn(definition, 'prompts');
  const prompts = takesPrompts && given._.length === 0 ? ['--', ...settings.prompts] : [];
  if (prompts.length > 1 && raw.includes('--')) prompts.shift();
  return [...extra, ...raw, ...prompts];
}

/** What a file says of how it was made. */
async function readSettings(path: string): Promise<Settings> {
  let bytes: Uint8Array;
  try {
    bytes = path === '-' ? await readStdin('--like') : readBytes(path);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`Expected a picture's file for --like but ${path} cannot be read`, { cause });
  }
  const texts = textsIn(bytes);
  const own = texts.get(OWN);
  const common = texts.get(COMMON);
  const settings = own !== undefined ? ofOwn(own) : common !== undefined ? ofCommon(common) : undefined;
  if (!settings)
    throw new UsageError(`Expected a picture's file with settings for --like but ${path} has none that are known`);
  return settings;
}

function ofOwn(text: string): Settings | undefined {
  try {
    const read = JSON.parse(text);
    if (typeof read?.prompt === 'string') return ofServer(read);
    const { command, prompts, flags } = read as Settings;
    if (!Array.isArray(prompts) || prompts.some((prompt) => typeof prompt !== 'string')) return undefined;
    if (typeof flags !== 'object' || flags === null || Array.isArray(flags)) return undefined;
    const kept = Object.entries(flags).filter(([, value]) => typeof value === 'string' || value === true);
    return { command: String(command), prompts, flags: Object.fromEntries(kept) };
  } catch {
    return undefined;
  }
}

/** What the server was asked for, by the names of its interface. */
function ofServer({ prompt, negativePrompt, model: _, table, ...others }: Record<string, unknown>): Settings {
  const flags: Record<string, string | boolean> = {};
  if (negativePrompt) flags.negative = String(negativePrompt);
  // The name of one is no file to read again: the model has it.
  if (table === null) flags.table = 'none';
  for (const [name, value] of Object.entries(others)) {
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (value === true) flags[flag] = true;
    else if (['number', 'string'].includes(typeof value) || Array.isArray(value)) flags[flag] = String(value);
  }
  return { command: 'txt2img', prompts: [String(prompt)], flags };
}

/** `prompt`, `Negative prompt: ...` and a line of `Name: value` pairs. */
function ofCommon(text: string): Settings | undefined {
  const lines = text.split('\n');
  const last = lines.at(-1) ?? '';
  if (!/\bSteps: \d+/.test(last)) return undefined;
  const negativeAt = lines.findIndex((line) => line.startsWith('Negative prompt: '));
  const end = lines.length - 1;
  const prompt = lines.slice(0, negativeAt < 0 ? end : negativeAt).join('\n');
  const flags: Record<string, string> = {};
  if (negativeAt >= 0) flags.negative = lines.slice(negativeAt, end).join('\n').slice('Negative prompt: '.length);
  const fact = (name: string) => last.match(new RegExp(`(?:^|, )${name}: ([^,]+)`))?.[1];
  const names: [flag: string, fact: string][] = [
    ['steps', 'Steps'],
    ['guidance', 'CFG scale'],
    ['seed', 'Seed'],
  ];
  for (const [flag, name] of names) {
    const value = Number(fact(name) ?? Number.NaN);
    if (Number.isFinite(value)) flags[flag] = String(value);
  }
  const [, width, height] = fact('Size')?.match(/^(\d+)x(\d+)$/) ?? [];
  if (width !== undefined && height !== undefined) Object.assign(flags, { width, height });
  const strength = fact('Denoising strength');
  if (strength !== undefined && Number.isFinite(Number(strength))) flags.strength = strength;
  return { command: 'txt2img', prompts: prompt === '' ? [] : [prompt], flags };
}
