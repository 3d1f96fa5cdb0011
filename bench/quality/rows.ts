// The solvers that bench/quality compares, each as a loop that asks for one network evaluation at a time.
import { DPMSolver, type NoiseSchedule, type SampleOptions, type SolverOptions, type Tensor } from '../../lib/index.js';
import {
  DEISMultistepScheduler,
  PNDMScheduler,
  type SchedulerClass,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';

/** What a loop needs to know of the network. */
export interface Network {
  schedule: NoiseSchedule;
  modelType: NonNullable<SolverOptions['modelType']>;
  /** scheduler_config.json. */
  config: Readonly<Record<string, unknown>>;
}

/** `x` and the result hold B pictures (`x` twice, under guidance); `advance` takes as many as `x` has. */
export interface Loop {
  readonly done: boolean;
  readonly x: Tensor;
  readonly t: number;
  advance(output: Tensor): void;
  readonly result: Tensor;
}

type Own = Pick<SolverOptions, 'algorithmType' | 'thresholding'> &
  Pick<SampleOptions, 'order' | 'method' | 'lowerOrderFinal' | 'skipType'>;

export interface Row {
  id: string;
  name: string;
  /** Options of the solver, or of a scheduler's class: a finished cell counts only as long as they are the same. */
  options: Own | { scheduler: 'PNDM' | 'DEIS' | 'UniPC'; [key: string]: unknown };
}

/** Below so many steps the last one is of order 1: always. Published is below 10. */
const LOW_END = 1001;

/**
 * These rows go evenly through the time, from the noisiest training step to the first one, in `steps` evaluations. The
 * multistep schedulers' labels are those of the solver's grid, rounded to whole training steps. PNDM, whose first step
 * takes two evaluations, has its own evenly spaced labels and makes one step less. The last step of 2M and 3M is of
 * order 1, as models/shapes and most configurations ask for; '2m-published' has it only below 10 evaluations.
 */
export const ROWS: readonly Row[] = [
  { id: 'ddim', name: 'DDIM', options: { algorithmType: 'dpmsolver++', order: 1 } },
  { id: 'pndm', name: 'PNDM', options: { scheduler: 'PNDM', skip_prk_steps: true, timestep_spacing: 'trailing' } },
  { id: 'deis-2', name: 'DEIS-2', options: { scheduler: 'DEIS', solver_order: 3 } },
  { id: 'dpm-2', name: 'DPM-Solver-2', options: { algorithmType: 'dpmsolver', order: 2, method: 'singlestep' } },
  { id: 'dpm-3', name: 'DPM-Solver-3', options: { algorithmType: 'dpmsolver', order: 3, method: 'singlestep' } },
  { id: '2s', name: 'DPM-Solver++(2S)', options: { algorithmType: 'dpmsolver++', order: 2, method: 'singlestep' } },
  { id: '2m', name: 'DPM-Solver++(2M)', options: { algorithmType: 'dpmsolver++', order: 2, lowerOrderFinal: LOW_END } },
  { id: '3m', name: 'DPM-Solver++(3M)', options: { algorithmType: 'dpmsolver++', order: 3, lowerOrderFinal: LOW_END } },
  { id: 'unipc-2', name: 'UniPC-2', options: { scheduler: 'UniPC', solver_order: 2, final_sigmas_type: 'sigma_min' } },
];

/** Further rows, each for one question. */
export const EXTRA_ROWS: readonly Row[] = [
  {
    id: 'ddim-thresholding',
    name: 'DDIM, thresholding',
    options: { algorithmType: 'dpmsolver++', order: 1, thresholding: true },
  },
  {
    id: '2m-thresholding',
    name: 'DPM-Solver++(2M), thresholding',
    options: { algorithmType: 'dpmsolver++', order: 2, lowerOrderFinal: LOW_END, thresholding: true },
  },
  {
    id: '2m-published',
    name: 'DPM-Solver++(2M), as published',
    options: { algorithmType: 'dpmsolver++', order: 2 },
  },
  ...(['logSNR', 'karras'] as const).map((skipType) => ({
    id: `2m-${skipType}`,
    name: `DPM-Solver++(2M), ${skipType}`,
    options: { algorithmType: 'dpmsolver++', order: 2, skipType, lowerOrderFinal: LOW_END } as const,
  })),
];

/** Only the panel's. */
export const DEIS_1: Row = { id: 'deis-1', name: 'DEIS-1', options: { scheduler: 'DEIS', solver_order: 2 } };

/** What pictures are compared with: 200 evaluations. */
export const REFERENCE: Row = {
  id: 'reference',
  name: 'DPM-Solver++(2M), the reference',
  options: { algorithmType: 'dpmsolver++', order: 2, lowerOrderFinal: LOW_END },
};
export const REFERENCE_STEPS = 200;

export function rowOf(id: string): Row {
  const row = [...ROWS, ...EXTRA_ROWS, DEIS_1, REFERENCE].find((one) => one.id === id);
  if (!row) throw new RangeError(`Expected a row of bench/quality but received '${id}'`);
  return row;
}

/** A loop of `steps` evaluations from the noise `xT`, under classifier-free guidance unless its scale is 1. */
export function startLoop({ options }: Row, network: Network, xT: Tensor, steps: number, scale: number): Loop {
  if ('scheduler' in options) return schedulerLoop(options, network, xT, steps, scale);
  const { algorithmType, thresholding, order, method, lowerOrderFinal, skipType } = options;
  const solver = new DPMSolver(null, network.schedule, {
    algorithmType,
    modelType: network.modelType,
    guidance: scale === 1 ? { type: 'uncond' } : { type: 'classifier-free', scale },
    ...(thresholding === undefined ? {} : { thresholding }),
  });
  return solver.start(xT, {
    steps,
    order,
    ...(method === undefined ? {} : { method }),
    ...(lowerOrderFinal === undefined ? {} : { lowerOrderFinal }),
    ...(skipType === undefined ? {} : { skipType }),
  });
}

function schedulerLoop(
  { scheduler: kind, ...keys }: Extract<Row['options'], { scheduler: unknown }>,
  { config }: Network,
  xT: Tensor,
  steps: number,
  scale: number,
): Loop {
  const { beta_schedule, beta_start, beta_end, num_train_timesteps, prediction_type } = config;
  const all = { beta_schedule, beta_start, beta_end, num_train_timesteps, prediction_type, ...keys };
  const classes: Record<typeof kind, SchedulerClass> = {
    PNDM: PNDMScheduler,
    DEIS: DEISMultistepScheduler,
    UniPC: UniPCMultistepScheduler,
  };
  const scheduler = new classes[kind](all);
  scheduler.setTimesteps(kind === 'PNDM' ? steps - 1 : steps);
  const times = Array.from(scheduler.timesteps);
  if (times.length !== steps) throw new Error(`${kind} makes ${times.length} evaluations instead of ${steps}`);
  const guided = scale !== 1;
  let index = 0;
  let state = xT;
  let x = guided ? doubled(xT) : xT;
  return {
    get done() {
      return index === times.length;
    },
    get x() {
      return x;
    },
    get t() {
      return times[index];
    },
    advance(output) {
      state = scheduler.step(output, times[index++], state, guided ? { guidanceScale: scale } : {});
      x = guided ? doubled(state) : state;
    },
    get result() {
      return state;
    },
  };
}

function doubled({ data, dims, type }: Tensor): Tensor {
  const one = data as Float32Array;
  const both = new Float32Array(2 * one.length);
  both.set(one);
  both.set(one, one.length);
  return { type, data: both, dims: [2 * dims[0], ...dims.slice(1)] } as Tensor;
}
