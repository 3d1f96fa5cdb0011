// A table for a network: searched, fitted, and kept only if samples that it has not seen say that it is better than the classic
// solvers.
import { createHash } from 'node:crypto';
import { addon, type StateArray } from '../addon/native.js';
import { readTensor, sameDims, wrongDims } from '../base/tensor.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { type SolverTable, tableSchedule } from '../solver/table.js';
import { Ascent, freeNumbers, iterationCost } from './ascent.js';
import { Axis } from './axis.js';
import { winShare } from './bootstrap.js';
import { type Candidate, classicCandidates } from './candidates.js';
import { mean, standardError } from './compare.js';
import { type Bench, runAll } from './equations.js';
import { Journal } from './journal.js';
import { type CalibratedModel, Network, stateArray, unlessNotFinite } from './network.js';
import { type CalibrateOptions, readCalibrateOptions, type Settings } from './options.js';
import { type Batch, count, firstOf } from './path.js';
import { Progress } from './progress.js';
import type { Calibration, CalibrationReport } from './report.js';
import { searchTimes, type TaughtBatch } from './search.js';
import type { Student } from './student.js';
import { plain, revived } from './student-json.js';
import { teach } from './teacher.js';
import { tableOf } from './to-table.js';

/** Earlier predictions that a row reads, and its own: a window of 8 gained 2 to 8% and got stuck as often as not. */
const WINDOW = 4;
/** Samples that the search looks at: rows have all numbers of all of them to go by. */
const SEARCHED = 16;
/** Of the budget, for the search. */
const SEARCH_SHARE = 0.55;
/** Grids, the best first, that are searched from as long as that share lasts. */
const SEARCHES = 3;
/** Fewer iterations are not worth their first. */
const LEAST_ITERATIONS = 2;
/** Where all samples leave none to spend, so many iterations are made with as many of them as these can be paid for with. */
const FEW_ITERATIONS = 4;
/** Numbers of these samples for each that is fitted: of fewer, a fit would learn them by heart. */
const NUMBERS_EACH = 64;
/** Candidates that are looked at again, by the error of the best so far: they ran on the same samples. */
const WITHIN = 1.3;
const FIRST_LOOK = 16;
/** About how many of them there are. */
const LOOKED_AT = 10;
const ITERATIONS = 25;
/** With little to spend: one start after the other, the best of the searches first. */
const ONE_BY_ONE = [{ most: Infinity, iterations: ITERATIONS }];
/**
 * With more iterations to spend than this: all starts begin, and those that come farthest go on, as where a fit ends depends on
 * where it began.
 */
const RACE_FROM = 30;
const RACE = [
  { most: 8, iterations: 4 },
  { most: 4, iterations: 12 },
  { most: 2, iterations: 60 },
];
/** A table has to win so many bootstraps. */
const CONFIDENCE = 0.975;

/**
 * Finds a table of times and rows for a network, by forward passes alone.
 *
 * @param model the network: see {@link CalibratedModel}
 * @param schedule its noise schedule
 * @throws TypeError, RangeError for options that are unknown or out of range; Error for what the model returns, or where
 *   `resume` holds something else; what the model throws; the signal's reason
 */
export async function calibrate(
  model: CalibratedModel,
  schedule: NoiseSchedule,
  options: CalibrateOptions,
): Promise<Calibration> {
  return new Calibrator(model, readCalibrateOptions(schedule, options)).run();
}

/** A candidate with its errors on the samples held out: on all of them, or on the first few. */
interface Judged extends Candidate {
  readonly errors: readonly number[];
}

class Calibrator {
  readonly #settings: Settings;
  readonly #network: Network;
  readonly #axis: Axis;
  readonly #journal: Journal;
  readonly #progress: Progress;
  #taught!: TaughtBatch[];
  #fitted!: Batch[];
  #held!: Batch[];

  constructor(model: CalibratedModel, settings: Settings) {
    const { schedule, modelType, scale, signal, onProgress, tStart, tEnd } = settings;
    this.#settings = settings;
    this.#progress = new Progress(onProgress);
    const watched: CalibratedModel = async (x, t, context) => {
      const output = await model(x, t, context);
      this.#progress.tell(this.#network.evaluations + context.samples.length);
      return output;
    };
    this.#network = new Network(watched, { modelType, scale, like: settings.sample(0), signal });
    this.#axis = new Axis(schedule, tStart, tEnd);
    this.#journal = new Journal(settings.resume, this.#fingerprint(), this.#network);
  }

  /** What units in a journal depend on; not the numbers of steps, to which some can be added. */
  #fingerprint(): unknown {
    const {
      schedule,
      steps: _,
      sample,
      signal: __,
      onProgress: ___,
      resume: ____,
      name: _____,
      ...rest
    } = this.#settings;
    const { kind, hash } = tableSchedule(schedule);
    const { type, size } = this.#network;
    const { data } = readTensor(sample(0), 'sample(0)');
    const first = createHash('sha256')
      .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      .digest('hex');
    return { ...rest, kind, hash, type, size, first };
  }

  /** Samples that share a call. */
  get #most(): number {
    return this.#settings.batch ?? Math.min(64, Math.max(1, Math.floor(2 ** 18 / this.#network.size)));
  }

  #modelTime = (t: number): number => this.#settings.schedule.modelTime(t);

  #bench(batches: readonly Batch[]): Bench {
    return {
      network: this.#network,
      axis: this.#axis,
      modelTime: this.#modelTime,
      batches,
      range: this.#settings.range,
    };
  }

  async run(): Promise<Calibration> {
    const { samples, heldOut, teacherSteps, steps } = this.#settings;
    this.#progress.expect(this.#expected());
    await this.#teach();
    const teacherEvaluations = (samples + heldOut) * teacherSteps;
    const tables: SolverTable[] = [];
    const report: CalibrationReport[] = [];
    for (const n of steps) {
      const one = await this.#calibrate(n);
      tables.push(one.table);
      report.push(one.report);
    }
    await this.#progress.heard();
    return { tables, report, teacherEvaluations };
  }

  /** Evaluations that all will take, about. */
  #expected(): number {
    const { schedule, samples, heldOut, teacherSteps, steps, budget } = this.#settings;
    const first = Math.min(FIRST_LOOK, heldOut);
    const choice = (n: number) =>
      n * (classicCandidates(schedule, this.#axis, n, WINDOW).length * first + LOOKED_AT * (heldOut - first));
    return (samples + heldOut) * teacherSteps + steps.reduce((sum, n) => sum + budget + choice(n), 0);
  }

  // ---- the teacher --------------------------------------------------------------------------------------------------

  async #teach(): Promise<void> {
    const { samples, heldOut, teacherSteps } = this.#settings;
    const most = this.#most;
    const searched = Math.min(samples, SEARCHED);
    this.#progress.stage('teacher');
    const lesson = async (from: number, to: number, keep: boolean): Promise<TaughtBatch> => {
      const list = Array.from({ length: to - from }, (_, i) => from + i);
      const start = this.#starts(list);
      const key = `teacher-${from}-${to}`;
      const states = await this.#journal.tensors(
        key,
        (length) => stateArray(this.#network.type, length),
        async () => {
          const { states, end } = await teach(this.#network, this.#axis, this.#modelTime, {
            ...{ steps: teacherSteps, samples: list, start, keep },
          });
          return states ?? [end];
        },
      );
      return { samples: list, start, end: states[states.length - 1], states };
    };
    const batches = async (from: number, to: number, keep: boolean) => {
      const all: TaughtBatch[] = [];
      for (let at = from; at < to; at += most) all.push(await lesson(at, Math.min(at + most, to), keep));
      return all;
    };
    this.#taught = await batches(0, searched, true);
    this.#fitted = [...this.#taught, ...(await batches(searched, samples, false))];
    // The first few apart, as all candidates run on them.
    const few = Math.min(samples + FIRST_LOOK, samples + heldOut);
    this.#held = [...(await batches(samples, few, false)), ...(await batches(few, samples + heldOut, false))];
  }

  /** The starts of samples, one after the other. */
  #starts(list: readonly number[]): StateArray {
    const { sample } = this.#settings;
    const { size, type } = this.#network;
    const dims = this.#network.dims;
    const start = stateArray(type, list.length * size);
    list.forEach((s, i) => {
      const view = readTensor(sample(s), `sample(${s})`);
      if (!sameDims(view.dims, dims)) throw wrongDims(dims, `sample(${s})`, view.dims);
      addon.convert(view.data, start.subarray(i * size, (i + 1) * size));
    });
    return start;
  }

  // ---- one number of steps ------------------------------------------------------------------------------------------

  async #calibrate(steps: number): Promise<{ table: SolverTable; report: CalibrationReport }> {
    const { schedule, modelType, scale, seed, name, samples, heldOut } = this.#settings;
    const network = this.#network;
    const spent = (since: number) => network.evaluations - since;
    this.#progress.stage('classics', steps);
    let since = network.evaluations;
    const classics = await this.#judge(classicCandidates(schedule, this.#axis, steps, WINDOW), `${steps}-classic`);
    const evaluations = { classics: spent(since), fit: 0, choice: 0 };
    since = network.evaluations;
    const students = await this.#fit(steps, classics);
    evaluations.fit = spent(since);
    since = network.evaluations;
    this.#progress.stage('choose', steps);
    const judged = await this.#judge(
      students.map(({ candidate }) => candidate),
      `${steps}-table`,
      classics[0],
    );
    evaluations.choice = spent(since);

    const [classic] = classics;
    const [best] = judged;
    const whole = best !== undefined && best.errors.length === heldOut;
    const wins = whole ? winShare(best.errors, classic.errors, { seed }) : 0;
    const kept = wins >= CONFIDENCE ? 'table' : 'classic';
    const chosen: Judged = kept === 'table' ? best : classic;
    const train = students.find(({ candidate }) => candidate.name === best?.name)?.train ?? Number.NaN;
    const table = tableOf(chosen.student, schedule, this.#axis, {
      name: `${name}, ${steps} evaluations`,
      source:
        kept === 'table'
          ? `dpm-solver calibrate: ${samples} samples, ${chosen.name}`
          : `dpm-solver calibrate: no table was better than ${chosen.name}`,
      modelType,
      ...(scale === 1 ? {} : { guidance: { scale } }),
      heldOut: {
        metric: 'mean over samples of the RMS distance to the end of the teacher',
        table: mean(chosen.errors),
        classic: mean(classic.errors),
        samples: chosen.errors.length,
      },
    });
    const report: CalibrationReport = {
      steps,
      start: best?.name ?? 'none',
      train,
      heldOut: best ? mean(best.errors) : Number.NaN,
      classic: mean(classic.errors),
      classicName: classic.name,
      wins,
      kept,
      evaluations,
      candidates: [...judged, ...classics].map((one) => ({
        name: one.name,
        heldOut: mean(one.errors),
        error: standardError(one.errors),
      })),
    };
    return { table, report };
  }

  /**
   * Errors on the samples held out, the best first: of all on the first few, of those near the best (or `rival`) on more,
   * and so on.
   */
  async #judge(candidates: readonly Candidate[], key: string, rival?: Judged): Promise<Judged[]> {
    let judged: Judged[] = candidates.map((one) => ({ ...one, errors: [] }));
    let from = 0;
    for (const look of this.#looks()) {
      // Only those that ran on all samples so far can be compared: the first few may be easier than the rest.
      const seen = count(this.#held.slice(0, from));
      const running = judged.filter(({ errors }) => errors.length === seen);
      const theirs = rival ? [mean(rival.errors.slice(0, seen))] : [];
      const bar = from === 0 ? Infinity : WITHIN * Math.min(...running.map(({ errors }) => mean(errors)), ...theirs);
      const next: Judged[] = judged.filter((one) => !running.includes(one));
      for (const one of running) {
        if (from > 0 && mean(one.errors) > bar) {
          next.push(one);
          continue;
        }
        const errors = await this.#journal.once(`${key} ${look} ${one.name}`, async () => {
          const made = await unlessNotFinite(runAll(this.#bench(this.#held.slice(from, look)), one.student));
          return made?.errors ?? null;
        });
        if (errors) next.push({ ...one, errors: [...one.errors, ...errors] });
      }
      // Those that were looked at most come first.
      judged = next.sort((a, b) => b.errors.length - a.errors.length || mean(a.errors) - mean(b.errors));
      from = look;
    }
    return judged;
  }

  /** After how many batches of samples held out candidates are looked at: a few, three times as many, all. */
  #looks(): number[] {
    const looks = [FIRST_LOOK, 3 * FIRST_LOOK, Infinity].map((samples) => {
      let batches = 0;
      for (let seen = 0; batches < this.#held.length && seen < samples; batches++) {
        seen += this.#held[batches].samples.length;
      }
      return batches;
    });
    return [...new Set(looks)];
  }

  // ---- fitting ------------------------------------------------------------------------------------------------------

  async #fit(steps: number, classics: readonly Judged[]): Promise<{ candidate: Candidate; train: number }[]> {
    const { budget } = this.#settings;
    const first = this.#network.evaluations;
    const left = () => budget - (this.#network.evaluations - first);
    const { student } = classics[0];
    // Iterations that the rest would not pay for leave all of it to searches.
    const searched = this.#fittable(student, (1 - SEARCH_SHARE) * budget) ? SEARCH_SHARE * budget : budget;
    const found: { candidate: Candidate; train: number }[] = [];
    this.#progress.stage('search', steps);
    for (const classic of differentGrids(classics).slice(0, SEARCHES)) {
      const share = searched - (budget - left());
      // A search that can make but a few moves has nothing to say.
      if (share < 2 * steps * count(this.#taught)) break;
      const name = `search from ${classic.name}`;
      const result = await this.#search(steps, classic, Math.floor(share), name);
      found.push({ candidate: { name, student: result.student }, train: result.error });
    }
    this.#progress.stage('fit', steps);
    const starts: Candidate[] = [
      ...found.sort((a, b) => a.train - b.train).map(({ candidate }) => candidate),
      ...classics.slice(0, 3),
    ];
    const fitted = this.#fittable(student, left()) ?? this.#fitted;
    const iteration = iterationCost(student, count(fitted));
    const bench = this.#bench(fitted);
    const running = starts.map((start) => new Ascent(bench, this.#journal, steps, start));
    const keep = (done: readonly Ascent[]) => {
      for (const { found: candidate, train } of done) if (candidate) found.push({ candidate, train });
    };
    for (const { most, iterations } of left() < RACE_FROM * iteration ? ONE_BY_ONE : RACE) {
      keep(running.splice(most));
      for (const one of running) {
        if (!one.affordable(left())) break;
        await one.advance(iterations, left);
      }
      running.sort((a, b) => a.train - b.train);
    }
    keep(running);
    return found;
  }

  /** The samples that iterations can be paid for with; undefined where they would be too few. */
  #fittable(student: Student, evaluations: number): readonly Batch[] | undefined {
    const all = count(this.#fitted);
    if (evaluations >= LEAST_ITERATIONS * iterationCost(student, all)) return this.#fitted;
    const { size } = this.#network;
    const each = FEW_ITERATIONS * (iterationCost(student, 1) + student.corrections.length);
    const some = Math.min(all, Math.floor(evaluations / each));
    return some * size < NUMBERS_EACH * freeNumbers(student) ? undefined : firstOf(this.#fitted, some, size);
  }

  async #search(steps: number, { student }: Candidate, budget: number, name: string) {
    const { teacherSteps } = this.#settings;
    const found = await this.#journal.once(`${steps} ${name}`, async () => {
      const indices = nearestIndices(student.places, teacherSteps);
      const bench = this.#bench(this.#taught);
      const result = await searchTimes(bench, this.#taught, indices, {
        orders: student.orders,
        window: WINDOW,
        budget,
      });
      return { student: plain(result.student), error: result.error };
    });
    return { student: revived(found.student), error: found.error };
  }
}

/** The best solver of each grid, the best grid first. */
function differentGrids(classics: readonly Judged[]): Judged[] {
  return classics.filter(
    ({ student }, i) => classics.findIndex((one) => sameList(one.student.places, student.places)) === i,
  );
}

function sameList(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.prototype.every.call(a, (value, i) => value === b[i]);
}

/** The teacher's places nearest to these, all different. */
function nearestIndices(places: Float64Array, last: number): number[] {
  const steps = places.length - 1;
  const indices = Array.from(places, (place) => Math.round(place * last));
  for (let i = 1; i < steps; i++) indices[i] = Math.max(indices[i], indices[i - 1] + 1);
  for (let i = steps - 1; i > 0; i--) indices[i] = Math.min(indices[i], indices[i + 1] - 1);
  return indices;
}
