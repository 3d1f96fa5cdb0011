// The plan of a run with a table: its rows, folded, and laid out for the native step.
import { type Node, ROW, SUM, TRANSFORM } from '../addon/coefficients.js';
import { nodeOf } from '../schedule/sigmas.js';
import { type FoldedStep, foldSteps } from './fold.js';
import { askedAt, scaleAt } from './guidance.js';
import type { Solver } from './options.js';
import type { Evaluation, Further, Plan } from './plan.js';
import { keepNoise, predict } from './rows.js';
import type { SolverTable } from './table.js';

/** Where a row's entries go: of the state, of P, and of three earlier predictions. */
const OFFSETS = [SUM.a, SUM.bp, SUM.b1, SUM.b2, SUM.b3] as const;
/** Entries that a further step adds: of P, which is an earlier prediction there, and of three before it. */
const MORE = OFFSETS.length - 1;

/** One evaluation's sums: of the state, and of the corrected one that its step starts from. */
interface Sums {
  readonly first: readonly number[];
  readonly second: readonly number[] | null;
}

/** What a plan is made of: a table's parts, or those of a solver written as one. */
export interface Parts extends Pick<SolverTable, 'modelTimes' | 'derive' | 'correct' | 'noise' | 'form'> {
  /** The schedule's, one more than rows. */
  readonly times: Float64Array;
  readonly rows: readonly (readonly number[])[];
}

export function tablePlan(solver: Solver, parts: Parts): Plan {
  const { modelTimes, derive, correct, noise, form, times, rows } = parts;
  const { scale, steps } = foldSteps(
    rows.map((row, i) => (modelTimes?.[i] === null ? { row, derive: derive![i] } : { row })),
  );
  const sums = steps.map((step) => sumsOf(step, correct?.[step.step] ?? null));
  const layout = new Layout(sums, scale !== 1);
  const evaluations = steps.map(({ step }, k): Evaluation => {
    const time = times[step];
    const added = noise?.[step] ?? 0;
    const offset = k * ROW.length;
    const node = nodeOf(solver.schedule, time);
    if (form === 'output') outputPrediction(solver, node, layout.rows, offset);
    else predict(solver, layout.rows, k, node, form, time);
    layout.rows[offset + ROW.first + SUM.n] = added;
    const places = layout.place(k);
    keepNoise(solver, layout.rows, k, node);
    return {
      ...places,
      time,
      modelTime: modelTimes?.[step] ?? solver.schedule.modelTime(time),
      row: k,
      reached: times[steps[k + 1]?.step ?? times.length - 1],
      noisy: added !== 0,
      denoises: false,
      predictsData: form === 'data',
      ...askedAt(solver, form, node),
    };
  });
  return {
    evaluations,
    rows: layout.rows,
    stateSlots: layout.stateSlots,
    historySlots: layout.historySlots,
    steps: evaluations.length,
    start: times[0],
    ...(scale === 1 ? {} : { begin: layout.begin(scale) }),
  };
}

/** With a corrector the base is the state as it was corrected last: the step's row acts on what the correction gives. */
function sumsOf({ row }: FoldedStep, correction: readonly number[] | null): Sums {
  if (!correction) return { first: row, second: null };
  const [a, ...weights] = row;
  const first = [a * correction[0]];
  for (let k = 0; k < Math.max(weights.length, correction.length - 1); k++) {
    first.push((weights[k] ?? 0) + a * (correction[k + 1] ?? 0));
  }
  return { first, second: correction };
}

/** P is the network's output itself, or the guided one. */
function outputPrediction({ guidance }: Solver, node: Node, rows: Float64Array, offset: number): void {
  const scale = scaleAt(guidance, node) ?? 1;
  rows[offset + ROW.cm] = scale;
  rows[offset + ROW.cu] = 1 - scale;
  rows[offset + ROW.ep] = 1;
}

/**
 * Slots and rows. Without correctors two states take turns; with them three, as what a corrector starts from may be
 * the state before the one that the network sees, and two corrected ones. History entries go round as many slots as are
 * read; the newest takes the place of the oldest, which its own step still reads, but no further one.
 */
class Layout {
  readonly rows: Float64Array;
  readonly stateSlots: number;
  readonly historySlots: number;
  readonly #sums: readonly Sums[];
  readonly #corrects: boolean;
  /** Further steps come after the evaluations. */
  #next: number;

  constructor(sums: readonly Sums[], begins: boolean) {
    const lengths = sums.flatMap(({ first, second }) => [first.length, second?.length ?? 0]);
    const longest = Math.max(...lengths);
    this.#sums = sums;
    this.#corrects = sums.some(({ second }) => second !== null);
    this.#next = sums.length;
    this.stateSlots = this.#corrects ? 5 : 2;
    this.historySlots = longest > OFFSETS.length ? longest - 1 : longest - 2;
    const further = lengths.reduce((sum, length) => sum + Math.max(0, Math.ceil((length - OFFSETS.length) / MORE)), 0);
    this.rows = new Float64Array((sums.length + further + (begins ? 1 : 0)) * ROW.length);
  }

  /** The k-th evaluation's slots; fills its sums. */
  place(k: number): Pick<Evaluation, 'seen' | 'base' | 'out' | 'out2' | 'keep' | 'history' | 'more'> {
    const { first, second } = this.#sums[k];
    const turns = this.#corrects ? 3 : 2;
    const seen = k % turns;
    const out = (k + 1) % turns;
    const last = k + 1 === this.#sums.length;
    const base = second ? this.#corrected(k - 1) : seen;
    const out2 = second && !last ? this.#corrected(k) : undefined;
    this.#fill(k, ROW.first, first.slice(0, OFFSETS.length));
    if (out2 !== undefined) this.#fill(k, ROW.second, second!.slice(0, OFFSETS.length));
    const more = [...this.#complete(k, out, first), ...(out2 === undefined ? [] : this.#complete(k, out2, second!))];
    const read = Math.max(first.length, second?.length ?? 0);
    return {
      seen,
      base,
      out,
      ...(out2 === undefined ? {} : { out2 }),
      keep: last || this.historySlots === 0 ? -1 : k % this.historySlots,
      history: Array.from({ length: Math.min(read, OFFSETS.length) - 2 }, (_, j) => this.#history(k - 1 - j)),
      ...(more.length > 0 ? { more } : {}),
    };
  }

  /** Multiplies the start. */
  begin(scale: number): Further {
    const row = this.#next++;
    this.#fill(row, ROW.first, [scale]);
    return { row, seen: 0, base: 0, out: 0, keep: -1, history: [], predictsData: false, time: 0, kept: -1 };
  }

  #history(k: number): number {
    return k % this.historySlots;
  }

  /** Where y_k is: the state itself, unless a corrector made it. */
  #corrected(k: number): number {
    return this.#sums[k].second ? 3 + (k % 2) : k % 3;
  }

  #fill(row: number, sum: number, entries: readonly number[]): void {
    entries.forEach((entry, j) => {
      this.rows[row * ROW.length + sum + OFFSETS[j]] = entry;
    });
  }

  /** Adds what of a sum did not fit into its step, in place. */
  #complete(k: number, slot: number, entries: readonly number[]): Further[] {
    const steps: Further[] = [];
    for (let at = OFFSETS.length; at < entries.length; at += MORE) {
      const row = this.#next++;
      this.rows[row * ROW.length + ROW.transform] = TRANSFORM.given;
      this.#fill(row, ROW.first, [1, ...entries.slice(at, at + MORE)]);
      // The entry at index j is of the evaluation k + 1 - j.
      const slots = Array.from({ length: Math.min(MORE, entries.length - at) }, (_, j) =>
        this.#history(k + 1 - at - j),
      );
      const [kept, ...history] = slots;
      steps.push({ row, seen: slot, base: slot, out: slot, keep: -1, history, predictsData: false, time: 0, kept });
    }
    return steps;
  }
}
