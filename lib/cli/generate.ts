// What the commands that draw have in common: flags, the pipeline and the progress bar.
import type { ArgsDef } from 'citty';
import { findModel } from '../hub/index.js';
import { GRAPH_DEVICES } from '../onnx/graph.js';
import { loadRuntime } from '../onnx/runtime.js';
import type { DiffusionPipeline, GenerateOptions, OnProgress, SolverChoices, VaeTiling } from '../pipelines/index.js';
import { isFixed, namedScheduler, schedulerOfClass, SOLVERS } from '../pipelines/solvers.js';
import { readTableFile } from '../pipelines/tables.js';
import { SKIP_TYPES } from '../schedule/grid.js';
import { PUBLISHED_TYPES } from '../schedule/published-grid.js';
import { ALGORITHMS, METHODS, SOLVER_TYPES } from '../solver/options.js';
import { evaluationsOf, type SolverTable } from '../solver/table.js';
import { type Telling, telling } from './progress.js';
import { choice, number, UsageError, whole } from './usage.js';

export const ORDERS = ['1', '2', '3'] as const;
export const GRIDS = [...SKIP_TYPES, ...PUBLISHED_TYPES] as const;
export const DEVICES = ['auto', ...GRAPH_DEVICES] as const;
export const DTYPES = ['float32', 'float16'] as const;
export const MEMORIES = ['auto', 'low', 'fast'] as const;
export const TILINGS = ['auto', 'on', 'off'] as const;

/** How the steps are made. */
export const solverArgs = {
  solver: {
    type: 'string',
    valueHint: 'NAME',
    description: `Solver: ${SOLVERS.join(', ')} (Default: the model's, or dpmsolver++)`,
  },
  order: { type: 'string', valueHint: '1|2|3', description: "Order of the solver (Default: the model's, or 2)" },
  'skip-type': {
    type: 'string',
    valueHint: 'NAME',
    description: `Step grid: ${GRIDS.join(', ')} (Default: the model's, to the clean picture)`,
  },
  'solver-type': {
    type: 'string',
    valueHint: 'NAME',
    description: `Form of the second-order term: ${SOLVER_TYPES.join(', ')}`,
  },
  thresholding: { type: 'boolean', description: 'Dynamic thresholding of the predicted picture' },
} as const satisfies ArgsDef;

/** Those that an edit, which goes there and back, leaves out. */
export const methodArgs = {
  method: {
    type: 'string',
    valueHint: 'NAME',
    description: `Kind of step: ${METHODS.join(', ')} (Default: multistep)`,
  },
  'denoise-to-zero': { type: 'boolean', description: 'One more evaluation at the end, without noise' },
  scheduler: {
    type: 'string',
    valueHint: 'CLASS',
    description:
      "A scheduler class, made from the model's scheduler file, in place of the solver (EulerDiscreteScheduler)",
  },
} as const satisfies ArgsDef;

export const tableArgs = {
  table: {
    type: 'string',
    valueHint: 'NAME',
    description: "auto: the model's table for this many steps and guidance, none, or a file (Default: auto)",
  },
} as const satisfies ArgsDef;

export const machineArgs = {
  device: {
    type: 'string',
    valueHint: 'NAME',
    description: `Where the networks run: ${DEVICES.join(', ')} (Default: cpu)`,
  },
  memory: {
    type: 'string',
    valueHint: 'HOW',
    description: 'Networks in memory: auto, low (one at a time), fast (all) (Default: auto, fast where they fit)',
  },
} as const satisfies ArgsDef;

const model = { type: 'string', alias: 'm', valueHint: 'DIR' } as const;

export const modelArgs = {
  model: { ...model, description: 'Model directory, or ORG/NAME of a Hugging Face hub' },
  revision: { type: 'string', valueHint: 'NAME', description: 'Branch, tag or commit on the hub (Default: main)' },
  subfolder: { type: 'string', valueHint: 'NAME', description: "The pipeline's folder in the model" },
  dtype: { type: 'string', valueHint: 'NAME', description: `Which graphs: ${DTYPES.join(', ')} (Default: float32)` },
} as const satisfies ArgsDef;

/** How much memory is taken. */
export const memoryArgs = {
  'vae-tiling': {
    type: 'string',
    valueHint: 'WHEN',
    description: 'Decode by tiles: auto, on, off, or pixels of a tile (Default: auto, where memory asks for it)',
  },
} as const satisfies ArgsDef;

/** Of commands that draw shapes unless told otherwise. */
export const shapesArg = {
  ...model,
  description: 'Model directory, or ORG/NAME of a Hugging Face hub (Default: the shapes that come with the package)',
} as const;

export const guidanceArg = {
  type: 'string',
  valueHint: 'W',
  description: "Guidance scale (Default: the kind of model's); 1 is none",
} as const;

export const negativeArg = {
  type: 'string',
  valueHint: 'PROMPT',
  description: 'What guidance leads away from',
} as const;

export const sizeArgs = {
  width: { type: 'string', valueHint: 'N', description: "Pixels (Default: the model's)" },
  height: { type: 'string', valueHint: 'N', description: "Pixels (Default: the model's)" },
} as const satisfies ArgsDef;

/** What all that draw from prompts have, with the same defaults. */
export const drawnArgs = {
  prompts: {
    type: 'positional',
    required: false,
    description: 'What to draw, one row of the sheet each; - is lines of standard input',
  },
  steps: {
    type: 'string',
    valueHint: 'N',
    description: "Network evaluations for a picture (Default: the model's own, 20 where it is not distilled)",
  },
  guidance: guidanceArg,
  seed: { type: 'string', default: '0', valueHint: 'N', description: 'Picture i has the seed N + i' },
  count: { type: 'string', default: '1', valueHint: 'N', description: 'Pictures of every prompt' },
} as const satisfies ArgsDef;

type Values = Record<string, unknown>;

const text = (values: Values, name: string) => values[name] as string | undefined;

/** The solver's options in the values of {@link solverArgs} and {@link methodArgs}. */
export function readSolver(values: Values): SolverChoices {
  const named = choice('solver', text(values, 'solver'), SOLVERS);
  for (const flag of isFixed(named) ? ITS_OWN : []) {
    if (values[flag] === undefined || values[flag] === false) continue;
    throw new UsageError(`Expected no --${flag} beside --solver ${named}, which has its own`);
  }
  const order = choice('order', text(values, 'order'), ORDERS);
  return {
    algorithmType: ALGORITHMS.find((one) => one === named),
    order: order === undefined ? undefined : (Number(order) as 1 | 2 | 3),
    method: choice('method', text(values, 'method'), METHODS),
    skipType: choice('skip-type', text(values, 'skip-type'), GRIDS),
    solverType: choice('solver-type', text(values, 'solver-type'), SOLVER_TYPES),
    thresholding: (values.thresholding as boolean | undefined) || undefined,
    denoiseToZero: (values['denoise-to-zero'] as boolean | undefined) || undefined,
  };
}

/** Flags that have no meaning beside a solver that is an algorithm, an order and a grid at once. */
const ITS_OWN = ['order', 'method', 'skip-type', 'solver-type', 'thresholding', 'denoise-to-zero', 'scheduler'];

/** The name of what takes the solver's place: `--scheduler`'s class, or a `--solver` with an order and a grid of its own. */
export function schedulerName(values: Values): string | undefined {
  const solver = text(values, 'solver');
  return text(values, 'scheduler') ?? (isFixed(solver) ? solver : undefined);
}

/** What {@link schedulerName} names; nothing where it names none. */
export async function readScheduler(
  values: Values,
  pipe: DiffusionPipeline,
): Promise<Pick<GenerateOptions, 'scheduler'>> {
  const name = schedulerName(values);
  if (name === undefined) return {};
  return isFixed(name) ? namedScheduler(name, pipe) : { scheduler: await schedulerOfClass(name, pipe) };
}

/** The options in the values of {@link memoryArgs}. */
export function readMemory(values: Values): { vaeTiling?: VaeTiling } {
  const tiling = text(values, 'vae-tiling');
  if (tiling === undefined) return {};
  if (/^\d+$/.test(tiling)) return { vaeTiling: { tile: Number(tiling) } };
  const way = choice('vae-tiling', tiling, TILINGS);
  return { vaeTiling: way === 'auto' ? way : way === 'on' };
}

/** The value of {@link tableArgs}: of a file's tables the one for this many steps and guidance. */
export function readTableFlag(values: Values): 'auto' | 'none' | SolverTable | undefined {
  const table = text(values, 'table');
  if (table === undefined || table === 'auto' || table === 'none') return table;
  const steps = wholeOf(values, 'steps', 1);
  const guidance = numberOf(values, 'guidance');
  const tables = readTableFile(table);
  const fitting = tables.filter(
    (one) =>
      (steps === undefined || evaluationsOf(one) === steps) &&
      (guidance === undefined || (one.guidance?.scale ?? 1) === guidance),
  );
  if (fitting.length === 1) return fitting[0];
  const at = guidance === undefined ? '' : ` and guidance ${guidance}`;
  const many = steps === undefined ? '' : ` for ${steps} steps`;
  throw new UsageError(`Expected one table${many}${at} in ${table} but found ${fitting.length || 'none'}`);
}

export interface Place {
  /** A path, or a model's name on a hub until {@link fetched} has it. */
  folder: string;
  revision: string | undefined;
  subfolder: string | undefined;
  device: (typeof DEVICES)[number] | undefined;
  dtype: (typeof DTYPES)[number] | undefined;
  memory: (typeof MEMORIES)[number] | undefined;
  /** Of the networks; those that onnxruntime takes by itself. */
  networkThreads?: number;
}

/** The values of {@link modelArgs} and {@link machineArgs}. */
export function readPlace(values: Values, standard?: string): Place {
  const folder = text(values, 'model') ?? standard;
  if (folder === undefined) throw new UsageError('The flag --model is missing: it names a model directory');
  if (folder === '') throw new UsageError('The flag --model needs a value');
  return {
    folder,
    revision: text(values, 'revision'),
    subfolder: text(values, 'subfolder'),
    device: choice('device', text(values, 'device'), DEVICES),
    dtype: choice('dtype', text(values, 'dtype'), DTYPES),
    memory: choice('memory', text(values, 'memory'), MEMORIES),
    networkThreads: wholeOf(values, 'threads', 1),
  };
}

/** A place whose folder is one, fetched from a hub where it is not there; `json` as for {@link withPipeline}. */
export async function fetched(place: Place, json: boolean): Promise<Place> {
  const { onProgress, stop } = telling(json);
  try {
    return await fetchedTelling(place, onProgress);
  } finally {
    stop();
  }
}

async function fetchedTelling(place: Place, onProgress: OnProgress | undefined): Promise<Place> {
  const { folder, revision, subfolder, dtype } = place;
  const found = await findModel(folder, { revision, subfolder, dtype, onProgress });
  return { ...place, folder: found, revision: undefined, subfolder: undefined };
}

/** Loads a pipeline for as long as `work` takes; `json` says whether a program is told how far it is. */
export async function withPipeline<T>(
  asked: Place,
  json: boolean,
  work: (pipe: DiffusionPipeline, telling: Telling) => Promise<T>,
): Promise<T> {
  // Imported here, so that `--help` works where the addon is missing, and the loader's advice comes as a message.
  const { DiffusionPipeline } = await import('../pipelines/index.js');
  // onnxruntime's own log would repeat at length what the error says in a sentence.
  (await loadRuntime()).env.logLevel = 'fatal';
  const told = telling(json);
  const { onProgress } = told;
  try {
    const { folder, device, dtype, memory, networkThreads } = await fetchedTelling(asked, onProgress);
    const pipe = await DiffusionPipeline.fromPretrained(folder, { device, dtype, memory, networkThreads, onProgress });
    try {
      if (pipe.memory === 'low' && memory !== 'low') {
        told.warn('Networks are loaded one after the other, as all at once would not fit into the memory that is left');
      }
      return await work(pipe, told);
    } finally {
      await pipe.dispose();
    }
  } finally {
    told.stop();
  }
}

/** The number in a flag's value, where the flag is there. */
export function numberOf(values: Values, name: string): number | undefined {
  return number(name, text(values, name));
}

export function wholeOf(values: Values, name: string, least?: number): number | undefined {
  return whole(name, text(values, name), least);
}
