// Step-size control by a pair of orders (Lu et al. 2022, "DPM-Solver": DPM-Solver-12 and -23): 1 and 2, or 2 and 3, that share
// their network evaluations.
import { ROW, SUM, type Update } from '../addon/coefficients.js';
import { type Later, whenDone } from '../base/later.js';
import type { Tensor } from '../base/tensor.js';
import { requireFiniteLambda } from '../schedule/grid.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';
import type { Application, EngineMaker, Output } from './engine.js';
import { askedAt } from './guidance.js';
import type { Sampler, Solver } from './options.js';
import { fillRow, fillSecond } from './rows.js';
import { BaseRun } from './run.js';

const FIRST_STEP = 0.05;
const SAFETY = 0.9;
/** As published: the end is reached when t is this close to it. The PI controller goes all the way. */
const TIME_TOLERANCE = 1e-5;

/** A step being tried: from s to target, its stages at s1 (and s2), seen at `stage`. */
interface Attempt {
  h: number;
  target: ScheduleNode;
  targetTime: number;
  /** Times and nodes at which the network is evaluated, s first. */
  times: number[];
  nodes: ScheduleNode[];
}

/** @internal */
export class AdaptiveRun extends BaseRun {
  readonly #rows: Float64Array;
  readonly #order: 2 | 3;
  readonly #direction: number;
  readonly #endLambda: number;
  #time: number;
  #lambda: number;
  #h: number;
  #lastError = 1;
  #attempt: Attempt;
  #stage = 0;
  #finished = false;
  #denoising = false;
  // Slots of the states; a step taken makes `high` the state and `low` the previous one.
  #x = 0;
  #previous = 0;
  #low = 1;
  #high = 2;
  #stages = [3, 4];

  static build(solver: Solver, sampler: Sampler, xT: Tensor, make: EngineMaker): AdaptiveRun {
    requireFiniteLambda(solver.schedule, sampler.tStart, 'tStart', "method 'adaptive'");
    requireFiniteLambda(solver.schedule, sampler.tEnd, 'tEnd', "method 'adaptive'");
    return new AdaptiveRun(solver, sampler, xT, make);
  }

  private constructor(solver: Solver, sampler: Sampler, xT: Tensor, make: EngineMaker) {
    super(solver, sampler, xT, { states: 6, history: 2, evaluations: 0 }, sampler.tStart, make);
    this.#order = sampler.order as 2 | 3;
    this.#rows = new Float64Array(this.#order * ROW.length);
    this.#time = sampler.tStart;
    this.#lambda = solver.schedule.lambda(sampler.tStart);
    this.#endLambda = solver.schedule.lambda(sampler.tEnd);
    this.#direction = Math.sign(this.#endLambda - this.#lambda);
    this.#h = this.#direction * FIRST_STEP;
    this.#allow(this.#order);
    this.#attempt = this.#prepare();
  }

  get done(): boolean {
    return this.#finished;
  }

  get time(): number {
    return this.#finished || this.#denoising || this.#stage === 0 ? this.#time : this.#attempt.times[this.#stage];
  }

  get t(): number {
    return this.solver.schedule.modelTime(this.time);
  }

  protected get doubled(): boolean {
    return this.#asked.doubled;
  }

  /** How the network is asked now. */
  get #asked() {
    const { solver } = this;
    const first = this.#finished || this.#denoising;
    const node = first ? solver.schedule.node(this.#time) : this.#attempt.nodes[this.#stage];
    return askedAt(solver, solver.form, node);
  }

  protected get slot(): number {
    return this.#finished || this.#denoising || this.#stage === 0 ? this.#x : this.#stages[this.#stage - 1];
  }

  protected get totalSteps(): number {
    return 0;
  }

  /** Chooses target and stages for the step size at hand, and fills the rows. */
  #prepare(): Attempt {
    const { schedule } = this.solver;
    const remaining = this.#endLambda - this.#lambda;
    const last = Math.abs(this.#h) >= Math.abs(remaining);
    const h = last ? remaining : this.#h;
    const at = (fraction: number) => schedule.inverseLambda(this.#lambda + fraction * h);
    const targetTime = last ? this.sampler.tEnd : at(1);
    const fractions = this.#order === 2 ? [1 / 2] : [1 / 3, 2 / 3];
    const times = [this.#time, ...fractions.map(at)];
    this.#h = h;
    const attempt = {
      h,
      targetTime,
      target: schedule.node(targetTime),
      times,
      nodes: times.map((t) => schedule.node(t)),
    };
    for (let stage = 0; stage < this.#order; stage++) this.#fill(attempt, stage);
    return attempt;
  }

  #fill(attempt: Attempt, stage: number): void {
    const { nodes, times, target } = attempt;
    const last = stage === this.#order - 1;
    const update = (to: ScheduleNode, taylor: boolean): Omit<Update, 'form' | 'exact' | 'tau2'> => ({
      method: 'singlestep',
      order: (stage + 1) as 1 | 2 | 3,
      taylor,
      target: to,
      base: nodes[0],
      nodes: nodes.slice(0, stage + 1).reverse(),
    });
    const { taylor } = this.sampler;
    const first = last ? update(target, taylor) : update(nodes[stage + 1], true);
    fillRow(this.solver, this.#rows, stage, times[stage], nodes[stage], first);
    // The lower order of the pair goes the whole way from what the stage before the last knows.
    if (stage === this.#order - 2) fillSecond(this.solver, this.#rows, stage, times[stage], update(target, taylor));
  }

  #application(stage: number): Application {
    const last = stage === this.#order - 1;
    return {
      row: stage,
      seen: this.slot,
      base: this.#x,
      out: last ? this.#high : this.#stages[stage],
      out2: stage === this.#order - 2 ? this.#low : undefined,
      keep: last ? -1 : stage,
      history: Array.from({ length: stage }, (_, k) => stage - 1 - k),
      predictsData: this.solver.form === 'data',
      time: this.#attempt.times[stage],
    };
  }

  protected step(output: Tensor, gradient: Tensor | undefined): Later<void> {
    const asked = this.#asked;
    const read = this.engine.readOutput(output, gradient, asked.doubled);
    if (this.#denoising) return this.#denoise(read);
    return whenDone(this.engine.apply(this.#rows, { ...this.#application(this.#stage), ...asked }, read), (found) => {
      this.checkFinite(found, this.time);
      this.countEvaluation(asked.doubled);
      this.#stage++;
      if (this.#stage === this.#order) return this.#judge();
    });
  }

  #judge(): Later<void> {
    const { atol, rtol } = this.sampler;
    this.settleNow();
    const error = this.engine.largestError(this.#low, this.#high, this.#previous, atol, rtol);
    return whenDone(error, (value) => this.#decide(value));
  }

  /** Takes the step or tries a shorter one, and chooses the size of the next. */
  #decide(error: number): Later<void> {
    const { controller } = this.sampler;
    const accepted = error <= 1;
    const { targetTime } = this.#attempt;
    const p = this.#order;
    if (accepted) {
      this.#time = targetTime;
      this.#lambda = this.#attempt.target.lambda;
      // high becomes the state, low the previous one; what these were is free.
      const free = [0, 1, 2, 3, 4, 5].filter((slot) => slot !== this.#high && slot !== this.#low);
      this.#x = this.#high;
      this.#previous = this.#low;
      [this.#low, this.#high] = free;
      this.#stages = free.slice(2);
    }
    this.#stage = 0;
    const before = this.#h;
    if (controller === 'integral') {
      this.#h = SAFETY * before * error ** (-1 / p);
    } else if (accepted) {
      // Söderlind's PI control; an error of zero must not ask for an infinite step.
      const e = Math.max(error, 1e-10);
      this.#h = before * clip(SAFETY * e ** (-0.7 / p) * this.#lastError ** (0.4 / p), 0.2, 5);
      this.#lastError = e;
    } else {
      // An error that is no number says nothing but "too far".
      this.#h = before * (Number.isFinite(error) ? clip(SAFETY * error ** (-1 / p), 0.2, 1) : 0.5);
    }
    // An error that is no number, or beyond all numbers, must not leave a step that is none.
    if (Number.isNaN(this.#h) || this.#h === 0) this.#h = before / 2;
    return accepted ? this.#accept(targetTime) : this.#again(controller === 'pi');
  }

  #accept(reached: number): Later<void> {
    const { tEnd, controller, denoiseToZero } = this.sampler;
    const ended = Math.abs(reached - tEnd) <= (controller === 'integral' ? TIME_TOLERANCE : 0);
    if (ended) this.#time = tEnd;
    let failure: unknown;
    try {
      if (!ended) this.#begin(this.#order);
      else if (denoiseToZero) this.#allow(1);
    } catch (error) {
      failure = error;
    }
    this.#denoising = ended && denoiseToZero;
    this.#finished = ended && !denoiseToZero;
    // The step has been made, whether or not another one follows.
    return whenDone(this.complete(this.#x, this.#time), () => {
      if (failure) throw failure;
    });
  }

  /** The next attempt, if `cost` more evaluations are allowed. */
  #begin(cost: number): void {
    this.#allow(cost);
    this.#attempt = this.#prepare();
  }

  #allow(cost: number): void {
    const { maxNfe } = this.sampler;
    if (this.nfe + cost > maxNfe) {
      this.fail(
        new RangeError(
          `Expected an adaptive run to end within maxNfe = ${maxNfe} evaluations but it stood at time ${this.#time} of ${this.sampler.tEnd} after ${this.nfe}, with a step size of ${Math.abs(this.#h)} in lambda`,
        ),
      );
    }
  }

  #again(reuse: boolean): Later<void> {
    this.#begin(reuse ? this.#order - 1 : this.#order);
    if (!reuse) return;
    // The prediction at s does not depend on the step size: only what follows from it is made again.
    return whenDone(this.engine.applyKept(this.#rows, { ...this.#application(0), keep: -1 }, 0), () => {
      this.#stage = 1;
    });
  }

  #denoise(output: Output): Later<void> {
    const { solver } = this;
    const node = solver.schedule.node(this.#time);
    const rows = new Float64Array(ROW.length);
    fillRow(solver, rows, 0, this.#time, node, {
      method: 'multistep',
      order: 1,
      target: node,
      base: node,
      nodes: [node],
    });
    rows.fill(0, ROW.first, ROW.second);
    rows[ROW.first + SUM.a] = solver.form === 'data' ? 0 : 1 / node.alpha;
    rows[ROW.first + SUM.bp] = solver.form === 'data' ? 1 : -node.sigma / node.alpha;
    const out = this.#low;
    const step = {
      row: 0,
      seen: this.#x,
      base: this.#x,
      out,
      keep: -1,
      history: [],
      predictsData: solver.form === 'data',
      time: this.#time,
      ...this.#asked,
    };
    const { doubled } = step;
    return whenDone(this.engine.apply(rows, step, output), (found) => {
      this.checkFinite(found, this.#time);
      this.countEvaluation(doubled);
      this.#x = out;
      this.#denoising = false;
      this.#finished = true;
      return this.complete(out, 0);
    });
  }
}

function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
