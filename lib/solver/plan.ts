// What a run with given times will do: for every network evaluation one coefficient row, and which buffers it reads and
// writes. Everything here is scalars; the tensors come in run.ts.

import {
  type Form,
  type Node,
  predictionRow,
  ROW,
  STATUS,
  type Status,
  SUM,
  TRANSFORM,
  type Update,
  updateRow,
} from '../addon/coefficients.js';
import { list } from '../base/check.js';
import { multistepOrders, singlestepPlan, timeGrid } from '../schedule/grid.js';
import type { NoiseSchedule, ScheduleNode } from '../schedule/noise-schedule.js';
import type { Sampler, Solver } from './options.js';

/** One network evaluation and the update that follows it. States and history entries are numbered slots. */
export interface Evaluation {
  /** The schedule's time at which the network is asked, and what it is told. */
  readonly time: number;
  readonly modelTime: number;
  /** Index of its row. */
  readonly row: number;
  /** State slots: what the network sees, what the step starts from, where the result goes. */
  readonly seen: number;
  readonly base: number;
  readonly out: number;
  /** History slots: where this prediction is kept (-1: nowhere), and the earlier ones that are read. */
  readonly keep: number;
  readonly history: readonly number[];
  /** Where the result stands if it completes a step; undefined for a stage. */
  readonly reached?: number;
  /** Does the update draw noise? */
  readonly noisy: boolean;
  /** Is the result the predicted x0 (denoiseToZero)? */
  readonly denoises: boolean;
  /** Is P an x0, so that thresholding and correctX0 apply? */
  readonly predictsData: boolean;
}

export interface Plan {
  readonly evaluations: readonly Evaluation[];
  /** One row of ROW.length doubles per evaluation. */
  readonly rows: Float64Array;
  readonly stateSlots: number;
  readonly historySlots: number;
  readonly steps: number;
  /** The schedule's time at the start. */
  readonly start: number;
}

/** @throws RangeError where the schedule's end and the network's type leave an evaluation without a value */
export function fixedPlan(solver: Solver, sampler: Sampler): Plan {
  return new Planner(solver, sampler).plan();
}

class Planner {
  readonly #solver: Solver;
  readonly #sampler: Sampler;
  readonly #schedule: NoiseSchedule;
  readonly #evaluations: Evaluation[] = [];
  #rows: Float64Array = new Float64Array(0);
  #stateSlots = 2;
  #historySlots = 0;

  constructor(solver: Solver, sampler: Sampler) {
    this.#solver = solver;
    this.#sampler = sampler;
    this.#schedule = solver.schedule;
  }

  plan(): Plan {
    const { method, denoiseToZero } = this.#sampler;
    const times = method === 'multistep' ? this.#multistep() : this.#singlestep();
    if (denoiseToZero) this.#denoise(times[times.length - 1]);
    return {
      evaluations: this.#evaluations,
      rows: this.#rows,
      stateSlots: this.#stateSlots,
      historySlots: this.#historySlots,
      steps: times.length - 1 + (denoiseToZero ? 1 : 0),
      start: times[0],
    };
  }

  #multistep(): Float64Array {
    const { order, taylor, lowerOrderFinal } = this.#sampler;
    const times = timeGrid(this.#schedule, this.#sampler);
    const nodes = Array.from(times, (t) => this.#schedule.node(t));
    const steps = times.length - 1;
    const orders = multistepOrders(steps, order, lowerOrderFinal);
    this.#historySlots = order - 1;
    this.#allot(steps);
    for (let i = 0; i < steps; i++) {
      const p = orders[i];
      // The newest prediction takes the place of the oldest, which this very update still reads.
      const slots = order - 1;
      const further = i + 1 < steps && slots > 0;
      this.#add(
        {
          time: times[i],
          seen: i % 2,
          base: i % 2,
          out: (i + 1) % 2,
          keep: further ? i % slots : -1,
          history: Array.from({ length: p - 1 }, (_, k) => (i - 1 - k) % slots),
          reached: times[i + 1],
        },
        nodes[i],
        {
          method: 'multistep',
          order: p as 1 | 2 | 3,
          taylor,
          target: nodes[i + 1],
          base: nodes[i],
          nodes: Array.from({ length: p }, (_, k) => nodes[i - k]),
        },
      );
    }
    return times;
  }

  #singlestep(): Float64Array {
    const { taylor, method } = this.#sampler;
    const { orders, outer, inner } = singlestepPlan(this.#schedule, {
      ...this.#sampler,
      fixed: method === 'singlestep_fixed',
    });
    const most = Math.max(...orders);
    this.#stateSlots = most > 1 ? 3 : 2;
    this.#historySlots = most - 1;
    this.#allot(orders.reduce((sum, p) => sum + p, 0));
    let base = 0;
    orders.forEach((order, i) => {
      // The stages' states go round the slots other than the base's.
      const state = (stage: number) => (stage === 0 ? base : (base + 1 + ((stage - 1) % 2)) % this.#stateSlots);
      const times = [outer[i], ...inner[i]];
      const nodes = times.map((t) => this.#schedule.node(t));
      const target = this.#schedule.node(outer[i + 1]);
      for (let stage = 0; stage < order; stage++) {
        const last = stage === order - 1;
        const seenNodes = nodes.slice(0, stage + 1).reverse();
        this.#add(
          {
            time: times[stage],
            seen: state(stage),
            base,
            out: state(stage + 1),
            keep: last ? -1 : stage,
            history: Array.from({ length: stage }, (_, k) => stage - 1 - k),
            reached: last ? outer[i + 1] : undefined,
          },
          nodes[stage],
          {
            method: 'singlestep',
            order: (stage + 1) as 1 | 2 | 3,
            // The second stage of a third-order step is always the one with the Taylor weights.
            taylor: taylor || !last,
            target: last ? target : nodes[stage + 1],
            base: nodes[0],
            nodes: seenNodes,
          },
        );
      }
      base = state(order);
    });
    return outer;
  }

  /** One more evaluation at the end, whose predicted x0 is the result. */
  #denoise(time: number): void {
    const node = this.#schedule.node(time);
    const index = this.#evaluations.length;
    const last = this.#evaluations[index - 1];
    this.#rows = append(this.#rows);
    predict(this.#solver, this.#rows, index, node, this.#solver.form, time);
    const sum = index * ROW.length + ROW.first;
    if (this.#solver.form === 'data') {
      this.#rows[sum + SUM.bp] = 1;
    } else if (node.alpha > 0) {
      // x0 = (x - sigma epsilon) / alpha
      this.#rows[sum + SUM.a] = 1 / node.alpha;
      this.#rows[sum + SUM.bp] = -node.sigma / node.alpha;
    } else {
      noValue(this.#solver, time, STATUS.atNoise);
    }
    this.#evaluations.push({
      time,
      modelTime: this.#schedule.modelTime(time),
      row: index,
      seen: last.out,
      base: last.out,
      out: (last.out + 1) % this.#stateSlots,
      keep: -1,
      history: [],
      reached: 0,
      noisy: false,
      denoises: true,
      predictsData: this.#solver.form === 'data',
    });
  }

  #allot(evaluations: number): void {
    this.#rows = new Float64Array(evaluations * ROW.length);
  }

  #add(
    evaluation: Omit<Evaluation, 'modelTime' | 'row' | 'noisy' | 'denoises' | 'predictsData'>,
    node: ScheduleNode,
    update: Omit<Update, 'form' | 'exact' | 'tau2'>,
  ): void {
    const solver = this.#solver;
    const row = this.#evaluations.length;
    const predictsData = fillRow(solver, this.#rows, row, evaluation.time, node, update);
    this.#evaluations.push({
      ...evaluation,
      modelTime: this.#schedule.modelTime(evaluation.time),
      row,
      noisy: this.#rows[row * ROW.length + ROW.first + SUM.n] !== 0,
      denoises: false,
      predictsData,
    });
  }
}

function append(rows: Float64Array): Float64Array {
  const longer = new Float64Array(rows.length + ROW.length);
  longer.set(rows);
  return longer;
}

/**
 * Fills row `index` with the prediction at `node` and the update that follows; says whether P is an x0.
 *
 * An inversion in data prediction that starts at sigma = 0 learns nothing from x0, which is x itself there: this one
 * step goes in noise prediction, and what the history keeps is x / alpha. An SDE in noise prediction that ends at
 * sigma = 0 would end in noise, of which its limit adds as much as the step has left to take away: this one step goes in
 * data prediction, whose limit is x0.
 */
export function fillRow(
  solver: Solver,
  rows: Float64Array,
  index: number,
  time: number,
  node: ScheduleNode,
  update: Omit<Update, 'form' | 'exact' | 'tau2'>,
): boolean {
  const { exact, tau2 } = solver;
  const fromClean = solver.form === 'data' && update.base.end === 1;
  const toClean = solver.form === 'noise' && tau2 > 0 && update.target.end === 1;
  const form: Form = fromClean ? 'noise' : toClean ? 'data' : solver.form;
  predict(solver, rows, index, node, form, time);
  if (fromClean) {
    rows[index * ROW.length + ROW.ep] = 0;
    rows[index * ROW.length + ROW.ex] = 1 / node.alpha;
  }
  const status = fromClean
    ? updateRow(rows, index, { ...update, method: 'multistep', order: 1, nodes: [update.base], form, tau2 })
    : updateRow(rows, index, { ...update, form, exact, tau2 });
  if (status !== STATUS.ok) noValue(solver, time, status);
  return form === 'data';
}

/** Fills the second sum of row `index`. */
export function fillSecond(
  solver: Solver,
  rows: Float64Array,
  index: number,
  time: number,
  update: Omit<Update, 'form' | 'exact' | 'tau2'>,
): void {
  const { exact, tau2, form } = solver;
  const status = updateRow(rows, index, { ...update, form, exact, tau2 }, 'second');
  if (status !== STATUS.ok) noValue(solver, time, status);
}

function predict(solver: Solver, rows: Float64Array, index: number, node: Node, form: Form, time: number): void {
  const { guidance, modelType, thresholding } = solver;
  const status =
    guidance.type === 'uncond'
      ? predictionRow(rows, index, modelType, form, node)
      : guidance.type === 'classifier-free'
        ? predictionRow(rows, index, modelType, form, node, 'classifierFree', guidance.scale)
        : predictionRow(rows, index, modelType, form, node, 'classifier', guidance.scale);
  if (status !== STATUS.ok) noValue(solver, time, status);
  if (thresholding && form === 'data') {
    const at = index * ROW.length;
    rows[at + ROW.transform] = TRANSFORM.quantile;
    rows[at + ROW.ratio] = thresholding.ratio;
    // s = max(quantile, maxValue), as published: in-range data is divided by maxValue.
    rows[at + ROW.floor] = thresholding.maxValue;
    rows[at + ROW.cap] = Infinity;
  }
}

function noValue(solver: Solver, time: number, status: Status): never {
  const names = [`modelType '${solver.modelType}'`, `algorithmType '${solver.algorithmType}'`];
  if (solver.guidance.type === 'classifier') names.push("guidance 'classifier'");
  const what = list(names, 'and');
  if (status === STATUS.atNoise) {
    throw new RangeError(
      `Expected a time with alpha above 0 with ${what} but received ${time}, where alpha is 0: set tStart (or tEnd of an inversion) below it`,
    );
  }
  if (status === STATUS.atClean) {
    throw new RangeError(
      `Expected a time with sigma above 0 with ${what} but received ${time}, where sigma is 0: set tEnd (or tStart of an inversion) above it`,
    );
  }
  throw new RangeError(`Expected times with finite coefficients with ${what} but received ${time} (status ${status})`);
}
