// Makes the plan of a run whose times are given. Everything here is scalars; the tensors come in run.ts.

import { ROW, STATUS, SUM, type Update } from '../addon/coefficients.js';
import { multistepOrders, singlestepPlan, timeGrid } from '../schedule/grid.js';
import type { NoiseSchedule, ScheduleNode } from '../schedule/noise-schedule.js';
import { nodeOf } from '../schedule/sigmas.js';
import type { Sampler, Solver } from './options.js';
import type { Evaluation, Plan } from './plan.js';
import { fillRow, noValue, predict } from './rows.js';
import { tablePlan } from './table-plan.js';

/** @throws RangeError where the schedule's end and the network's type leave an evaluation without a value */
export function fixedPlan(solver: Solver, sampler: Sampler): Plan {
  const { table } = sampler;
  if (!table) return new Planner(solver, sampler).plan();
  const { form, rows, modelTimes } = table.table;
  // The table says what its rows combine, whatever the algorithm.
  const other = form === 'output' ? solver : { ...solver, form };
  if (rows) return tablePlan(other, table, rows);
  const plan = new Planner(other, sampler).plan();
  if (!modelTimes?.includes(null)) return plan;
  return tablePlan(
    other,
    table,
    plan.evaluations.map(({ row }) => sumOf(plan.rows, row)),
  );
}

/** The first sum of a row, as a table has it. */
function sumOf(rows: Float64Array, index: number): number[] {
  const at = index * ROW.length + ROW.first;
  const row = [SUM.a, SUM.bp, SUM.b1, SUM.b2].map((offset) => rows[at + offset]);
  return row.slice(0, Math.min(row.length, index + 2));
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
    const { order, taylor, lowerOrderFinal, table } = this.#sampler;
    const times = table ? table.times : timeGrid(this.#schedule, this.#sampler);
    const nodes = Array.from(times, (t) => nodeOf(this.#schedule, t));
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
      modelTime: this.#sampler.table?.table.modelTimes?.[row] ?? this.#schedule.modelTime(evaluation.time),
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
