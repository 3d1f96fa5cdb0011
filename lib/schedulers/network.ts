// What the scheduler file of a model's folder says: which scheduler the folder runs, and, for DPM-Solver, the noise
// schedule of its network, what it predicts, and how its authors sample. The classes read it, so that a folder and a class
// made of its file give one answer.
import type { ModelType } from '../addon/coefficients.js';
import { show } from '../base/check.js';
import { parseConfig, type SchedulerConfig, withTraining } from '../folder/scheduler-config.js';
import { originOf, plainName, ruleOf, type Settings } from '../folder/scheduler-keys.js';
import { betas, betasForZeroTerminalSnr } from '../schedule/betas.js';
import type { SkipType } from '../schedule/grid.js';
import { NoiseSchedule } from '../schedule/noise-schedule.js';
import { DPMSolverMultistepScheduler } from './dpm-solver.js';
import { FlowMatchEulerDiscreteScheduler } from './flow-match.js';
import { classNamed, knownClass } from './from-config.js';
import { linspace } from './grids.js';
import type { Schedule } from './progress.js';
import { stepsOnly } from './request.js';
import type { Scheduler } from './scheduler.js';
import { hasEnds } from './training.js';

/** What is known of a network besides its scheduler's file. */
export interface NetworkFacts {
  /** The scheduler's class by model_index.json, which goes before the file's own. */
  readonly named?: string;
  /** The pipeline's class by model_index.json. */
  readonly pipeline?: string;
  /** What the network's own file proves that it was trained on; without it the scheduler says so. */
  readonly trained?: 'noise' | 'flow';
  /** Does the network's own file prove that it was distilled to a few steps? */
  readonly distilled?: boolean;
  /** What the folder is called, and what its files call their model: distilled networks are named for it. */
  readonly names?: readonly string[];
}

/** The sigmas of a run, from noise to data, and what the network is told at all but the last. */
export interface RunGrid {
  /** n + 1: sigma / alpha, of a flow sigma; the last may be 0. */
  readonly sigmas: readonly number[];
  /** n: labels, of a flow sigma as the label says. */
  readonly told: readonly number[];
}

/** The solver's options that a configuration gives, by the solver's names. */
export interface SamplingDefaults {
  algorithmType?: 'dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver++' | 'sde-dpmsolver';
  thresholding?: { ratio: number; maxValue: number; cap: number };
  order?: 1 | 2 | 3;
  skipType?: SkipType;
  solverType?: 'dpmsolver' | 'taylor';
  lowerOrderFinal?: boolean | number;
}

/** What the sampler has to know about a network. */
export interface Training {
  readonly schedule: NoiseSchedule;
  /** The schedule for a picture of so many tokens, where it depends on that (Flux and others: dynamic shifting). */
  readonly scheduleFor?: (tokens: number) => NoiseSchedule;
  readonly modelType: ModelType;
  /** The configuration's own sampling options, used where a call names none. */
  readonly defaults: SamplingDefaults;
  /**
   * The sigmas that DPM-Solver goes through in so many steps, as the file has them.
   *
   * @param tokens of the picture, for dynamic shifting
   * @throws RangeError for steps that the file's spacing does not have
   */
  grid(steps: number, tokens?: number): RunGrid;
}

/** The scheduler of a folder. */
export interface FolderScheduler {
  /** Its class. */
  readonly name: string;
  /** Its configuration, with what the file leaves to others: a scheduler for this network is made from it. */
  readonly config: SchedulerConfig;
  /**
   * Does the folder run its own scheduler, where nobody says otherwise? Where its network was distilled to steps of their
   * own kind, or may have been, and where DPM-Solver cannot follow it.
   */
  readonly keeps: boolean;
  /** Is it known that the network was distilled to make a few steps? */
  readonly distilled: boolean;
  /** Why DPM-Solver does not run here; undefined where it does. */
  readonly refusal: string | undefined;
  /** What there is to say where DPM-Solver runs in place of a scheduler that the folder keeps. */
  readonly caution: string | undefined;
  /** What the network was trained on. Throws the refusal of those that DPM-Solver's schedules have no place for. */
  readonly training: Training;
  /**
   * What setTimesteps takes as mu for a picture of so many tokens: linear in them (Esser et al. 2024, as Flux has it);
   * undefined without dynamic shifting.
   */
  mu(tokens: number): number | undefined;
  /** A scheduler object of the folder's own class. Throws where there is no such class here. */
  make(overrides?: SchedulerConfig): Scheduler;
}

const MODEL_TYPES = { epsilon: 'noise', sample: 'x_start', v_prediction: 'v', flow_prediction: 'flow' } as const;
/** Of Stable Diffusion 3 and Flux, for a file that says nothing of flows. */
const FLOW = { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 1000, shift: 3 } as const;
/** Pipelines of diffusers that correct what the first exports left in their scheduler's file. */
const CORRECTED = /^(?:Onnx)?StableDiffusion(?!XL|3)/;
/** Names of networks that were distilled to a few steps, by how that was done. */
const FEW_STEPS =
  /(?<![a-z])(?:sd)?(?:xl)?(?:turbo|lightning|lcm|schnell|dmd2?|sdxs|pcm|hyper-?sd(?:xl)?)(?![a-z])|latent-?consistency/i;
/** Those whose networks DPM-Solver may follow as it likes, distilled or not: their authors do. */
const SOLVERS = /^(?:DPMSolver|UniPC|DEIS|SASolver)/;
/** Where a class says nothing itself: those of Flux. */
const SHIFTS = { base_shift: 0.5, max_shift: 1.15, base_image_seq_len: 256, max_image_seq_len: 4096 };

/** DPM-Solver, with what it was made of and its schedule open. */
class Followed extends DPMSolverMultistepScheduler {
  get all(): Settings {
    return this.settings;
  }
  run(steps: number, mu: number | null): Schedule {
    return this.schedule({ ...stepsOnly(steps), mu });
  }
}

class FollowedFlow extends FlowMatchEulerDiscreteScheduler {
  run(steps: number, mu: number | null): Schedule {
    // As Flux' pipeline asks: even in time, from 1 to 1 / n, before the shift.
    return this.schedule({ ...stepsOnly(steps), sigmas: linspace(1, 1 / steps, steps), mu });
  }
}

/**
 * Reads a `scheduler_config.json`.
 *
 * @param json the parsed file
 * @param path its name, for messages
 * @throws Error that names the file and says what is wrong, in the words of the scheduler classes: values that are wrong or
 *   do not go together, a scheduler that is not known, and one of another kind than the network
 */
export function readScheduler(json: Record<string, unknown>, path: string, facts: NetworkFacts = {}): FolderScheduler {
  const inFile = <T>(read: () => T): T => {
    try {
      return read();
    } catch (cause) {
      throw new Error(`${path}: ${(cause as Error).message}`, { cause });
    }
  };
  const config = inFile(() => completed(json, facts));
  const name = plainName(String(config._class_name ?? 'DPMSolverMultistepScheduler'));
  const origin = originOf(name);
  const make = (overrides?: SchedulerConfig) => inFile(() => new (classNamed(name))(known(config), overrides));
  const named = !SOLVERS.test(name) && (facts.names ?? []).some((one) => FEW_STEPS.test(one));
  const distilled =
    origin?.distilled === true || facts.distilled === true || config.stochastic_sampling === true || named;
  const keeps = distilled || resembles(config);
  let training: Training | undefined;
  let refusal: string | undefined;
  try {
    training = trainingOf(config);
  } catch (cause) {
    const { message } = cause as Error;
    // Another kind of network is its own scheduler's; anything else is wrong for that, too.
    if (!origin || !message.startsWith('Expected the configuration of a scheduler'))
      throw new Error(`${path}: ${message}`, { cause });
    refusal = message;
    make();
    // What a distilled network was trained on stays true of it.
    if (origin.distilled && (origin.network === 'flow' || origin.network === 'noise')) {
      const like = origin.network === 'flow' ? 'FlowMatchEulerDiscreteScheduler' : 'DPMSolverMultistepScheduler';
      training = inFile(() => trainingOf({ ...config, _class_name: like }));
    }
  }
  if (training && distilled) {
    refusal = `Expected ${name}, the folder's own scheduler, for a network that was distilled to make a few steps but received another solver`;
  }
  return {
    ...{ name, config, refusal, distilled, keeps: keeps || refusal !== undefined },
    caution:
      keeps && refusal === undefined
        ? `The folder's scheduler, ${name} with trailing timesteps, is one that networks of a few steps have: another solver may not suit the network`
        : undefined,
    mu: (tokens) => inFile(() => muOf(config, tokens)),
    make,
    get training() {
      if (training) return training;
      throw new Error(`${path}: ${refusal}`);
    },
  };
}

/** The file with what model_index.json, the network's own file and the class that it names say. */
function completed(json: Record<string, unknown>, facts: NetworkFacts): Record<string, unknown> {
  const { named, trained, pipeline } = facts;
  const own = parseConfig(json, 'the scheduler configuration');
  const name = named ?? own._class_name;
  if (name !== undefined && name !== null && typeof name !== 'string') {
    throw new TypeError(`Expected a string for _class_name but received ${show(name)}`);
  }
  let config: Record<string, unknown> = withTraining(name ? { ...own, _class_name: name } : own);
  const origin = name ? originOf(name) : undefined;
  const flows =
    origin?.network === 'flow' || config.use_flow_sigmas === true || config.prediction_type === 'flow_prediction';
  if (trained === 'flow' && !flows && (!name || origin?.network === 'noise')) {
    // What the network is, it is; of the file only the shift is of use.
    const { shift, flow_shift } = own;
    return { ...FLOW, ...((shift ?? flow_shift) ? { shift: shift ?? flow_shift } : {}) };
  }
  if (trained === 'noise' && flows) {
    throw new TypeError(
      `Expected the scheduler of a network trained on noise, as that of the folder is, but received ${name ? show(name) : 'one for flows'}`,
    );
  }
  if (pipeline && CORRECTED.test(pipeline) && name) config = corrected(config);
  return config;
}

/** As diffusers' pipelines do when they are made: files of its first versions lack one and have the other. */
function corrected(config: Record<string, unknown>): Record<string, unknown> {
  const Class = knownClass(plainName(String(config._class_name)));
  if (!Class) return config;
  const { defaults } = (Class as unknown as typeof Scheduler).rules;
  const { steps_offset: offset = defaults.steps_offset, clip_sample: clips = defaults.clip_sample } = config;
  return {
    ...config,
    ...(offset === undefined || offset === 1 ? {} : { steps_offset: 1 }),
    ...(clips === true ? { clip_sample: false } : {}),
  };
}

/**
 * Is it as SD Turbo's and SDXL Turbo's, Euler from the last training step down, of a network that predicts noise where there
 * is some of the data left? Others have the like, so that it proves nothing.
 */
function resembles(config: Record<string, unknown>): boolean {
  const { _class_name: name, timestep_spacing: spacing, prediction_type: type = 'epsilon' } = config;
  if (name !== 'EulerDiscreteScheduler' && name !== 'EulerAncestralDiscreteScheduler') return false;
  return spacing === 'trailing' && type === 'epsilon' && config.rescale_betas_zero_snr !== true;
}

/** Only what the table has: of others nobody need be warned at every loading. */
function known(config: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([key]) => ruleOf(key)));
}

/**
 * The mu of a picture of so many tokens for a configuration with dynamic shifting; undefined without.
 *
 * @internal
 */
export function muOf(config: Readonly<Record<string, unknown>>, tokens: number): number | undefined {
  if (config.use_dynamic_shifting !== true) return undefined;
  const of = (key: keyof typeof SHIFTS): number => {
    const value = config[key] ?? SHIFTS[key];
    if (typeof value === 'number' && value > 0 && value < Infinity) return value;
    throw new RangeError(`Expected a positive number for ${key} but received ${show(value)}`);
  };
  const [low, high, from, to] = (['base_shift', 'max_shift', 'base_image_seq_len', 'max_image_seq_len'] as const).map(
    of,
  );
  return low + ((high - low) * (tokens - from)) / (to - from);
}

function trainingOf(config: Record<string, unknown>): Training {
  const solver = new Followed(known(config));
  const s = solver.all;
  const modelType = MODEL_TYPES[s.prediction_type];
  const ofFlows = originOf(String(config._class_name))?.network === 'flow';
  const flow = ofFlows ? new FollowedFlow(known(config)) : null;
  const { use_dynamic_shifting: dynamic, num_train_timesteps: n } = s;
  const shift = (tokens: number) => {
    const mu = muOf(config, tokens)!;
    return NoiseSchedule.flow({ shift: s.time_shift_type === 'linear' ? mu : Math.exp(mu) });
  };
  if (dynamic && s.use_flow_sigmas) shift(SHIFTS.base_image_seq_len);
  const schedule = s.use_flow_sigmas ? NoiseSchedule.flow({ shift: s.flow_shift }) : discrete(s);
  return {
    schedule,
    ...(dynamic && s.use_flow_sigmas ? { scheduleFor: shift } : {}),
    modelType,
    defaults: samplingOf(s),
    grid(steps, tokens) {
      const mu = dynamic && tokens !== undefined ? (muOf(config, tokens) ?? null) : null;
      const { timesteps, sigmas } = (flow ?? solver).run(steps, mu);
      return {
        sigmas: falling(sigmas),
        told: s.use_flow_sigmas ? timesteps.map((t) => t / n) : timesteps,
      };
    },
  };
}

/** A last sigma that repeats the one before is a step of length 0: of hardly any, so that times differ. */
function falling(sigmas: Float32Array): number[] {
  const all = Array.from(sigmas);
  for (let i = 1; i < all.length; i++) if (all[i] >= all[i - 1]) all[i] = all[i - 1] * (1 - 2 ** -24);
  return all;
}

function discrete(s: Settings): NoiseSchedule {
  const own = s.trained_betas ?? untrained(s);
  if (s.rescale_betas_zero_snr) return NoiseSchedule.discrete({ betas: betasForZeroTerminalSnr(own), clip: false });
  // Of what a file may ask for, this is what every file asks for.
  return NoiseSchedule.discrete({ betas: own, clip: s.lambda_min_clipped > -Infinity ? 'tail' : false });
}

function untrained(s: Settings) {
  const { beta_schedule: name, num_train_timesteps: n, beta_start: start, beta_end: end } = s;
  return betas(name, n, hasEnds(s) ? { start, end } : {});
}

function samplingOf(s: Settings): SamplingDefaults {
  const skipType = skipTypeOf(s);
  const ends = s.euler_at_final && s.final_sigmas_type === 'sigma_min';
  return {
    algorithmType: s.algorithm_type as SamplingDefaults['algorithmType'],
    order: s.solver_order,
    solverType: s.solver_type === 'heun' ? 'taylor' : 'dpmsolver',
    // diffusers lowers the order at the end below 15 steps; where the end is sigma 0, it falls by itself.
    lowerOrderFinal: ends ? Infinity : s.lower_order_final ? 15 : false,
    ...(skipType ? { skipType } : {}),
    // As the class has it: the quantile, but at least 1 and at most sample_max_value.
    ...(s.thresholding
      ? { thresholding: { ratio: s.dynamic_thresholding_ratio, maxValue: 1, cap: s.sample_max_value } }
      : {}),
  };
}

/** For a run that is not the file's own grid; where lambda is infinite at an end it has none in lambda. */
function skipTypeOf(s: Settings): SkipType | undefined {
  if (s.use_flow_sigmas || s.rescale_betas_zero_snr) return undefined;
  if (s.use_exponential_sigmas || s.use_lu_lambdas) return 'logSNR';
  if (s.use_beta_sigmas) return 'beta';
  return s.use_karras_sigmas ? 'karras' : undefined;
}
