// What the commands that draw have in common: flags, the pipeline, the progress bar and the report.
import type { ArgsDef } from 'citty';
import { Presets, SingleBar } from 'cli-progress';
import { modelFolder } from '../folder/packed.js';
import { checkWritable, encodePng, readPng, writeFileAtomically } from '../image/file.js';
import type { Image } from '../image/image.js';
import { sheet, sheetSize } from '../image/sheet.js';
import { loadRuntime } from '../onnx/runtime.js';
import type {
  DiffusionPipeline,
  GenerateOptions,
  Generation,
  Progress,
  SolverChoices,
  Tiles,
  Timings,
  VaeTiling,
} from '../pipelines/index.js';
import { ALGORITHMS, METHODS } from '../solver/options.js';
import { choice, number, UsageError, whole } from './usage.js';

const skipTypes = ['time_uniform', 'logSNR', 'time_quadratic', 'karras', 'exponential', 'beta'] as const;
const devices = ['auto', 'cpu', 'cuda'] as const;

/** How the steps are made. */
export const solverArgs = {
  solver: {
    type: 'string',
    valueHint: 'NAME',
    description: `Algorithm: ${ALGORITHMS.join(', ')} (Default: the model's, or dpmsolver++)`,
  },
  order: { type: 'string', valueHint: '1|2|3', description: "Order of the solver (Default: the model's, or 2)" },
  'skip-type': {
    type: 'string',
    valueHint: 'NAME',
    description: `Step grid: ${skipTypes.join(', ')} (Default: the model's, to the clean picture)`,
  },
  'solver-type': { type: 'string', valueHint: 'NAME', description: 'Form of the second-order term: dpmsolver, taylor' },
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

export const machineArgs = {
  device: { type: 'string', valueHint: 'NAME', description: 'Where the network runs: cpu, cuda (Default: cpu)' },
} as const satisfies ArgsDef;

export const outputArgs = {
  scale: { type: 'string', valueHint: 'N', description: 'Enlargement of the pictures (Default: 4 for small ones)' },
  output: { type: 'string', alias: 'o', default: 'out.png', valueHint: 'FILE', description: 'The sheet, a PNG file' },
  json: { type: 'boolean', description: 'Print one JSON object instead of a line' },
} as const satisfies ArgsDef;

export const modelArgs = {
  model: { type: 'string', valueHint: 'DIR', description: 'Model directory' },
  dtype: { type: 'string', valueHint: 'NAME', description: 'Which graphs: float32, float16 (Default: float32)' },
} as const satisfies ArgsDef;

/** How much memory is taken. */
export const memoryArgs = {
  'vae-tiling': {
    type: 'string',
    valueHint: 'WHEN',
    description: 'Decode by tiles: auto, on, off, or pixels of a tile (Default: auto, where memory asks for it)',
  },
} as const satisfies ArgsDef;

type Values = Record<string, unknown>;

const text = (values: Values, name: string) => values[name] as string | undefined;

/** The solver's options in the values of {@link solverArgs} and {@link methodArgs}. */
export function readSolver(values: Values): SolverChoices {
  const order = choice('order', text(values, 'order'), ['1', '2', '3']);
  return {
    algorithmType: choice('solver', text(values, 'solver'), ALGORITHMS),
    order: order === undefined ? undefined : (Number(order) as 1 | 2 | 3),
    method: choice('method', text(values, 'method'), METHODS),
    skipType: choice('skip-type', text(values, 'skip-type'), skipTypes),
    solverType: choice('solver-type', text(values, 'solver-type'), ['dpmsolver', 'taylor']),
    thresholding: (values.thresholding as boolean | undefined) || undefined,
    denoiseToZero: (values['denoise-to-zero'] as boolean | undefined) || undefined,
  };
}

/** The scheduler object of the class that `--scheduler` names; nothing where the flag was not given. */
export async function readScheduler(
  values: Values,
  pipe: DiffusionPipeline,
): Promise<Pick<GenerateOptions, 'scheduler'>> {
  const name = text(values, 'scheduler');
  if (name === undefined) return {};
  const { schedulerOfClass } = await import('../pipelines/solvers.js');
  return { scheduler: await schedulerOfClass(name, pipe) };
}

/** The options in the values of {@link memoryArgs}. */
export function readMemory(values: Values): { vaeTiling?: VaeTiling } {
  const tiling = text(values, 'vae-tiling');
  if (tiling === undefined) return {};
  if (/^\d+$/.test(tiling)) return { vaeTiling: { tile: Number(tiling) } };
  const way = choice('vae-tiling', tiling, ['auto', 'on', 'off']);
  return { vaeTiling: way === 'auto' ? way : way === 'on' };
}

export interface Destination {
  output: string;
  scale: number | undefined;
  json: boolean;
}

/** The values of {@link outputArgs}; refuses a file that could not be written, before any work. */
export function readDestination(values: Values): Destination {
  const scale = whole('scale', text(values, 'scale'), 1);
  const output = values.output as string;
  checkPng('output', output);
  return { output, scale, json: (values.json as boolean | undefined) ?? false };
}

/** Refuses a file that is not called a PNG file, or could not be written. */
export function checkPng(flag: string, path: string): void {
  if (!/\.png$/i.test(path)) {
    throw new UsageError(`Expected a file name ending in .png for --${flag} but received '${path}'`);
  }
  checkWritable(path);
}

const MARGIN = 8;

/** How much pictures are enlarged on a sheet, where nobody says. */
export function scaleOf(scale: number | undefined, width: number): number {
  return scale ?? (width <= 128 ? 4 : 1);
}

/**
 * Refuses a sheet that would be too large, before there are pictures to put on it.
 *
 * @throws RangeError
 */
export function checkSheet(
  rows: number,
  columns: number,
  { scale }: Destination,
  size: Pick<Image, 'width' | 'height'>,
): void {
  sheetSize(rows, columns, size, { scale: scaleOf(scale, size.width), margin: MARGIN });
}

/** A picture that a flag names. */
export function readPicture(flag: string, path: string | undefined): Image {
  if (path === undefined || path === '') throw new UsageError(`The flag --${flag} is missing: it names a PNG file`);
  return readPng(path);
}

export interface Place {
  folder: string;
  device: (typeof devices)[number] | undefined;
  dtype: 'float32' | 'float16' | undefined;
}

/** The values of {@link modelArgs} and {@link machineArgs}. */
export function readPlace(values: Values, standard?: string): Place {
  const folder = text(values, 'model') ?? standard;
  if (folder === undefined) throw new UsageError('The flag --model is missing: it names a model directory');
  if (folder === '') throw new UsageError('The flag --model needs a value');
  return {
    folder: modelFolder(folder),
    device: choice('device', text(values, 'device'), devices),
    dtype: choice('dtype', text(values, 'dtype'), ['float32', 'float16']),
  };
}

/** Loads a pipeline for as long as `work` takes. */
export async function withPipeline<T>(place: Place, work: (pipe: DiffusionPipeline) => Promise<T>): Promise<T> {
  // Imported here, so that `--help` works where the addon is missing, and the loader's advice comes as a message.
  const { DiffusionPipeline } = await import('../pipelines/index.js');
  // onnxruntime's own log would repeat at length what the error says in a sentence.
  (await loadRuntime()).env.logLevel = 'fatal';
  const { folder, device, dtype } = place;
  const pipe = await DiffusionPipeline.fromPretrained(folder, { device, dtype });
  try {
    return await work(pipe);
  } finally {
    await pipe.dispose();
  }
}

/** A bar on a terminal; nothing elsewhere. */
export async function withProgress<T>(work: (onStep?: (progress: Progress) => void) => Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work();
  const bar = new SingleBar(
    // A Ctrl-C ends the process at once: no listeners, and a cursor that was never hidden.
    { format: '{bar} step {step}/{steps}{batch}', gracefulExit: false, hideCursor: null, linewrap: null, barsize: 30 },
    Presets.shades_classic,
  );
  let started = false;
  try {
    return await work(({ step, steps, batch, batches }) => {
      const total = Math.max(steps, step);
      const payload = { step, steps: total, batch: batches > 1 ? `, batch ${batch + 1}/${batches}` : '' };
      // Of the adaptive method nobody knows how many steps it will take.
      if (!started) bar.start(total * batches, 0, payload);
      started = true;
      bar.setTotal(total * batches);
      bar.update(total * batch + step, payload);
    });
  } finally {
    if (started) bar.stop();
  }
}

/** Tells on stderr what went on differently than asked for. */
export function warn(message: string): void {
  console.error(`dpm-solver: ${message}`);
}

/** Writes one sheet, rows of pictures, and says what was made. */
export function report(
  generation: Generation,
  rows: readonly (readonly (Image | null)[])[],
  { output, scale, json }: Destination,
  details: Record<string, unknown>,
): void {
  const { images, nfe, seeds, guidance, tiles, timings } = generation;
  const picture = sheet(rows, { scale: scaleOf(scale, images[0].width), margin: MARGIN });
  writeFileAtomically(output, encodePng(picture));
  if (json) {
    const { width, height } = picture;
    console.log(JSON.stringify({ output, width, height, seeds, ...details, guidance, nfe, tiles, timings }));
    return;
  }
  const pictures = `${images.length} picture${images.length === 1 ? '' : 's'}`;
  const evaluations = `${nfe} evaluation${nfe === 1 ? '' : 's'}${images.length === 1 ? '' : ' each'}`;
  console.log(`${output}: ${pictures}, ${evaluations}${tiles ? inTiles(tiles) : ''}; ${costs(timings)}`);
}

function inTiles({ rows, columns, width, height }: Tiles): string {
  return `, decoded by ${rows * columns} tiles of ${width} x ${height}`;
}

function costs({ networkMs, stepMs, totalMs }: Timings): string {
  return `${ms(networkMs)} per network call, ${ms(stepMs)} per solver step; ${(totalMs / 1000).toFixed(1)} s in all`;
}

function ms(value: number): string {
  return `${value < 100 ? Number(value.toPrecision(2)) : Math.round(value)} ms`;
}

/** The number in a flag's value, where the flag is there. */
export function numberOf(values: Values, name: string): number | undefined {
  return number(name, text(values, name));
}

export function wholeOf(values: Values, name: string, least?: number): number | undefined {
  return whole(name, text(values, name), least);
}
