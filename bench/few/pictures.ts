// The embedded network at few evaluations: everything that the library has, calibrated tables, and those under other guidance,
// in pictures.
//
// Prompts and start noise are those of bench:quality, so that its cells can be set beside these picture by picture, but begin at
// the first that no calibration with the command's own seeds has seen. All methods run on a few pictures; of each family the
// nearest go on to as many as are wanted.
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Axis } from '../../lib/calibrate/axis.js';
import { errorsOf, mean, residual } from '../../lib/calibrate/compare.js';
import { classicStudent } from '../../lib/calibrate/student.js';
import { teacherPlaces } from '../../lib/calibrate/teacher.js';
import { tableOf } from '../../lib/calibrate/to-table.js';
import { type ClassifierFreeGuidance, DPMSolver, type SampleOptions } from '../../lib/index.js';
import { readTableFile } from '../../lib/pipelines/tables.js';
import { evaluationsOf } from '../../lib/solver/table.js';
import { BATCH, Evaluator, hashModel, type Range, VALUES } from '../quality/evaluator.js';
import { FEATURES, Features } from '../quality/features.js';
import { FrechetDistance, momentsOf } from '../quality/frechet.js';
import { isRight, judge, randomPrompts, uniform } from '../quality/judge.js';
import { drawnPictures } from '../quality/truth.js';
import { type Measured, meanOf, rootMeanSquareOf, shareOf, short } from './intervals.js';
import { methodsOf } from './methods.js';
import { FOLDER, TABLES_FILE } from './shapes.js';

/** Of bench:quality's prompts, and how many there are. */
const [PROMPT_SEED, MOST] = [2026, 1024];
/** Pictures 0 to 175 begin with the noise that the command's calibrations saw, under other prompts: they come last. */
const FIRST = 256;
/** Pictures that all methods run on. */
const LOOKED_AT = 16;
/** How many times as far as the nearest of all a family's best may be by these to go on. */
const WITHIN = 2;
const TEACHER = 60;
const DRAWN = 8192;
const DRAWS = 100;
/** Below so many steps the last one is of order 1: always. */
const LOW_END = 1001;

interface Entry {
  family: string;
  name: string;
  options: SampleOptions;
  guidance?: Partial<ClassifierFreeGuidance>;
}

/** Of some pictures, one after the other. */
interface Unit {
  /** A digit for each picture: 1 where it is what the prompt says. */
  right: string;
  /** Distances from where the teacher ends; of pictures that it has made. */
  errors: number[];
  /** The classifier's, in base64. */
  features: string;
  nfe: number;
}

/** What is said of one method. */
export interface PicturesRow {
  family: string;
  name: string;
  /** Evaluations, those with the condition alone counted half. */
  nfe: number;
  pictures: number;
  right: Measured;
  /** A bit for each picture of bench:quality, in its order. */
  verdicts: string;
  /** The first of them, which distances are over. */
  compared: number;
  mean: Measured;
  rmse: Measured;
  /** Absent where it was not asked for. */
  frechet?: number;
  frechetError?: number;
}

export interface PicturesCell {
  guidance: number;
  steps: number;
  /** Families whose best was too far to go on, by the first pictures: its name and its mean distance by that of the nearest. */
  left: Record<string, { name: string; times: number }>;
  rows: PicturesRow[];
}

/** Guidance that is not what a table was made for. */
function variantsOf(scale: number): Record<string, Partial<ClassifierFreeGuidance>> {
  if (scale === 1) return {};
  return {
    'interval 0.28 to 5.42': { interval: [0.28, 5.42] },
    'CFG-Zero*': { variant: 'cfg-zero' },
    // The same scale: APG adds it to the conditional prediction.
    APG: { variant: 'apg', scale: scale - 1 },
    'rescale 0.7': { rescale: 0.7 },
  };
}

export interface PicturesOptions {
  guidance: readonly number[];
  steps: readonly number[];
  pictures: number;
  /** How many of them the teacher makes too. */
  references: number;
  /** Families that run, however far they are; all where absent. */
  families?: readonly string[];
  /** Methods that run, each for itself; all where absent. */
  methods?: readonly string[];
  tables?: string;
  /** Are ends compared as a distribution, too? */
  frechet: boolean;
}

export async function measurePictures(
  {
    guidance: scales,
    steps: numbers,
    pictures,
    references,
    families,
    methods,
    tables: file = TABLES_FILE,
    frechet: spread,
  }: PicturesOptions,
  keep: (cells: readonly PicturesCell[]) => void,
  before: readonly PicturesCell[],
  tell: (line: string) => void,
): Promise<void> {
  const ranges = rangesOf(pictures);
  const referenced = rangesOf(Math.max(references, LOOKED_AT)).length;
  const prompts = randomPrompts(MOST, PROMPT_SEED);
  const evaluator = await Evaluator.open(FOLDER, prompts, 1, ranges);
  const features = await Features.open(FOLDER);
  const { schedule, modelType } = evaluator.network;
  const axis = new Axis(schedule);
  const hash = hashModel(FOLDER);
  const store = new Store(hash);
  const drawnFeatures = () =>
    store.floats('drawn', async () => {
      const drawn = drawnPictures(DRAWN, 1);
      const found = new Float32Array(DRAWN * FEATURES);
      for (let at = 0; at < DRAWN; at += BATCH) {
        found.set(await features.of(drawn.subarray(at * VALUES, (at + BATCH) * VALUES)), at * FEATURES);
      }
      return found;
    });
  const distance = spread ? new FrechetDistance(momentsOf(await drawnFeatures(), FEATURES)) : null;
  const cells = [...before];

  /** With some of the families the others of an earlier run stay. */
  const merge = (cell: PicturesCell) => {
    const at = cells.findIndex(({ guidance, steps }) => guidance === cell.guidance && steps === cell.steps);
    const old = at < 0 ? [] : cells[at].rows.filter((row) => !cell.rows.some(({ name }) => name === row.name));
    const merged = { ...cell, left: { ...cells[at]?.left, ...cell.left }, rows: [...cell.rows, ...old] };
    cells.splice(at < 0 ? cells.length : at, at < 0 ? 0 : 1, merged);
    keep(cells.sort((a, b) => a.guidance - b.guidance || a.steps - b.steps));
  };

  for (const scale of scales) {
    const solverOf = (guidance: Partial<ClassifierFreeGuidance> = {}) =>
      new DPMSolver(null, schedule, {
        modelType,
        guidance: scale === 1 ? { type: 'uncond' } : { type: 'classifier-free', scale, ...guidance },
      });
    const run = async (batch: number, options: SampleOptions, guidance?: Partial<ClassifierFreeGuidance>) => {
      const loop = solverOf(guidance).start(evaluator.noise(batch), options);
      const made = (await evaluator.run(loop, batch)).map((value) => Math.max(-1, Math.min(1, value)));
      return { made, nfe: loop.nfe };
    };
    const teacher = tableOf(classicStudent(teacherPlaces(TEACHER), 3, 4), schedule, axis, {
      ...{ name: 'the teacher', source: 'bench:few', modelType, ...(scale === 1 ? {} : { guidance: { scale } }) },
    });
    const unitOf = async (batch: number, steps: number, { name, options, guidance }: Entry): Promise<Unit> => {
      const range = ranges[batch];
      const key = `${scale} ${steps} ${name}${options.table ? ` ${digest(options.table)}` : ''} ${range.join('-')}${batch < referenced ? '' : ' apart'}`;
      return store.once(key, async () => {
        const teach = async () => (await run(batch, { table: teacher })).made;
        const reference = batch < referenced && (await store.floats(`${scale}-${range.join('-')}`, teach));
        const { made, nfe } = await run(batch, options, guidance);
        const shown = evaluator.promptsOf(batch);
        return {
          right: shown
            .map((prompt, i) => (isRight(judge(made.subarray(i * VALUES, (i + 1) * VALUES)), prompt) ? '1' : '0'))
            .join(''),
          errors: reference
            ? errorsOf(residual(made, reference, null), VALUES).map((error) => Number(error.toPrecision(6)))
            : [],
          features: base64(await features.of(made)),
          nfe,
        };
      });
    };
    for (const steps of numbers) {
      const entries = entriesOf(steps, scale).filter(
        ({ family, name }) => (families?.includes(family) ?? true) && (methods?.includes(name) ?? true),
      );
      const looks = new Map<Entry, number>();
      for (const entry of entries) {
        looks.set(entry, mean((await unitOf(0, steps, entry)).errors));
        evaluator.forget();
      }
      const nearest = Math.min(...looks.values());
      const cell: PicturesCell = { guidance: scale, steps, left: {}, rows: [] };
      const groups = new Set(entries.map(({ family, name }) => (methods ? name : family)));
      for (const family of groups) {
        const own = entries.filter((one) => (methods ? one.name : one.family) === family);
        const [best] = own.sort((a, b) => looks.get(a)! - looks.get(b)!);
        const times = looks.get(best)! / nearest;
        if (!(families ?? methods) && times > WITHIN) {
          cell.left[family] = { name: best.name, times: Number(times.toPrecision(3)) };
          continue;
        }
        cell.rows.push(await rowOf(steps, best));
        merge(cell);
      }
    }

    function entriesOf(steps: number, scale: number): Entry[] {
      const list: Entry[] = [{ family: 'the default', name: '2M, time_uniform, low end', options: own(steps) }];
      for (const { family, name, options } of methodsOf(schedule, axis, steps, scale)) {
        if (family === '2M') continue;
        // First, second and third order are families of their own here.
        const called = family === 'classic' ? name.split(',')[0] : family;
        list.push({ family: called, name, options });
        const low = { ...options, lowerOrderFinal: LOW_END };
        const ends = !options.table && options.method !== 'ipndm' && options.order !== 1;
        if (steps >= 10 && ends) list.push({ family: called, name: `${name}, low end`, options: low });
      }
      const table = readTableFile(file).find(
        (one) =>
          (one.guidance?.scale ?? 1) === scale &&
          evaluationsOf(one) === steps &&
          one.source?.startsWith('dpm-solver calibrate'),
      );
      if (table) {
        list.push({ family: 'table', name: `the table (${table.source})`, options: { table } });
        for (const [variant, guidance] of Object.entries(variantsOf(scale))) {
          list.push({ family: `table, ${variant}`, name: `the table, ${variant}`, options: { table }, guidance });
        }
      }
      for (const [variant, guidance] of Object.entries(variantsOf(scale))) {
        const [family, options] = [`DDIM, ${variant}`, { steps, order: 1 } as const];
        list.push({ family, name: `DDIM, time_uniform, ${variant}`, options, guidance });
        list.push({ family: `2M, ${variant}`, name: `2M, time_uniform, ${variant}`, options: own(steps), guidance });
      }
      return list;
    }

    async function rowOf(steps: number, entry: Entry): Promise<PicturesRow> {
      const units: Unit[] = [];
      for (let batch = 0; batch < ranges.length; batch++) {
        units.push(await unitOf(batch, steps, entry));
        evaluator.forget();
      }
      const right = units.map((unit) => unit.right).join('');
      const errors = units.flatMap((unit) => unit.errors);
      const rows = Float32Array.from(units.flatMap((unit) => [...floats(unit.features)]));
      const frechet = distance?.bootstrap(rows, DRAWS, uniform(1));
      const hits = right.split('1').length - 1;
      const { family, name } = entry;
      const row: PicturesRow = {
        ...{ family, name, nfe: units[0].nfe, pictures: right.length, right: short(shareOf(hits, right.length)) },
        ...{
          verdicts: bits(right),
          compared: errors.length,
          mean: short(meanOf(errors)),
          rmse: short(rootMeanSquareOf(errors)),
        },
        ...(frechet ? { frechet: frechet.distance, frechetError: frechet.error } : {}),
      };
      const away = frechet ? `, Frechet ${frechet.distance.toFixed(1)} (${frechet.error.toFixed(1)})` : '';
      tell(
        `guidance ${scale}, ${steps}: ${name}: right ${(100 * row.right[0]).toFixed(1)}%, mean ${row.mean[0].toFixed(4)}, ` +
          `RMSE ${row.rmse[0].toFixed(4)}${away} of ${right.length}`,
      );
      return row;
    }
  }
  await evaluator.release();
  await features.release();
}

/** The folder's own solver. */
const own = (steps: number): SampleOptions => ({ steps, order: 2, lowerOrderFinal: LOW_END });

/** The first few, and then as many together as are quick. */
export function rangesOf(pictures: number): Range[] {
  const ranges: Range[] = [];
  for (let at = 0; at < pictures; ) {
    const to = at === 0 ? LOOKED_AT : Math.min(pictures, (Math.floor(at / BATCH) + 1) * BATCH);
    const from = (FIRST + at) % MOST;
    ranges.push([from, from + (to - at)]);
    at = to;
  }
  return ranges;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => Buffer.from(buffer, byteOffset, byteLength);
const base64 = (list: Float32Array) => bytesOf(list).toString('base64');
const floats = (text: string) => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer);

const digest = (of: object) => createHash('sha1').update(JSON.stringify(of)).digest('hex').slice(0, 8);

/** A bit for each digit, where bench:quality has that picture. */
export function bits(digits: string): string {
  const bytes = Buffer.alloc(MOST / 8);
  for (let i = 0; i < digits.length; i++) {
    const at = (FIRST + i) % MOST;
    if (digits[i] === '1') bytes[at >> 3] |= 1 << (at & 7);
  }
  return bytes.toString('base64');
}

/** Of bits by bench:quality's order those of the first so many pictures here, and how many are set. */
export function picked(verdicts: string, pictures: number): { pictures: number; verdicts: string; right: number } {
  const [from, to] = [Buffer.from(verdicts, 'base64'), Buffer.alloc(Math.ceil(pictures / 8))];
  let right = 0;
  for (let i = 0; i < pictures; i++) {
    const at = (FIRST + i) % MOST;
    if (((from[at >> 3] >> (at & 7)) & 1) === 0) continue;
    to[i >> 3] |= 1 << (i & 7);
    right++;
  }
  return { pictures, verdicts: to.toString('base64'), right };
}

/** What has been made, on disk at once: a run that was stopped goes on. */
class Store {
  readonly #folder = fileURLToPath(new URL('../results/.references', import.meta.url));
  readonly #hash: string;
  readonly #units = new Map<string, Unit>();

  constructor(hash: string) {
    this.#hash = hash;
    mkdirSync(this.#folder, { recursive: true });
    if (!existsSync(this.#journal)) return;
    const text = readFileSync(this.#journal, 'utf8');
    // A line that was being written when everything stopped is made anew.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole.length < text.length) writeFileSync(this.#journal, whole);
    for (const line of whole.split('\n').slice(0, -1)) {
      const { key, ...unit } = JSON.parse(line) as Unit & { key: string };
      this.#units.set(key, unit);
    }
  }

  get #journal(): string {
    return `${this.#folder}/few-${this.#hash}.jsonl`;
  }

  async once(key: string, make: () => Promise<Unit>): Promise<Unit> {
    const known = this.#units.get(key);
    if (known) return known;
    const unit = await make();
    this.#units.set(key, unit);
    appendFileSync(this.#journal, `${JSON.stringify({ key, ...unit })}\n`);
    return unit;
  }

  async floats(key: string, make: () => Promise<Float32Array>): Promise<Float32Array> {
    const path = `${this.#folder}/few-${this.#hash}-${key}.f32`;
    if (!existsSync(path)) {
      writeFileSync(`${path}.part`, bytesOf(await make()));
      renameSync(`${path}.part`, path);
    }
    return new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
  }
}
