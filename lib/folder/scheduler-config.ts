// scheduler_config.json, for whoever samples: what it gives, checked by the table of keys (scheduler-keys.ts), and for a
// scheduler class what becomes of another scheduler's configuration.
import { oneOf, show, wrongType } from '../base/check.js';
import { printable } from '../base/text.js';
import { parseJson } from './json.js';
import {
  CLASSES,
  KEYS,
  type KeyRule,
  type NetworkKind,
  originOf,
  plainName,
  ruleOf,
  type Settings,
} from './scheduler-keys.js';

/** A configuration as it stands in scheduler_config.json: diffusers' keys, and any others. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/** What a class makes of the keys. */
export interface ClassRules {
  readonly name: string;
  /** Its keys and their defaults, as in diffusers. */
  readonly defaults: Partial<Settings>;
  /** Can it follow a network that was trained with flow matching? */
  readonly flow: boolean;
  /** The networks that it can follow; `noise`, and `flow` where that holds, unless told. */
  readonly takes?: readonly NetworkKind[];
  /** Does it expect a network with the preconditioning of EDM? */
  readonly edm?: boolean;
  /** Does it go towards noise? */
  readonly inverse?: boolean;
  /** Is its schedule a part of the one that a network was distilled with? */
  readonly distillation?: boolean;
  /** Settings that are the class itself, whatever a configuration says. */
  readonly fixed?: Partial<Settings>;
  /** Values that other classes write and this one has another word for. */
  readonly synonyms?: Partial<Record<keyof Settings, Readonly<Record<string, string>>>>;
  /** The values that it takes, where these are not all of them. */
  readonly choices?: Partial<Record<keyof Settings, readonly string[]>>;
}

/** Parses scheduler_config.json, given as an object or as text. @internal */
export function parseConfig(json: unknown, name: string): Record<string, unknown> {
  let value = json;
  if (typeof json === 'string') {
    try {
      value = parseJson(json);
    } catch (cause) {
      const path = json.length < 1024 && json.endsWith('.json') ? ', but a path: read the file first' : '';
      throw new TypeError(`Expected an object or JSON text for ${name} but received text that is not JSON${path}`, {
        cause,
      });
    }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType('an object', name, value);
  }
  if (typeof (value as { setTimesteps?: unknown }).setTimesteps === 'function') {
    throw wrongType('an object or JSON text', name, value, 'pass its config');
  }
  // What is undefined is absent.
  return Object.fromEntries(Object.entries(value).filter((entry) => entry[1] !== undefined));
}

/** Who reads a configuration: a scheduler class, or a pipeline. @internal */
export interface Reader {
  /** The value for a key of the table in the reader's words, undefined where it counts for nothing; throws for a wrong one. */
  read(key: string, value: unknown, rule: KeyRule): unknown;
  /** Told of a key that the table does not have. */
  unknown?(key: string): void;
}

/**
 * What a parsed configuration gives to a sampler: the keys that its reader heeds, checked; all others are left out.
 *
 * @internal
 */
export function settingsOf(given: Readonly<Record<string, unknown>>, reader: Reader): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    const rule = ruleOf(key);
    const read = rule ? reader.read(key, value, rule) : reader.unknown?.(key);
    if (read !== undefined) settings[key] = read;
  }
  return settings;
}

/** What holds where neither a configuration nor a class says otherwise. */
const STANDARDS = Object.fromEntries(
  Object.entries(KEYS).flatMap(([key, { inClass }]) => (inClass.is === 'heeded' ? [[key, inClass.standard]] : [])),
) as unknown as Settings;

/**
 * What a class runs with, and the configuration that it shows.
 *
 * @throws TypeError for values of the wrong kind, RangeError for values out of range, TypeError for a configuration that
 *   the class cannot follow
 * @internal
 */
export function resolveConfig(
  rules: ClassRules,
  json: unknown,
  overrides: unknown,
): { settings: Settings; config: SchedulerConfig } {
  const given = translate(rules, withoutDefaults(parseConfig(json, 'the scheduler configuration')));
  const over = overrides === undefined ? {} : parseConfig(overrides, 'the overrides');
  const merged: Record<string, unknown> = { ...given, ...over };
  const unknown: string[] = [];
  const own = settingsOf(merged, {
    read(key, value, { inClass }) {
      if (inClass.is !== 'heeded') return undefined;
      const known = key as keyof Settings;
      const worded = inOwnWords(rules, known, value);
      inClass.check(worded, key);
      const choices = rules.choices?.[known];
      if (choices) oneOf(worded as string, `${key} of ${rules.name}`, choices);
      return worded;
    },
    // Those that begin with an underscore are other libraries' own.
    unknown: (key) => void (key.startsWith('_') || unknown.push(key)),
  });
  const settings: Settings = { ...STANDARDS, ...rules.defaults, ...own, ...rules.fixed };
  for (const [key, { inClass }] of Object.entries(KEYS)) {
    if (inClass.is === 'refused' && (merged[key] ?? null) !== null) {
      throw new TypeError(`Expected null for ${key} of ${rules.name} but received ${inClass.why}`);
    }
  }
  checkTogether(rules, settings);
  if (unknown.length > 0) warnOf(unknown, rules.name);
  const defaults = Object.freeze(Object.keys(rules.defaults).filter((key) => !Object.hasOwn(merged, key)));
  const config = Object.freeze({
    ...rules.defaults,
    ...merged,
    ...own,
    _class_name: rules.name,
    _use_default_values: defaults,
  });
  return { settings, config };
}

/**
 * As diffusers: what a scheduler's configuration has by its class's defaults alone says nothing of the network, and the
 * class that it is given to has defaults of its own.
 */
function withoutDefaults(given: Record<string, unknown>): Record<string, unknown> {
  const { _use_default_values: defaults, ...rest } = given;
  if (!Array.isArray(defaults)) return rest;
  return Object.fromEntries(Object.entries(rest).filter(([key]) => !defaults.includes(key)));
}

/** null means the default where a key cannot be null; Infinity may come as text; and some values have another name. */
function inOwnWords(rules: ClassRules, key: keyof Settings, value: unknown): unknown {
  if (value === null) return rules.defaults[key] ?? STANDARDS[key];
  if (key === 'lambda_min_clipped' && (value === '-Infinity' || value === '-inf')) return -Infinity;
  const synonym = typeof value === 'string' ? rules.synonyms?.[key] : undefined;
  return synonym && Object.hasOwn(synonym, value as string) ? synonym[value as string] : value;
}

/**
 * A configuration with what the class that it names has by default for the noise levels of training: what its network was
 * trained with, where a file leaves it out. A file alone that is given to another class takes that class's defaults, as
 * in diffusers.
 *
 * @internal
 */
export function withTraining(config: Record<string, unknown>): Record<string, unknown> {
  const name = config._class_name;
  const origin = typeof name === 'string' ? originOf(name) : undefined;
  return { ...origin?.training, ...config };
}

/** Another scheduler's configuration as one of the class. */
function translate(rules: ClassRules, given: Record<string, unknown>): Record<string, unknown> {
  const named = given._class_name;
  if (named === undefined || named === null) {
    // Nothing but the file of a distilled network has this key.
    const { original_inference_steps: original } = given;
    const distilled = original !== undefined && original !== null;
    if (distilled && rules.defaults.original_inference_steps === undefined)
      refuse(rules, 'LCMScheduler', WHY.distilled);
    return given;
  }
  if (typeof named !== 'string') throw wrongType('a string', '_class_name', named);
  const from = plainName(named);
  if (from === rules.name) return given;
  const origin = CLASSES.get(from);
  if (!origin) refuse(rules, named, 'how its network was trained is not known');
  if (origin.distilled) refuse(rules, named, WHY.distilled);
  const takes = rules.takes ?? ['noise', ...(rules.flow ? (['flow'] as const) : [])];
  const toFlow = takes.length === 1 && takes[0] === 'flow';
  // The flow classes have no flag for it, and the others' classes run both.
  const { network } = origin;
  const isFlow = network === 'flow' || (network === 'noise' && given.use_flow_sigmas === true);
  if (toFlow && isFlow) {
    if (given.invert_sigmas === true && rules.defaults.invert_sigmas === undefined) refuse(rules, named, WHY.inverted);
    return 'shift' in given || given.flow_shift === undefined ? given : { ...given, shift: given.flow_shift };
  }
  if (!takes.includes(network)) {
    const general = network !== 'noise' && (takes.includes('noise') || takes.includes('flow'));
    refuse(rules, named, WHY[general ? network : `no ${takes[0]}`]);
  }
  if (network === 'flow') {
    if (given.invert_sigmas === true) refuse(rules, named, WHY.inverted);
    // By the name that the file has for it, before it gets the class's.
    const { inClass } = KEYS.shift;
    if (given.shift !== undefined && given.shift !== null && inClass.is === 'heeded')
      inClass.check(given.shift, 'shift');
    return {
      prediction_type: 'flow_prediction',
      use_flow_sigmas: true,
      ...(given.shift === undefined || given.shift === null ? {} : { flow_shift: given.shift }),
      ...given,
    };
  }
  if (given.timestep_type === 'continuous' && given.prediction_type === 'v_prediction')
    refuse(rules, named, WHY.continuous);
  return given;
}

/** Why one scheduler cannot take another's place. */
const WHY: Readonly<Record<string, string>> = {
  distilled: 'its network was distilled for steps of its own kind',
  inverted: 'invert_sigmas turns its time round',
  continuous: 'its network is told log sigma and not a training step',
  flow: 'it has no form for networks trained with flow matching',
  edm: 'its network is preconditioned as EDM',
  cosine: 'its network is preconditioned as EDM, and told an angle',
  cogvideox: 'its noise levels are shifted by snr_shift_scale',
  ipndm: 'its network is told a time from 1 to 0 and predicts v on sines of it',
  minimax: 'its network is told how much of the data there is, and predicts what leads there',
  'no flow': 'its network was not trained with flow matching',
  'no edm': 'it is for networks with the preconditioning of EDM',
  'no cosine': 'it is for networks with the preconditioning of EDM that are told an angle',
  'no cogvideox': 'it is for networks whose noise levels are shifted by snr_shift_scale',
  'no ipndm': 'it is for networks that are told a time from 1 to 0',
  'no consistency': 'it is for consistency models',
  'no minimax': 'it is for networks that are told how much of the data there is',
};

function refuse(rules: ClassRules, from: string, why: string): never {
  throw new TypeError(
    `Expected the configuration of a scheduler that ${rules.name} can take the place of but received one of ${from}: ${why}`,
  );
}

/** RangeError for options that mean nothing together. */
function checkTogether(rules: ClassRules, s: Settings): void {
  const grids = (
    ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'use_lu_lambdas', 'use_flow_sigmas'] as const
  ).filter((key) => s[key]);
  // A flow's own sigmas may be placed by another grid, but for Lu's, which is in lambda.
  if (grids.length > 1 && !(grids.length === 2 && s.use_flow_sigmas && !s.use_lu_lambdas)) {
    throw clash(`${grids[0]} true`, `${grids[1]} true`, 'each places the sigmas in its own way');
  }
  if (rules.inverse && s.algorithm_type.startsWith('sde')) {
    throw clash(
      `algorithm_type '${s.algorithm_type}'`,
      `_class_name '${rules.name}'`,
      'a reverse SDE has no steps towards noise',
    );
  }
  if (rules.edm) {
    if (s.prediction_type !== 'epsilon' && s.prediction_type !== 'v_prediction') {
      throw clash(
        `prediction_type '${s.prediction_type}'`,
        `_class_name '${rules.name}'`,
        "EDM's preconditioning has no such output",
      );
    }
    if (s.sigma_min! >= s.sigma_max!) {
      throw clash(`sigma_min ${s.sigma_min}`, `sigma_max ${s.sigma_max}`, 'the first has to be the smaller one');
    }
    return;
  }
  if (!rules.flow && s.use_flow_sigmas) {
    throw clash('use_flow_sigmas true', `_class_name '${rules.name}'`, 'it steps from one training step to another');
  }
  if (s.prediction_type === 'flow_prediction' && !s.use_flow_sigmas) {
    throw clash(
      "prediction_type 'flow_prediction'",
      'use_flow_sigmas false',
      'a flow network knows no variance-preserving noise',
    );
  }
  const count = s.trained_betas?.length;
  if (count !== undefined && count !== s.num_train_timesteps) {
    throw clash(
      `trained_betas of length ${count}`,
      `num_train_timesteps ${s.num_train_timesteps}`,
      'they have to agree',
    );
  }
  if (s.sigma_min !== null && s.sigma_max !== null && s.sigma_min >= s.sigma_max) {
    throw clash(`sigma_min ${s.sigma_min}`, `sigma_max ${s.sigma_max}`, 'the first has to be the smaller one');
  }
}

/** Two options that do not go together. @internal */
export function clash(one: string, other: string, why: string): RangeError {
  return new RangeError(`Expected options that go together but received ${one} with ${other}: ${why}`);
}

/** So many unknown keys are named, and words of at most so many letters compared: a file may have a million. */
const MOST_NAMED = 8;
const LONGEST = 40;

function warnOf(unknown: readonly string[], name: string): void {
  const words = unknown.slice(0, MOST_NAMED).map((key) => {
    const meant = key.length <= LONGEST ? Object.keys(STANDARDS).find((known) => near(key, known)) : undefined;
    return meant ? `${show(key)} (is '${meant}' meant?)` : show(key);
  });
  const more = unknown.length > MOST_NAMED ? ` and ${unknown.length - MOST_NAMED} more` : '';
  process.emitWarning(
    `${printable(name)} knows no key ${words.join(', ')}${more} of its configuration and keeps it without using it`,
  );
}

/** Do two words differ by at most two letters (added, left out or replaced), or by capitals and underscores? */
function near(a: string, b: string): boolean {
  const plain = (word: string) => word.toLowerCase().replace(/_/g, '');
  const [x, y] = [plain(a), plain(b)];
  let row = Array.from({ length: y.length + 1 }, (_, j) => j);
  for (let i = 1; i <= x.length; i++) {
    const next = [i];
    for (let j = 1; j <= y.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (x[i - 1] === y[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[y.length] <= 2;
}
