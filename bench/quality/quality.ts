/**
 * Picture quality of the embedded network by solver, number of evaluations and guidance:
 *
 *     npm run bench:quality [-- --guidance 8,3,1 --steps 10,15,20 --rows 2m,ddim --threads 1]
 *
 * A cell is 1,024 pictures, of the same prompts and from the same start noise in every one: how many the judge finds
 * right, how far they are from those of 200 evaluations (root mean square, values in [-1, 1] after clamping, and before),
 * and the Frechet distance of the classifier's features from 8,192 drawn pictures. Every finished cell is written to
 * bench/results/quality.json at once, and a rerun makes what is missing, so that it can be stopped at any time; several
 * runs may share the work. With `--references 256` the pictures of 200 evaluations, and what rests on them, are only the
 * first 256, which takes a fifth less of the time; a later run without it makes the cells again. Cells of other weights or
 * other row options do not count as finished. The pictures of 200 evaluations are kept in bench/results/.references, which
 * is not committed.
 *
 * `--list` says what is missing, and does nothing.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { machine } from '../machine.js';
import { BATCH, Evaluator, hashModel, VALUES } from './evaluator.js';
import { FEATURES, Features } from './features.js';
import { FrechetDistance, momentsOf } from './frechet.js';
import { isRight, judge, type Prompt, randomPrompts, SHAPES, uniform } from './judge.js';
import { EXTRA_ROWS, REFERENCE, REFERENCE_STEPS, ROWS, type Row, rowOf, startLoop } from './rows.js';
import { drawnPictures } from './truth.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    ...{ guidance: text, steps: text, rows: text, results: text, model: text },
    pictures: { ...text, default: '1024' },
    /** How many of the pictures are made with 200 evaluations too. */
    references: { ...text, default: '1024' },
    threads: { ...text, default: '1' },
    list: { type: 'boolean', default: false },
  },
});
const model = values.model ?? `${root}/models/shapes`;
const file = values.results ?? `${root}/bench/results/quality.json`;
const references = values.results ? `${values.results}.references` : `${root}/bench/results/.references`;
const pictures = Number(values.pictures);
const referenced = Math.min(Number(values.references), pictures);
const PROMPT_SEED = 2026;
const DRAWN = 8192;
const BOOTSTRAP_DRAWS = 100;

/** One cell: `right`, `shape` and `colors` are counts; `verdicts` has a bit for each picture, right or not. */
export interface Cell {
  row: string;
  name: string;
  options: Row['options'];
  guidance: number;
  steps: number;
  /** How many there are, and how many the RMSE is taken over. */
  pictures: number;
  rmsePictures: number;
  right: number;
  shape: number;
  colors: number;
  byShape: Record<string, number>;
  verdicts: string;
  /** Root of the mean square difference from the reference, of clamped and of unclamped values; 0 for the reference. */
  rmse: number;
  rmseError: number;
  rmseUnclamped: number;
  /** Share of the values outside of [-1, 1] by more than 0.05. */
  outside: number;
  frechet: number;
  frechetError: number;
  /** Of the processor. */
  cpuSeconds: number;
  /** What ended the runs of some pictures, which count as wrong. */
  failed?: string;
}

export interface Results {
  command: string;
  machine: ReturnType<typeof machine>;
  model: string;
  pictures: number;
  prompts: number;
  /** Of as many drawn pictures as a cell has: what a perfect network would get. */
  drawn: { frechet: number; frechetError: number; count: number };
  cells: Cell[];
}

interface Plan {
  row: Row;
  guidance: number;
  steps: number;
}

/** Most telling first: the guidance that solvers find hard, and the numbers of evaluations that are in use. */
function plan(): Plan[] {
  const wanted = (list: string | undefined, value: number) => !list || list.split(',').map(Number).includes(value);
  const groups: [guidance: number, steps: number, rows: readonly Row[]][] = [];
  const thresholded = ['ddim-thresholding', '2m-thresholding'].map(rowOf);
  const published = rowOf('2m-published');
  for (const guidance of [8, 3]) {
    groups.push([guidance, REFERENCE_STEPS, [REFERENCE]]);
    for (const steps of [15, 10, 20]) {
      groups.push([guidance, steps, [...ROWS, published, ...(guidance === 8 ? thresholded : [])]]);
    }
  }
  for (const guidance of [8, 3]) for (const steps of [12, 5, 8, 6]) groups.push([guidance, steps, ROWS]);
  const long = ['ddim', '2m', 'unipc-2'].map(rowOf);
  for (const guidance of [8, 3]) groups.push([guidance, 50, long]);
  groups.push([1, REFERENCE_STEPS, [REFERENCE]]);
  for (const steps of [15, 10, 20, 12, 5, 8, 6]) groups.push([1, steps, ROWS]);
  groups.push([1, 50, long]);
  const grids = ['2m-logSNR', '2m-karras'].map(rowOf);
  for (const guidance of [8, 3, 1]) for (const steps of [10, 15, 20]) groups.push([guidance, steps, grids]);
  return groups
    .filter(([guidance, steps]) => wanted(values.guidance, guidance) && wanted(values.steps, steps))
    .flatMap(([guidance, steps, rows]) => rows.map((row) => ({ row, guidance, steps })))
    .filter(({ row }) => !values.rows || values.rows.split(',').includes(row.id));
}

/** What the file holds of these weights. */
function read(hash: string): Cell[] {
  if (!existsSync(file)) return [];
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  if (results.model !== hash || results.pictures !== pictures) return [];
  return results.cells.filter(({ row, options }) => {
    const known = [...ROWS, ...EXTRA_ROWS, REFERENCE].find(({ id }) => id === row);
    return known && isDeepStrictEqual(known.options, options);
  });
}

/** Compared with fewer pictures than are wanted now, a cell stays until it has been made again. */
const finished = (hash: string) => read(hash).filter(({ rmsePictures }) => rmsePictures >= referenced);

const same = (a: { row: string; guidance: number; steps: number }, b: Plan) =>
  a.row === b.row.id && a.guidance === b.guidance && a.steps === b.steps;

/** Adds a cell to what the file holds by now. */
function write(hash: string, drawn: Results['drawn'], cell: Cell): void {
  const others = read(hash).filter((one) => !same(one, { ...cell, row: rowOf(cell.row) }));
  const place = ({ row, guidance, steps }: Cell) =>
    guidance * 1e6 + steps * 1e3 + [...ROWS, ...EXTRA_ROWS, REFERENCE].findIndex(({ id }) => id === row);
  const results: Results = {
    command: 'npm run bench:quality',
    machine: machine(),
    ...{ model: hash, pictures, prompts: PROMPT_SEED, drawn },
    cells: [...others, cell].sort((a, b) => place(a) - place(b)),
  };
  // Whole or not at all, and one cell a line.
  const { cells, ...rest } = results;
  const head = JSON.stringify(rest, null, 2).slice(0, -2);
  const lines = cells.map((one) => `    ${JSON.stringify(one)}`).join(',\n');
  writeFileSync(`${file}.${process.pid}`, `${head},\n  "cells": [\n${lines}\n  ]\n}\n`);
  renameSync(`${file}.${process.pid}`, file);
}

/** The pictures of 200 evaluations, batch by batch; what is there stays. */
async function referencePictures(evaluator: Evaluator, guidance: number, hash: string): Promise<Float32Array> {
  mkdirSync(references, { recursive: true });
  const path = `${references}/${hash}-${pictures}-${guidance}.f32`;
  const bytes = (batch: number) => Math.min(batch * BATCH, pictures) * VALUES * 4;
  const batches = Math.ceil(referenced / BATCH);
  for (let batch = 0; batch < batches; batch++) {
    const size = existsSync(path) ? statSync(path).size : 0;
    if (size >= bytes(batch + 1)) continue;
    const began = performance.now();
    // A batch that was cut off is made again.
    if (existsSync(path)) truncateSync(path, bytes(batch));
    const loop = startLoop(REFERENCE, evaluator.network, evaluator.noise(batch), REFERENCE_STEPS, guidance);
    const made = await evaluator.run(loop, batch);
    writeFileSync(path, new Uint8Array(made.buffer, made.byteOffset, made.byteLength), { flag: 'a' });
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    console.log(`reference, guidance ${guidance}: batch ${batch + 1} of ${batches}, ${seconds} s`);
  }
  const all = readFileSync(path);
  return new Float32Array(all.buffer.slice(all.byteOffset, all.byteOffset + bytes(batches)));
}

const clamp = (value: number) => (value < -1 ? -1 : value > 1 ? 1 : value);

/** All that is said of a cell's pictures. */
async function measure(
  made: Float32Array,
  prompts: readonly Prompt[],
  reference: Float32Array,
  features: Features,
  distance: FrechetDistance,
): Promise<Omit<Cell, 'row' | 'name' | 'options' | 'guidance' | 'steps' | 'cpuSeconds' | 'failed'>> {
  const clamped = made.map(clamp);
  const verdicts = prompts.map((_, i) => judge(clamped.subarray(i * VALUES, (i + 1) * VALUES)));
  const right = prompts.map((prompt, i) => isRight(verdicts[i], prompt));
  const count = (test: (i: number) => boolean) => prompts.filter((_, i) => test(i)).length;
  const squares: number[] = [];
  let unclamped = 0;
  const compared = Math.min(reference.length, made.length);
  for (let begin = 0; begin < compared; begin += VALUES) {
    let square = 0;
    for (let k = begin; k < begin + VALUES; k++) {
      square += (clamped[k] - clamp(reference[k])) ** 2;
      unclamped += (made[k] - reference[k]) ** 2;
    }
    squares.push(square / VALUES);
  }
  const outside = made.reduce((count, value) => count + (Math.abs(value) > 1.05 ? 1 : 0), 0);
  const mean = squares.reduce((a, b) => a + b, 0) / squares.length;
  const deviation = Math.sqrt(squares.reduce((sum, s) => sum + (s - mean) ** 2, 0) / (squares.length - 1));
  const rmse = Math.sqrt(mean);
  const rows = new Float32Array(prompts.length * FEATURES);
  for (let i = 0; i < prompts.length; i += BATCH) {
    rows.set(
      await features.of(clamped.subarray(i * VALUES, Math.min(i + BATCH, prompts.length) * VALUES)),
      i * FEATURES,
    );
  }
  const frechet = distance.bootstrap(rows, BOOTSTRAP_DRAWS, uniform(1));
  const bits = Buffer.alloc(Math.ceil(prompts.length / 8));
  right.forEach((one, i) => {
    if (one) bits[i >> 3] |= 1 << (i & 7);
  });
  return {
    pictures: prompts.length,
    rmsePictures: squares.length,
    right: count((i) => right[i]),
    shape: count((i) => verdicts[i].shape === prompts[i].shape),
    colors: count((i) => verdicts[i].color === prompts[i].color && verdicts[i].background === prompts[i].background),
    byShape: Object.fromEntries(
      SHAPES.map((shape) => [shape, count((i) => prompts[i].shape === shape && verdicts[i].shape === shape)]),
    ),
    verdicts: bits.toString('base64'),
    rmse,
    // By the delta method from the mean of the squares.
    rmseError: rmse > 0 ? deviation / Math.sqrt(squares.length) / (2 * rmse) : 0,
    rmseUnclamped: Math.sqrt(unclamped / compared),
    outside: outside / made.length,
    frechet: frechet.distance,
    frechetError: frechet.error,
  };
}

async function main() {
  const hash = hashModel(model);
  const before = finished(hash);
  const missing = plan().filter((one) => !before.some((cell) => same(cell, one)));
  console.log(`model ${hash}: ${before.length} cells finished, ${missing.length} to do`);
  if (values.list) {
    for (const { row, guidance, steps } of missing) console.log(`guidance ${guidance}, ${steps}: ${row.name}`);
    return;
  }
  if (missing.length === 0) return;

  const prompts = randomPrompts(pictures, PROMPT_SEED);
  const evaluator = await Evaluator.open(model, prompts, Number(values.threads));
  const features = await Features.open(model);
  const featuresOf = async (all: Float32Array) => {
    const parts: number[][] = [];
    for (let at = 0; at < all.length; at += BATCH * VALUES) {
      parts.push(Array.from(await features.of(all.subarray(at, at + BATCH * VALUES))));
    }
    return Float32Array.from(parts.flat());
  };
  const distance = new FrechetDistance(momentsOf(await featuresOf(drawnPictures(DRAWN, 1)), FEATURES));
  const other = distance.bootstrap(await featuresOf(drawnPictures(pictures, 3)), BOOTSTRAP_DRAWS, uniform(1));
  const drawn = { frechet: other.distance, frechetError: other.error, count: DRAWN };

  const kept = new Map<number, Float32Array>();
  let group = '';
  for (const { row, guidance, steps } of missing) {
    // Another run may have made it meanwhile.
    if (finished(hash).some((cell) => same(cell, { row, guidance, steps }))) continue;
    if (group !== `${guidance} ${steps}`) evaluator.forget();
    group = `${guidance} ${steps}`;
    const reference = kept.get(guidance) ?? (await referencePictures(evaluator, guidance, hash));
    kept.set(guidance, reference);
    const began = process.cpuUsage();
    let made = new Float32Array(pictures * VALUES);
    let failed: string | undefined;
    if (row === REFERENCE) made = reference.slice();
    for (let batch = 0; row !== REFERENCE && batch < evaluator.batches; batch++) {
      try {
        const loop = startLoop(row, evaluator.network, evaluator.noise(batch), steps, guidance);
        made.set(await evaluator.run(loop, batch), batch * BATCH * VALUES);
      } catch (error) {
        failed = (error as Error).message;
      }
    }
    const shown = prompts.slice(0, made.length / VALUES);
    const measured = await measure(made, shown, reference, features, distance);
    const { user, system } = process.cpuUsage(began);
    const cpuSeconds = (user + system) / 1e6;
    const { id, name, options } = row;
    write(hash, drawn, {
      row: id,
      name,
      options,
      guidance,
      steps,
      ...measured,
      cpuSeconds,
      ...(failed ? { failed } : {}),
    });
    console.log(
      `guidance ${guidance}, ${String(steps).padStart(3)}: ${name.padEnd(38)} right ${((100 * measured.right) / measured.pictures).toFixed(1)}%, ` +
        `RMSE ${measured.rmse.toFixed(4)}, Frechet ${measured.frechet.toFixed(2)} (${measured.frechetError.toFixed(2)}), ` +
        `${cpuSeconds.toFixed(0)} s${failed ? `; ${failed}` : ''}`,
    );
  }
  console.log(`${evaluator.made} evaluations of a batch made, ${evaluator.found} found made`);
  await evaluator.release();
  await features.release();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
