// What a pipeline's scheduler_config.json says about the network: its noise schedule, what it predicts, and how its
// authors sample from it.
import type { ModelType } from '../addon/coefficients.js';
import { show } from '../base/check.js';
import { type BetaSchedule, betas, betasForZeroTerminalSnr } from '../schedule/betas.js';
import type { SkipType } from '../schedule/grid.js';
import { NoiseSchedule } from '../schedule/noise-schedule.js';
import { type Reader, settingsOf } from './scheduler-config.js';
import { KEYS, originOf, type Settings } from './scheduler-keys.js';

/** What the sampler has to know about a network. */
export interface Training {
  schedule: NoiseSchedule;
  /** The schedule for a picture of so many tokens, where it depends on that (Flux and others: dynamic shifting). */
  scheduleFor?: (tokens: number) => NoiseSchedule;
  modelType: ModelType;
  /** The configuration's own sampling options, used where a call names none. */
  defaults: SamplingDefaults;
}

/** The solver's options that a configuration may give, by the solver's names. */
export interface SamplingDefaults {
  algorithmType?: 'dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver++' | 'sde-dpmsolver';
  thresholding?: { ratio: number; maxValue: number };
  order?: 1 | 2 | 3;
  skipType?: SkipType;
  solverType?: 'dpmsolver' | 'taylor';
  lowerOrderFinal?: boolean | number;
}

/** What a pipeline heeds of a configuration: some settings, and how a flow's shift depends on the picture's size. */
type Given = Partial<Settings> & {
  shift?: number;
  base_shift?: number;
  max_shift?: number;
  base_image_seq_len?: number;
  max_image_seq_len?: number;
};

const modelTypes = { epsilon: 'noise', sample: 'x_start', v_prediction: 'v', flow_prediction: 'flow' } as const;
const solverTypes: Partial<Record<Settings['solver_type'], 'dpmsolver' | 'taylor'>> = {
  midpoint: 'dpmsolver',
  heun: 'taylor',
};

/**
 * Reads a `scheduler_config.json` as diffusers writes it. Keys that only concern diffusers' own step loop are ignored.
 *
 * @param json the parsed file
 * @param path its name, for messages
 * @throws Error that names the file and the key when a value is missing or not known
 */
export function readTraining(json: Record<string, unknown>, path: string): Training {
  const { _class_name: name } = json;
  const origin = typeof name === 'string' ? originOf(name) : { network: 'noise' as const };
  if (!origin || origin.distilled || (origin.network !== 'noise' && origin.network !== 'flow')) {
    throw new Error(`${path} is of ${show(name)}, whose networks are not evaluated as DPM-Solver does`);
  }
  const kind = origin.network;
  const own = (flow: boolean): Reader => ({
    read(key, value, { inFolder: rule }) {
      if (!rule || value === undefined || value === null || rule.when?.(json, flow) === false) return undefined;
      if (rule.takes(value)) return value;
      if (rule.expected === undefined) return undefined;
      throw new Error(`Expected ${rule.expected} for ${key} in ${path} but found ${show(value)}`);
    },
  });
  const prediction = own(false).read('prediction_type', json.prediction_type, KEYS.prediction_type);
  const modelType =
    modelTypes[(prediction as Settings['prediction_type']) ?? (kind === 'flow' ? 'flow_prediction' : 'epsilon')];
  const given = settingsOf(json, own(modelType === 'flow')) as Given;
  const named = <T>(make: () => T): T => {
    try {
      return make();
    } catch (cause) {
      throw new Error(`${path}: ${(cause as Error).message}`, { cause });
    }
  };
  return {
    schedule: modelType === 'flow' ? flowSchedule(given) : named(() => discreteSchedule(given)),
    ...(given.use_dynamic_shifting ? { scheduleFor: dynamicSchedule(given) } : {}),
    modelType,
    defaults: samplingOf(given),
  };
}

function flowSchedule({ flow_shift, shift }: Given): NoiseSchedule {
  return NoiseSchedule.flow({ shift: flow_shift ?? shift ?? 1 });
}

/** mu is linear in the number of tokens, and the shift is e^mu (Esser et al. 2024, as Flux has it). */
function dynamicSchedule(given: Given): (tokens: number) => NoiseSchedule {
  const { base_image_seq_len: from = 256, max_image_seq_len: to = 4096, base_shift: low = 0.5 } = given;
  const { max_shift: high = 1.15, time_shift_type: type = 'exponential' } = given;
  return (tokens) => {
    const mu = low + ((high - low) * (tokens - from)) / (to - from);
    return NoiseSchedule.flow({ shift: type === 'linear' ? mu : Math.exp(mu) });
  };
}

function discreteSchedule(given: Given): NoiseSchedule {
  const sequence = given.trained_betas ?? untrainedBetas(given);
  if (!given.rescale_betas_zero_snr) return NoiseSchedule.discrete({ betas: sequence });
  return NoiseSchedule.discrete({ betas: betasForZeroTerminalSnr(sequence), clip: false });
}

function untrainedBetas(given: Given): ArrayLike<number> {
  const { beta_schedule: name = 'linear', num_train_timesteps: n = 1000 } = given;
  // diffusers' defaults for its DPM-Solver classes, which are those of DDPM whatever the sequence.
  const { beta_start: start = 0.0001, beta_end: end = 0.02 } = given;
  return betas(name as BetaSchedule, n, name === 'squaredcos_cap_v2' ? {} : { start, end });
}

function samplingOf(given: Given): SamplingDefaults {
  const { algorithm_type: algorithm, solver_order: order, solver_type: type, thresholding } = given;
  const solverType = type && solverTypes[type];
  const skipType = skipTypeOf(given);
  return {
    ...(algorithm ? { algorithmType: algorithm as SamplingDefaults['algorithmType'] } : {}),
    ...(order ? { order } : {}),
    ...(skipType ? { skipType } : {}),
    ...(solverType ? { solverType } : {}),
    ...lastStep(given),
    ...(thresholding
      ? { thresholding: { ratio: given.dynamic_thresholding_ratio ?? 0.995, maxValue: given.sample_max_value ?? 1 } }
      : {}),
  };
}

function skipTypeOf(given: Given): SkipType | undefined {
  if (given.use_exponential_sigmas || given.use_lu_lambdas) return 'logSNR';
  if (given.use_beta_sigmas) return 'beta';
  return given.use_karras_sigmas ? 'karras' : undefined;
}

/** Diffusers lowers the order at the end below 15 steps, and always where it is told to or where the end is sigma 0. */
function lastStep(given: Given): Pick<SamplingDefaults, 'lowerOrderFinal'> {
  if (given.euler_at_final || given.final_sigmas_type === 'zero') return { lowerOrderFinal: Infinity };
  if (given.lower_order_final === undefined) return {};
  return { lowerOrderFinal: given.lower_order_final ? 15 : false };
}
