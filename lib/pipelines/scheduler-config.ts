// What a pipeline's scheduler_config.json says about the network: its noise schedule, what it predicts, and how its
// authors sample from it.
import { list, show } from '../base/check.js';
import type { SampleOptions, SolverOptions } from '../dpm-solver.js';
import { type BetaSchedule, betas, betasForZeroTerminalSnr } from '../schedule/betas.js';
import { NoiseSchedule } from '../schedule/noise-schedule.js';

/** What the sampler has to know about a network. */
export interface Training {
  schedule: NoiseSchedule;
  /** The schedule for a picture of so many tokens, where it depends on that (Flux and others: dynamic shifting). */
  scheduleFor?: (tokens: number) => NoiseSchedule;
  modelType: NonNullable<SolverOptions['modelType']>;
  /** The configuration's own sampling options, used where a call names none. */
  defaults: Pick<SolverOptions, 'algorithmType' | 'thresholding'> &
    Pick<SampleOptions, 'order' | 'skipType' | 'solverType' | 'lowerOrderFinal'>;
}

const modelTypes = { epsilon: 'noise', sample: 'x_start', v_prediction: 'v', flow_prediction: 'flow' } as const;
const betaNames = ['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const;
/** A thousand times what networks are trained with; more is a mistake, and would take all memory. */
const MOST_TIMESTEPS = 1e6;
const algorithms = ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver'] as const;
const solverTypes = { midpoint: 'dpmsolver', heun: 'taylor' } as const;

/**
 * Reads a `scheduler_config.json` as diffusers writes it. Keys that only concern diffusers' own step loop are ignored.
 *
 * @param json the parsed file
 * @param path its name, for messages
 * @throws Error that names the file and the key when a value is missing or not known
 */
export function readTraining(json: Record<string, unknown>, path: string): Training {
  const name = json._class_name;
  // Consistency models, discrete tokens, and networks that are preconditioned in sigma.
  if (typeof name === 'string' && /LCM|TCD|VQ|ScoreSde|CMStochastic|UnCLIP|^EDM/.test(name)) {
    throw new Error(`${path} is of ${show(name)}, whose networks are not evaluated as DPM-Solver does`);
  }
  const isFlow = typeof name === 'string' && name.startsWith('FlowMatch');
  const prediction = json.prediction_type ?? (isFlow ? 'flow_prediction' : 'epsilon');
  const modelType = modelTypes[prediction as keyof typeof modelTypes];
  if (modelType === undefined) throw unknown('prediction_type', prediction, Object.keys(modelTypes));
  const algorithm = json.algorithm_type;
  const order = json.solver_order;
  return {
    schedule: modelType === 'flow' ? flowSchedule() : discreteSchedule(),
    ...(modelType === 'flow' && json.use_dynamic_shifting === true ? { scheduleFor: dynamicSchedule() } : {}),
    modelType,
    defaults: {
      ...(algorithms.includes(algorithm as never) ? { algorithmType: algorithm as (typeof algorithms)[number] } : {}),
      ...(order === 1 || order === 2 || order === 3 ? { order } : {}),
      ...(json.use_karras_sigmas === true ? { skipType: 'karras' as const } : {}),
      ...(json.use_beta_sigmas === true ? { skipType: 'beta' as const } : {}),
      ...(json.use_exponential_sigmas === true || json.use_lu_lambdas === true ? { skipType: 'logSNR' as const } : {}),
      ...(Object.hasOwn(solverTypes, String(json.solver_type))
        ? { solverType: solverTypes[json.solver_type as keyof typeof solverTypes] }
        : {}),
      ...lastStep(),
      ...(json.thresholding === true ? { thresholding: thresholding() } : {}),
    },
  };

  function flowSchedule(): NoiseSchedule {
    return NoiseSchedule.flow({ shift: positive('flow_shift', json.flow_shift ?? json.shift ?? 1) });
  }

  /** mu is linear in the number of tokens, and the shift is e^mu (Esser et al. 2024, as Flux has it). */
  function dynamicSchedule(): (tokens: number) => NoiseSchedule {
    const from = positive('base_image_seq_len', json.base_image_seq_len ?? 256);
    const to = positive('max_image_seq_len', json.max_image_seq_len ?? 4096);
    const low = positive('base_shift', json.base_shift ?? 0.5);
    const high = positive('max_shift', json.max_shift ?? 1.15);
    const type = json.time_shift_type ?? 'exponential';
    if (type !== 'exponential' && type !== 'linear') throw unknown('time_shift_type', type, ['exponential', 'linear']);
    return (tokens) => {
      const mu = low + ((high - low) * (tokens - from)) / (to - from);
      return NoiseSchedule.flow({ shift: type === 'linear' ? mu : Math.exp(mu) });
    };
  }

  function discreteSchedule(): NoiseSchedule {
    let sequence: ArrayLike<number>;
    const trained = json.trained_betas ?? undefined;
    if (trained !== undefined) {
      if (!Array.isArray(trained)) {
        throw new Error(`Expected numbers for trained_betas in ${path} but found ${show(trained)}`);
      }
      sequence = trained as number[];
    } else {
      const name = json.beta_schedule ?? 'linear';
      if (!betaNames.includes(name as BetaSchedule)) throw unknown('beta_schedule', name, betaNames);
      const n = positive('num_train_timesteps', json.num_train_timesteps ?? 1000);
      if (!(Number.isInteger(n) && n <= MOST_TIMESTEPS)) {
        throw new Error(
          `Expected a whole number from 1 to ${MOST_TIMESTEPS} for num_train_timesteps in ${path} but found ${n}`,
        );
      }
      // diffusers' defaults for its DPM-Solver classes, which are those of DDPM whatever the sequence.
      const start = positive('beta_start', json.beta_start ?? 0.0001);
      const end = positive('beta_end', json.beta_end ?? 0.02);
      try {
        sequence = betas(name as BetaSchedule, n, name === 'squaredcos_cap_v2' ? {} : { start, end });
      } catch (cause) {
        throw new Error(`${path}: ${(cause as Error).message}`, { cause });
      }
    }
    try {
      if (json.rescale_betas_zero_snr !== true) return NoiseSchedule.discrete({ betas: sequence });
      return NoiseSchedule.discrete({ betas: betasForZeroTerminalSnr(sequence), clip: false });
    } catch (cause) {
      throw new Error(`${path}: ${(cause as Error).message}`, { cause });
    }
  }

  /** Diffusers lowers the order at the end below 15 steps, and always where it is told to or where the end is sigma 0. */
  function lastStep(): Pick<SampleOptions, 'lowerOrderFinal'> {
    if (json.euler_at_final === true || json.final_sigmas_type === 'zero') return { lowerOrderFinal: Infinity };
    if (typeof json.lower_order_final !== 'boolean') return {};
    return { lowerOrderFinal: json.lower_order_final ? 15 : false };
  }

  function thresholding(): { ratio: number; maxValue: number } {
    return {
      ratio: positive('dynamic_thresholding_ratio', json.dynamic_thresholding_ratio ?? 0.995),
      maxValue: positive('sample_max_value', json.sample_max_value ?? 1),
    };
  }

  function positive(key: string, value: unknown): number {
    if (typeof value === 'number' && value > 0 && value < Infinity) return value;
    throw new Error(`Expected a positive number for ${key} in ${path} but found ${show(value)}`);
  }

  function unknown(key: string, value: unknown, known: readonly string[]): Error {
    return new Error(`Expected ${list(known, 'or')} for ${key} in ${path} but found ${show(value)}`);
  }
}
