// scheduler_config.json: which keys there are, what may stand in them, and what becomes of another scheduler's.
import { finiteNumber, numbers, oneOf, outOfRange, positiveNumber, wholeNumber, wrongType } from '../base/check.js';

/** The keys that the schedulers here read, as diffusers writes them. */
export interface Settings {
  num_train_timesteps: number;
  beta_start: number;
  beta_end: number;
  beta_schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
  trained_betas: ArrayLike<number> | null;
  rescale_betas_zero_snr: boolean;
  prediction_type: 'epsilon' | 'sample' | 'v_prediction' | 'flow_prediction';
  variance_type: string | null;
  thresholding: boolean;
  dynamic_thresholding_ratio: number;
  sample_max_value: number;
  clip_sample: boolean;
  clip_sample_range: number;
  solver_order: 1 | 2 | 3;
  algorithm_type: 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++' | 'deis';
  solver_type: 'midpoint' | 'heun' | 'logrho' | 'bh1' | 'bh2';
  lower_order_final: boolean;
  euler_at_final: boolean;
  final_sigmas_type: 'zero' | 'sigma_min';
  use_karras_sigmas: boolean;
  use_exponential_sigmas: boolean;
  use_beta_sigmas: boolean;
  use_lu_lambdas: boolean;
  use_flow_sigmas: boolean;
  flow_shift: number;
  use_dynamic_shifting: boolean;
  time_shift_type: 'exponential' | 'linear';
  shift_terminal: number | null;
  timestep_spacing: 'linspace' | 'leading' | 'trailing';
  steps_offset: number;
  lambda_min_clipped: number;
  predict_x0: boolean;
  disable_corrector: ArrayLike<number>;
  set_alpha_to_one: boolean;
  skip_prk_steps: boolean;
  sigma_min: number | null;
  sigma_max: number | null;
  sigma_data: number;
  sigma_schedule: 'karras' | 'exponential';
  rho: number;
}

/** A configuration as it stands in scheduler_config.json: diffusers' keys, and any others. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/** What a class makes of the keys. */
export interface ClassRules {
  readonly name: string;
  /** Its keys and their defaults, as in diffusers. */
  readonly defaults: Partial<Settings>;
  /** Can it follow a network that was trained with flow matching? */
  readonly flow: boolean;
  /** Does it expect a network with the preconditioning of EDM? */
  readonly edm?: boolean;
  /** Does it go towards noise? */
  readonly inverse?: boolean;
  /** Values that other classes write and this one has another word for. */
  readonly synonyms?: Partial<Record<keyof Settings, Readonly<Record<string, string>>>>;
  /** The values that it takes, where these are not all of them. */
  readonly choices?: Partial<Record<keyof Settings, readonly string[]>>;
}

/** Keys of training, which every class but EDM's has. @internal */
export const TRAINING_DEFAULTS = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
} as const;

/** What holds where a class has no such key. */
const COMMON: Settings = {
  ...TRAINING_DEFAULTS,
  rescale_betas_zero_snr: false,
  prediction_type: 'epsilon',
  variance_type: null,
  thresholding: false,
  dynamic_thresholding_ratio: 0.995,
  sample_max_value: 1,
  clip_sample: false,
  clip_sample_range: 1,
  solver_order: 2,
  algorithm_type: 'dpmsolver++',
  solver_type: 'midpoint',
  lower_order_final: true,
  euler_at_final: false,
  final_sigmas_type: 'zero',
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  use_lu_lambdas: false,
  use_flow_sigmas: false,
  flow_shift: 1,
  use_dynamic_shifting: false,
  time_shift_type: 'exponential',
  shift_terminal: null,
  timestep_spacing: 'linspace',
  steps_offset: 0,
  lambda_min_clipped: -Infinity,
  predict_x0: true,
  disable_corrector: [],
  set_alpha_to_one: false,
  skip_prk_steps: false,
  sigma_min: null,
  sigma_max: null,
  sigma_data: 0.5,
  sigma_schedule: 'karras',
  rho: 7,
};

/** Keys of diffusers' schedulers that mean nothing to the classes here: they are kept, and no one is warned. */
const OTHER_KEYS = new Set(
  [
    '_class_name _diffusers_version _use_default_values _name_or_path solver_p interpolation_type timestep_type',
    'shift base_shift max_shift base_image_seq_len max_image_seq_len invert_sigmas stochastic_sampling',
    'timestep_scaling original_inference_steps predict_epsilon eta s_churn s_noise tau_func predictor_order',
    'corrector_order skip_type noise_sampler_seed use_tau',
  ].flatMap((line) => line.split(' ')),
);

const bool = (value: unknown, key: string) => oneOf(value, key, [true, false]);
const choice =
  (...choices: string[]) =>
  (value: unknown, key: string) =>
    oneOf(value, key, choices);
const optional = (check: (value: unknown, key: string) => unknown) => (value: unknown, key: string) =>
  value === null ? value : check(value, key);

function unitInterval(value: unknown, key: string): void {
  const x = finiteNumber(value, key);
  if (!(x > 0 && x < 1)) throw outOfRange('a number between 0 and 1', key, x);
}

const CHECKS: Record<keyof Settings, (value: unknown, key: string) => unknown> = {
  num_train_timesteps: (value, key) => wholeNumber(value, key, 2),
  beta_start: unitInterval,
  beta_end: unitInterval,
  beta_schedule: choice('linear', 'scaled_linear', 'squaredcos_cap_v2'),
  trained_betas: optional((value, key) => {
    const list = numbers(value, key);
    if (list.length < 2) throw outOfRange('at least two numbers', key, list.length);
    for (const [i, x] of list.entries()) {
      if (!(x > 0 && x <= 1)) throw outOfRange('numbers above 0 and at most 1', `${key}[${i}]`, x);
    }
  }),
  rescale_betas_zero_snr: bool,
  prediction_type: choice('epsilon', 'sample', 'v_prediction', 'flow_prediction'),
  variance_type: optional((value, key) => {
    if (typeof value !== 'string') throw wrongType('a string or null', key, value);
  }),
  thresholding: bool,
  dynamic_thresholding_ratio: (value, key) => {
    const x = finiteNumber(value, key);
    if (!(x >= 0 && x <= 1)) throw outOfRange('a number from 0 to 1', key, x);
  },
  sample_max_value: positiveNumber,
  clip_sample: bool,
  clip_sample_range: positiveNumber,
  solver_order: (value, key) => wholeNumber(value, key, 1, 3),
  algorithm_type: choice('dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++', 'deis'),
  solver_type: choice('midpoint', 'heun', 'logrho', 'bh1', 'bh2'),
  lower_order_final: bool,
  euler_at_final: bool,
  final_sigmas_type: choice('zero', 'sigma_min'),
  use_karras_sigmas: bool,
  use_exponential_sigmas: bool,
  use_beta_sigmas: bool,
  use_lu_lambdas: bool,
  use_flow_sigmas: bool,
  flow_shift: positiveNumber,
  use_dynamic_shifting: bool,
  time_shift_type: choice('exponential', 'linear'),
  shift_terminal: optional(unitInterval),
  timestep_spacing: choice('linspace', 'leading', 'trailing'),
  steps_offset: (value, key) => wholeNumber(value, key, 0),
  lambda_min_clipped: (value, key) => {
    if (typeof value !== 'number') throw wrongType('a number', key, value);
    if (Number.isNaN(value) || value === Infinity) throw outOfRange('a number below Infinity', key, value);
  },
  predict_x0: bool,
  disable_corrector: (value, key) => {
    for (const [i, x] of numbers(value, key).entries()) wholeNumber(x, `${key}[${i}]`, 0);
  },
  set_alpha_to_one: bool,
  skip_prk_steps: bool,
  sigma_min: optional(positiveNumber),
  sigma_max: optional(positiveNumber),
  sigma_data: positiveNumber,
  sigma_schedule: choice('karras', 'exponential'),
  rho: positiveNumber,
};

/** Schedulers on variance-preserving training steps, whose networks any of ours but EDM's can follow. */
const DISCRETE = new Set(
  [
    'DPMSolverMultistep DPMSolverSinglestep DPMSolverMultistepInverse UniPCMultistep DEISMultistep DDIM DDIMInverse',
    'DDIMParallel DDPM DDPMParallel PNDM EulerDiscrete EulerAncestralDiscrete HeunDiscrete LMSDiscrete KDPM2Discrete',
    'KDPM2AncestralDiscrete DPMSolverSDE SASolver',
  ]
    .flatMap((line) => line.split(' '))
    .map((name) => `${name}Scheduler`),
);
const FLOW = new Set(['FlowMatchEulerDiscreteScheduler', 'FlowMatchHeunDiscreteScheduler']);
const EDM = new Set(['EDMDPMSolverMultistepScheduler', 'EDMEulerScheduler']);
/** Schedulers of networks that were distilled to make a few steps of their own kind. */
const DISTILLED = new Set(['LCMScheduler', 'TCDScheduler', 'CMStochasticIterativeScheduler']);

/** Parses scheduler_config.json, given as an object or as text: Python writes -Infinity there. @internal */
export function parseConfig(json: unknown, name: string): Record<string, unknown> {
  let value = json;
  if (typeof json === 'string') {
    try {
      value = JSON.parse(json.replace(/:\s*-Infinity\b/g, ': "-Infinity"'));
    } catch {
      throw new TypeError(`Expected an object or JSON text for ${name} but received text that is not JSON`);
    }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType('an object', name, value);
  }
  // What is undefined is absent.
  return Object.fromEntries(Object.entries(value).filter((entry) => entry[1] !== undefined));
}

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
  const settings: Settings = { ...COMMON, ...rules.defaults };
  const unknown: string[] = [];
  for (const [key, value] of Object.entries(merged)) {
    if (!Object.hasOwn(CHECKS, key)) {
      if (!OTHER_KEYS.has(key)) unknown.push(key);
      continue;
    }
    const known = key as keyof Settings;
    const checked = inOwnWords(rules, known, value);
    merged[key] = checked;
    CHECKS[known](checked, key);
    const choices = rules.choices?.[known];
    if (choices) oneOf(checked as string, `${key} of ${rules.name}`, choices);
    (settings as unknown as Record<string, unknown>)[key] = checked;
  }
  if (merged.solver_p !== undefined && merged.solver_p !== null) {
    throw new TypeError(`Expected null for solver_p of ${rules.name} but received another scheduler`);
  }
  checkTogether(rules, settings);
  if (unknown.length > 0) warnOf(unknown, rules.name);
  const defaults = Object.freeze(Object.keys(rules.defaults).filter((key) => !Object.hasOwn(merged, key)));
  const config = Object.freeze({
    ...rules.defaults,
    ...merged,
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
  if (value === null) return rules.defaults[key] ?? COMMON[key];
  if (key === 'lambda_min_clipped' && (value === '-Infinity' || value === '-inf')) return -Infinity;
  const synonym = typeof value === 'string' ? rules.synonyms?.[key] : undefined;
  return synonym && Object.hasOwn(synonym, value as string) ? synonym[value as string] : value;
}

/** Another scheduler's configuration as one of the class. */
function translate(rules: ClassRules, given: Record<string, unknown>): Record<string, unknown> {
  const from = given._class_name;
  if (from === undefined || from === null) {
    if (given.original_inference_steps !== undefined) refuseDistilled(rules, 'LCMScheduler');
    return given;
  }
  if (typeof from !== 'string') throw wrongType('a string', '_class_name', from);
  if (from === rules.name) return given;
  if (DISTILLED.has(from)) refuseDistilled(rules, from);
  if (FLOW.has(from)) {
    if (!rules.flow) refuse(rules, from, 'it has no form for networks trained with flow matching');
    if (given.invert_sigmas === true) refuse(rules, from, 'invert_sigmas turns its time round');
    return {
      prediction_type: 'flow_prediction',
      use_flow_sigmas: true,
      ...(given.shift === undefined || given.shift === null ? {} : { flow_shift: given.shift }),
      ...given,
    };
  }
  if (EDM.has(from) !== (rules.edm === true)) {
    const why = rules.edm
      ? 'it is for networks with the preconditioning of EDM'
      : 'its network is preconditioned as EDM';
    refuse(rules, from, why);
  }
  if (given.timestep_type === 'continuous')
    refuse(rules, from, 'its network is told log sigma and not a training step');
  if (!DISCRETE.has(from) && !EDM.has(from)) refuse(rules, from, 'how its network was trained is not known');
  return given;
}

function refuseDistilled(rules: ClassRules, from: string): never {
  refuse(rules, from, 'its network was distilled for steps of its own kind');
}

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
  // Karras et al.'s spacing is used for flows too, in sigma / alpha.
  if (grids.length > 1 && !(grids.length === 2 && s.use_karras_sigmas && s.use_flow_sigmas)) {
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

function warnOf(unknown: readonly string[], name: string): void {
  const words = unknown.map((key) => {
    const meant = Object.keys(CHECKS).find((known) => near(key, known));
    return meant ? `'${key}' (is '${meant}' meant?)` : `'${key}'`;
  });
  process.emitWarning(`${name} knows no key ${words.join(', ')} of its configuration and keeps it without using it`);
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
