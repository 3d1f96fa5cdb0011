// Makes the plan of a run whose times are given. Everything here is scalars; the tensors come in run.ts.

import { ROW, STATUS, SUM, type Update } from '../addon/coefficients.js';
import { multistepOrders, type Order, singlestepPlan, timeGrid } from '../schedule/grid.js';
import type { NoiseSchedule, ScheduleNode } from '../schedule/noise-schedule.js';
import { nodeOf } from '../schedule/sigmas.js';
import type { Sampler, Solver } from './options.js';
import { askedAt } from './guidance.js';
import type { Evaluation, Plan } from './plan.js';
import { ipndmRows } from './ipndm.js';
import { fillRow, noValue, predict } from './rows.js';
import type { TableForm } from './table.js';
import { tablePlan } from './table-plan.js';
import { unicRow } from './unic.js';

/** @throws RangeError where the schedule's end and the network's type leave an evaluation without a value */
export function fixedPlan(solver: Solver, sampler: Sampler): Plan {
  const { table, method, denoiseToZero } = sampler;
  // A table says what its rows combine, whatever the algorithm, and so does iPNDM.
  const flow = solver.schedule.kind === 'flow';
  const form = table?.table.form ?? (method === 'ipndm' ? (flow ? 'output' : 'noise') : solver.form);
  const own = form === 'output' ? solver : { ...solver, form };
  const plan = planOf(own, sampler, form);
  return withKeptRows(denoiseToZero ? denoised(own, plan) : plan);
}

/** Rows of what guidance keeps come after all others. */
function withKeptRows(plan: Plan): Plan {
  const kept = plan.evaluations.flatMap(({ guide }) => guide?.keep?.row ?? []);
  if (kept.length === 0) return plan;
  const rows = new Float64Array(plan.rows.length + kept.length * ROW.length);
  rows.set(plan.rows);
  let index = plan.rows.length / ROW.length;
  const evaluations = plan.evaluations.map((one) => {
    const row = one.guide?.keep?.row;
    if (!one.guide || !row) return one;
    rows.set(row, index * ROW.length);
    return { ...one, guide: { ...one.guide, keep: { row, index: index++ } } };
  });
  return { ...plan, rows, evaluations };
}

function planOf(solver: Solver, sampler: Sampler, form: TableForm): Plan {
  const { table, corrector, method, afs, order } = sampler;
  const { rows, modelTimes, derive } = table?.table ?? {};
  if (table && rows) return tablePlan(solver, { ...table.table, times: table.times, rows });
  const times =
    table?.times ?? (method === 'ipndm' || corrector || afs ? timeGrid(solver.schedule, sampler) : undefined);
  if (times === undefined) return new Planner(solver, sampler).plan();
  const nodes = Array.from(times, (t) => nodeOf(solver.schedule, t));
  if (method === 'ipndm') {
    const rows = ipndmRows(nodes, order, form === 'output');
    return tablePlan(solver, { form, times, rows, ...(afs ? withoutFirst(solver.schedule, times, form) : {}) });
  }
  const plan = new Planner(solver, sampler).plan();
  if (!corrector && !afs && !modelTimes?.includes(null)) return plan;
  // The classic plan as a table, with a corrector, or with steps that make no evaluation.
  const orders = multistepOrders(times.length - 1, order, sampler.lowerOrderFinal) as Order[];
  return tablePlan(solver, {
    ...{ form, times, modelTimes, derive },
    rows: plan.evaluations.map(({ row }, i) => sumOf(plan.rows, row, orders[i])),
    ...(afs ? withoutFirst(solver.schedule, times, form) : {}),
    ...(corrector
      ? { correct: orders.map((_, i) => (i === 0 ? null : unicRow(solver.form, nodes, i, orders[i - 1]))) }
      : {}),
  });
}

/**
 * No evaluation at the start: the noise there is taken to be x_T / sqrt(alpha^2 + sigma^2), and the data what that leaves
 * of x_T, which is next to nothing; the velocity of a flow is the noise.
 */
function withoutFirst(schedule: NoiseSchedule, times: Float64Array, form: TableForm) {
  const { alpha, sigma } = schedule.node(times[0]);
  const noise = 1 / Math.hypot(alpha, sigma);
  const data = alpha === 0 ? 0 : (1 - sigma * noise) / alpha;
  const steps = Array.from(times.subarray(1), (_, i) => i);
  return {
    modelTimes: steps.map((i) => (i === 0 ? null : schedule.modelTime(times[i]))),
    derive: steps.map((i) => (i === 0 ? [form === 'data' ? data : noise] : [])),
  };
}

/** The first sum of a row of an order, as a table has it. */
function sumOf(rows: Float64Array, index: number, order: Order): number[] {
  const at = index * ROW.length + ROW.first;
  return [SUM.a, SUM.bp, SUM.b1, SUM.b2].slice(0, 1 + order).map((offset) => rows[at + offset]);
}

/** With one more evaluation at the end, whose predicted x0 is the result. */
function denoised(solver: Solver, plan: Plan): Plan {
  const { evaluations, stateSlots } = plan;
  const last = evaluations[evaluations.length - 1];
  const time = last.reached!;
  const node = solver.schedule.node(time);
  const index = plan.rows.length / ROW.length;
  const rows = new Float64Array(plan.rows.length + ROW.length);
  rows.set(plan.rows);
  predict(solver, rows, index, node, solver.form, time);
  const sum = index * ROW.length + ROW.first;
  if (solver.form === 'data') {
    rows[sum + SUM.bp] = 1;
  } else if (node.alpha > 0) {
    // x0 = (x - sigma epsilon) / alpha
    rows[sum + SUM.a] = 1 / node.alpha;
    rows[sum + SUM.bp] = -node.sigma / node.alpha;
  } else {
    noValue(solver, time, STATUS.atNoise);
  }
  const evaluation: Evaluation = {
    time,
    modelTime: solver.schedule.modelTime(time),
    row: index,
    seen: last.out,
    base: last.out,
    out: (last.out + 1) % stateSlots,
    keep: -1,
    history: [],
    reached: 0,
    noisy: false,
    denoises: true,
    predictsData: solver.form === 'data',
    ...askedAt(solver, solver.form, node),
  };
  return { ...plan, rows, evaluations: [...evaluations, evaluation], steps: plan.steps + 1 };
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
    const { method } = this.#sampler;
    const times = method === 'multistep' ? this.#multistep() : this.#singlestep();
    return {
      evaluations: this.#evaluations,
      rows: this.#rows,
      stateSlots: this.#stateSlots,
      historySlots: this.#historySlots,
      steps: times.length - 1,
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

  #allot(evaluations: number): void {
    this.#rows = new Float64Array(evaluations * ROW.length);
  }

  #add(
    evaluation: Omit<Evaluation, 'modelTime' | 'row' | 'noisy' | 'denoises' | 'predictsData' | 'doubled' | 'guide'>,
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
      ...askedAt(solver, predictsData ? 'data' : 'noise', node),
    });
  }
}
