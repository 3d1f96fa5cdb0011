// What the commands that draw have in common: flags, the pipeline, the progress bar and the report.
import type { ArgsDef } from 'citty';
import { checkWritable, encodePng, readPng, writeFileAtomically } from '../image/file.js';
import { enlarge, type Image } from '../image/image.js';
import { withText } from '../image/png-text.js';
import { sheet, sheetSize } from '../image/sheet.js';
import { findModel } from '../hub/index.js';
import { GRAPH_DEVICES } from '../onnx/graph.js';
import { loadRuntime } from '../onnx/runtime.js';
import type {
  DiffusionPipeline,
  GenerateOptions,
  Generation,
  OnProgress,
  SolverChoices,
  Tiles,
  Timings,
  VaeTiling,
} from '../pipelines/index.js';
import { readTableFile } from '../pipelines/tables.js';
import { SKIP_TYPES } from '../schedule/grid.js';
import { PUBLISHED_TYPES } from '../schedule/published-grid.js';
import { ALGORITHMS, METHODS, SOLVER_TYPES } from '../solver/options.js';
import { evaluationsOf, type SolverTable } from '../solver/table.js';
import { type Telling, telling } from './progress.js';
import { say } from './say.js';
import { samplerName, settingsOf, textsOf } from './settings.js';
import { choice, number, UsageError, whole } from './usage.js';
import { version } from './version.js';

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
    description: `Algorithm: ${ALGORITHMS.join(', ')} (Default: the model's, or dpmsolver++)`,
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

/** Of one sheet. */
export const sheetArgs = {
  scale: {
    type: 'string',
    valueHint: 'N',
    description: 'Enlargement of the pictures (Default: 1, and 4 for small ones on a sheet)',
  },
  output: { type: 'string', alias: 'o', default: 'out.png', valueHint: 'FILE', description: 'The sheet, a PNG file' },
  json: { type: 'boolean', description: 'Print one JSON object instead of a line' },
} as const satisfies ArgsDef;

export const outputArgs = {
  ...sheetArgs,
  output: {
    ...sheetArgs.output,
    description: 'A PNG file, of several pictures a sheet; pic-%03d.png is a file each, - is standard output',
  },
  sheet: { type: 'boolean', description: 'A sheet with a margin of a single picture, too' },
  like: { type: 'string', valueHint: 'FILE', description: "Take what is not said from a picture's file" },
  json: { type: 'boolean', description: 'Print one JSON object a file instead of a line' },
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

type Values = Record<string, unknown>;

const text = (values: Values, name: string) => values[name] as string | undefined;

/** The solver's options in the values of {@link solverArgs} and {@link methodArgs}. */
export function readSolver(values: Values): SolverChoices {
  const order = choice('order', text(values, 'order'), ORDERS);
  return {
    algorithmType: choice('solver', text(values, 'solver'), ALGORITHMS),
    order: order === undefined ? undefined : (Number(order) as 1 | 2 | 3),
    method: choice('method', text(values, 'method'), METHODS),
    skipType: choice('skip-type', text(values, 'skip-type'), GRIDS),
    solverType: choice('solver-type', text(values, 'solver-type'), SOLVER_TYPES),
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

export interface Destination {
  output: string;
  scale: number | undefined;
  sheet: boolean;
  json: boolean;
}

/** The values of {@link outputArgs} or {@link sheetArgs}; refuses a file that could not be written, before any work. */
export function readDestination(values: Values): Destination {
  const scale = whole('scale', text(values, 'scale'), 1);
  const output = values.output as string;
  const sheet = (values.sheet as boolean | undefined) ?? false;
  if (output !== '-') checkPng('output', numbered(output, 1));
  if (sheet && PATTERN.test(output)) {
    throw new UsageError(`Expected one file for --output beside --sheet but received the pattern '${output}'`);
  }
  return { output, scale, sheet, json: (values.json as boolean | undefined) ?? false };
}

/** As printf has it: %d, or %03d for three digits. */
const PATTERN = /%(?:0(\d))?d/;

/** The name without its picture's ending and number: what else is written goes by it. */
export function stemOf(output: string): string {
  if (output === '-') return 'out';
  return output.replace(PATTERN, '').replace(/[-_. ]*\.png$/i, '') || 'out';
}

/** The name of file `i` where names are numbered. */
function numbered(output: string, i: number): string {
  return output.replace(PATTERN, (_, digits?: string) => String(i).padStart(Number(digits ?? 0), '0'));
}

/** Are several pictures, or one by `--sheet`, laid out on one? */
function onSheet({ output, sheet }: Destination, pictures: number): boolean {
  return sheet || (pictures > 1 && !PATTERN.test(output));
}

/** Refuses a file that is not called a PNG file, or could not be written. */
export function checkPng(flag: string, path: string): void {
  if (!/\.png$/i.test(path)) {
    throw new UsageError(`Expected a file name ending in .png for --${flag} but received '${path}'`);
  }
  checkWritable(path);
}

/** Pixels around the pictures of a sheet. */
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
  destination: Destination,
  size: Pick<Image, 'width' | 'height'>,
): void {
  const { scale } = destination;
  if (!onSheet(destination, rows * columns)) return;
  sheetSize(rows, columns, size, { scale: scaleOf(scale, size.width), margin: MARGIN });
}

/** A picture that a flag names. */
export function readPicture(flag: string, path: string | undefined): Image {
  if (path === undefined || path === '') throw new UsageError(`The flag --${flag} is missing: it names a PNG file`);
  return readPng(path);
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

/** Pictures as they are written: rows of them on a sheet, or one after the other. */
export function laidOut(rows: readonly (readonly (Image | null)[])[], destination: Destination): Image[] {
  const images = rows.flat().filter((image) => image !== null);
  const { scale } = destination;
  if (!onSheet(destination, images.length)) return images.map((image) => enlarge(image, scale ?? 1));
  return [sheet(rows, { scale: scaleOf(scale, images[0].width), margin: MARGIN })];
}

/** Writes the bytes of picture `i`, from 0, and tells the file's name. */
export function writePicture({ output }: Destination, i: number, bytes: Uint8Array): string {
  const name = numbered(output, i + 1);
  if (output === '-') process.stdout.write(bytes);
  else writeFileAtomically(name, bytes);
  return name;
}

/** What was drawn with: a command and the values of its flags. */
export interface Told {
  readonly command: string;
  readonly values: Values;
}

/** Writes the pictures, on a sheet or each into its file, with what made them; and says what was made. */
export function report(
  told: Told,
  generation: Generation,
  rows: readonly (readonly (Image | null)[])[],
  destination: Destination,
  details: Record<string, unknown>,
): void {
  const { images, nfe, solver, seeds, guidance, table, grid, memory, tiles, timings } = generation;
  const { output, json } = destination;
  const all = promptsOf(details);
  const together = onSheet(destination, images.length);
  const prompts = together ? [all] : images.map((image) => all.slice(...ofRow(rows, image)));
  laidOut(rows, destination).forEach((picture, i) => {
    const own = { prompts: prompts[i], seeds: together ? seeds : [seeds[i]] };
    const texts = textsOf(settingsOf(told.command, told.values), {
      ...{ version, ...own, guidance, width: images[0].width, height: images[0].height },
      model: (told.values.model as string | undefined) ?? 'shapes',
      steps: details.steps as number | undefined,
      negativePrompt: details.negativePrompt as string | undefined,
      sampler: samplerName(details),
    });
    const name = writePicture(destination, i, withText(encodePng(picture), texts));
    if (!json) return;
    const { width, height } = picture;
    const more = { ...details, ...own, guidance, nfe, solver, table, grid, memory, tiles, timings };
    say(JSON.stringify({ output: name, width, height, ...more }), output);
  });
  if (json) return;
  const pictures = `${images.length} picture${images.length === 1 ? '' : 's'}`;
  const each = images.length === 1 ? '' : ' each';
  const by = table !== undefined ? `, by the table ${table}` : grid !== undefined ? `, on the grid ${grid}` : '';
  const evaluations = `${nfe} evaluation${nfe === 1 ? '' : 's'}${each}${by}`;
  say(
    `${output === '-' ? 'standard output' : output}: ${pictures}, ${evaluations}${tiles ? inTiles(tiles) : ''}; ${costs(timings)}`,
    output,
  );
}

function inTiles({ rows, columns, width, height }: Tiles): string {
  return `, decoded by ${rows * columns} tiles of ${width} x ${height}`;
}

function promptsOf(details: Record<string, unknown>): readonly string[] {
  const { prompts, target } = details as { prompts?: readonly string[]; target?: string };
  return prompts ?? (target === undefined ? [] : [target]);
}

/** The place of a picture's prompt among them, for slice. */
function ofRow(rows: readonly (readonly (Image | null)[])[], image: Image): [from: number, to: number] {
  const row = rows.findIndex((images) => images.includes(image));
  return [row, row + 1];
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
