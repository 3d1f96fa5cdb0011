// The loop turned inside out: a run asks for one network evaluation at a time.

import { type Later, whenDone } from '../base/later.js';
import { type Listener, listening } from '../base/listener.js';
import type { Tensor } from '../base/tensor.js';
import { nodeOf } from '../schedule/sigmas.js';
import type { Engine, EngineMaker, Found, LateFound, Sizes } from './engine.js';
import { mayDouble } from './guidance.js';
import type { PutsKnown } from './known.js';
import type { Progress, Sampler, Solver } from './options.js';
import type { Evaluation, Further, Plan } from './plan.js';
import { fixedPlan } from './planner.js';

/**
 * A sampling run for those who own their loop, of tensors like xT (T) and with a network that gives Outputs:
 *
 *     const run = solver.start(xT, { steps: 20 });
 *     while (!run.done) run.advance(await unet(run.x, run.t));
 *     run.result;
 */
export interface Run<T = Tensor, Output = T> {
  /** Is there nothing left to evaluate? */
  readonly done: boolean;
  /**
   * What the network gets: 2B samples under classifier-free guidance, where it is asked without the condition as well (a
   * scale other than 1, within the interval). A view that the next
   * `advance` overwrites and reads the state from: it is not to be written to. When an output was not finite, still the
   * last good state. Of xT's class; its `type` is that of `modelDtype` where one was given.
   */
  readonly x: T;
  /** What the network is told: the schedule's modelTime. */
  readonly t: number;
  /** The schedule's time of this evaluation. */
  readonly time: number;
  /** Evaluations so far; in a guided run those with the condition alone count half. */
  readonly nfe: number;
  /** Of an SDE's noise, chosen where none was given; undefined for an ODE. */
  readonly seed: number | readonly number[] | undefined;
  /**
   * Takes the network's output for `x` at `t` and runs the fused step; synchronous. Once per evaluation, stages
   * included.
   *
   * @param output a tensor of the dims of `x`, of the state's type, or float16 for a float32 state
   * @param gradient of log p(condition | x) in x, for classifier guidance
   * @throws TypeError or RangeError for an output of another shape or type (the run is as it was), Error for one that
   *   is not finite, for a call from inside a callback of this run and for a call after the end
   */
  advance(output: Output, gradient?: Output): void;
  /** The sample, in xT's class and type, the caller's own; throws before the end. */
  readonly result: T;
}

/** What `sample` needs of a run beyond {@link Run}. @internal */
export interface InternalRun extends Run {
  readonly intermediates: Tensor[];
  readonly times: number[];
  readonly engine: Engine;
  /** Calls of the network so far, each counted as one. */
  readonly evaluations: number;
  /** What has to be waited for before the first evaluation, with an engine that may take its time. */
  readonly ready: Promise<void> | undefined;
  /** As `advance`, with an engine that may take its time: a promise if it does. */
  proceed(output: Tensor, gradient?: Tensor): Later<void>;
  /** Waits for what a card has still to do, and throws what it found wrong. */
  settle(): Promise<void>;
  /** Fetches the network's next input from the card, and throws what was found wrong so far. */
  fetch(): Promise<void>;
  /** The sample, where a card may still be at work on it; after what `onStep` has begun. */
  finish(): Promise<Tensor>;
}

/** What runs with given times and adaptive runs share. @internal */
export abstract class BaseRun implements InternalRun {
  readonly intermediates: Tensor[] = [];
  readonly times: number[] = [];
  readonly engine: Engine;
  ready: Promise<void> | undefined;
  protected readonly solver: Solver;
  protected readonly sampler: Sampler;
  /** Calls of the network; nfe counts those of half a batch as halves. */
  #evaluations = 0;
  #nfe = 0;
  #steps = 0;
  #busy = false;
  #failure: Error | null = null;
  #result: Tensor | null = null;
  readonly #listener: Listener<Progress> | undefined;
  /** Where each evaluation stood, for an engine that tells later what is wrong. */
  readonly #places: { evaluation: number; step: number; time: number }[] = [];

  protected constructor(solver: Solver, sampler: Sampler, xT: Tensor, sizes: Sizes, start: number, make: EngineMaker) {
    this.solver = solver;
    this.sampler = sampler;
    this.#listener = sampler.onStep && listening(sampler.onStep);
    this.engine = make(solver, sampler, xT, sizes);
    if (sampler.intermediates) this.intermediates.push(this.engine.copy(0));
    this.times.push(start);
  }

  abstract readonly done: boolean;
  abstract readonly t: number;
  abstract readonly time: number;
  /** Is the network asked twice, without and with the condition? */
  protected abstract readonly doubled: boolean;
  /** The slot of the state that the network sees next, or of the sample. */
  protected abstract readonly slot: number;
  protected abstract readonly totalSteps: number;
  /** Runs the update that follows the network's output. */
  protected abstract step(output: Tensor, gradient: Tensor | undefined): Later<void>;

  get nfe(): number {
    return this.#nfe;
  }

  get seed(): number | readonly number[] | undefined {
    return this.engine.seed;
  }

  get x(): Tensor {
    return this.engine.input(this.slot, this.doubled);
  }

  get result(): Tensor {
    if (!this.done)
      throw new Error(`Expected a finished run for result but received one after ${this.#evaluations} evaluations`);
    if (this.#result) return this.#result;
    this.settleNow();
    this.#result = this.engine.result(this.slot);
    return this.#result;
  }

  advance(output: Tensor, gradient?: Tensor): void {
    const going = this.proceed(output, gradient);
    if (!(going instanceof Promise)) return;
    // What comes of it is nobody's any more.
    going.catch(() => {});
    this.fail(
      new Error('Expected an engine that steps at once for advance but received one that only sample waits for'),
    );
  }

  proceed(output: Tensor, gradient?: Tensor): Later<void> {
    if (this.#busy) throw new Error('Expected one advance at a time but received a call from inside another');
    if (this.#failure) throw new Error(`Expected no further advance, as this run has failed: ${this.#failure.message}`);
    if (this.done) throw new Error('Expected no further advance, as this run is done, but received one');
    this.#busy = true;
    let going: Later<void>;
    try {
      going = this.step(output, gradient);
    } finally {
      this.#busy = false;
    }
    return going instanceof Promise ? this.#busyUntil(going) : undefined;
  }

  #busyUntil(going: Promise<void>): Promise<void> {
    this.#busy = true;
    return going.finally(() => {
      this.#busy = false;
    });
  }

  /** Counts an evaluation whose update has been made. */
  protected countEvaluation(doubled: boolean): void {
    this.#evaluations++;
    this.#nfe += doubled || !mayDouble(this.solver.guidance) ? 1 : 0.5;
  }

  /** Calls of the network so far. */
  get evaluations(): number {
    return this.#evaluations;
  }

  protected fail(error: Error): never {
    this.#failure = error;
    throw error;
  }

  /** Stops the run if a prediction was not finite. */
  protected checkFinite(found: Found, time: number): void {
    const evaluation = this.#evaluations + 1;
    if (this.engine.late) this.#places.push({ evaluation, step: this.#steps + 1, time });
    if (found.sample >= 0) this.#notFinite(found, evaluation, this.#steps + 1, time);
  }

  async settle(): Promise<void> {
    const { late } = this.engine;
    if (late) this.#judgeLate(await late.soon());
  }

  async fetch(): Promise<void> {
    await Promise.all([this.settle(), this.engine.fetch?.(this.slot, this.doubled)]);
  }

  async finish(): Promise<Tensor> {
    await this.#listener?.done();
    if (!this.engine.late) return this.result;
    const result = this.engine.copy(this.slot);
    await this.settle();
    this.#result = result;
    return result;
  }

  /** The same while this thread waits. */
  protected settleNow(): void {
    const { late } = this.engine;
    if (late) this.#judgeLate(late.now());
  }

  #judgeLate(found: LateFound | null): void {
    if (!found) return;
    const { evaluation, step, time } = this.#places[found.apply];
    this.#notFinite(found, evaluation, step, time);
  }

  #notFinite({ sample, corrected }: Found, evaluation: number, step: number, time: number): never {
    const what = corrected ? "correctX0's result" : 'the network output';
    return this.fail(
      new Error(
        `Expected finite numbers for ${what} but received NaN or Infinity for sample ${sample} at evaluation ${evaluation} (step ${step}, time ${time})`,
      ),
    );
  }

  /** Lets correctXt change the state of a step that is about to be completed; ends the run if that does not work. */
  protected correct(slot: number, time: number): Later<void> {
    const { correctXt } = this.solver;
    if (!correctXt) return;
    const failed = (error: unknown): never => {
      // The history has moved on already, so that this step cannot be tried again.
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    };
    try {
      const { known } = correctXt as Partial<PutsKnown>;
      const at = known && { ...known, ...nodeOf(this.solver.schedule, time) };
      const going = this.engine.correct(slot, (x) => correctXt(x, time, this.#steps + 1), at);
      return going instanceof Promise ? going.catch(failed) : going;
    } catch (error) {
      return failed(error);
    }
  }

  /** After a completed step: intermediates and progress. */
  protected complete(slot: number, reached: number): Later<void> {
    this.#steps++;
    this.times.push(reached);
    if (this.sampler.intermediates) this.intermediates.push(this.engine.copy(slot));
    if (this.#listener) return this.#tell(this.#listener, slot, reached);
  }

  #tell(listener: Listener<Progress>, slot: number, t: number): Later<void> {
    return whenDone(this.engine.view(slot), (x) => {
      listener.tell({ step: this.#steps, steps: this.totalSteps, nfe: this.#nfe, t, x });
    });
  }
}

/** A run whose times are given: multistep and singlestep. @internal */
export class FixedRun extends BaseRun {
  readonly #plan: Plan;
  #index = 0;

  static build(solver: Solver, sampler: Sampler, xT: Tensor, make: EngineMaker): FixedRun {
    return new FixedRun(solver, sampler, xT, fixedPlan(solver, sampler), make);
  }

  constructor(solver: Solver, sampler: Sampler, xT: Tensor, plan: Plan, make: EngineMaker) {
    const sizes = { states: plan.stateSlots, history: plan.historySlots, evaluations: plan.evaluations.length };
    super(solver, sampler, xT, sizes, plan.start, make);
    this.#plan = plan;
    this.engine.plan?.(plan);
    const going = this.begin();
    if (going instanceof Promise) this.ready = going;
  }

  /** What a table does to the start before the first evaluation. */
  begin(): Later<void> {
    const { begin, rows } = this.#plan;
    if (begin) return this.engine.applyKept(rows, begin, begin.kept);
  }

  get #next(): Evaluation {
    const { evaluations } = this.#plan;
    return evaluations[Math.min(this.#index, evaluations.length - 1)];
  }

  get done(): boolean {
    return this.#index === this.#plan.evaluations.length;
  }

  get t(): number {
    return this.#next.modelTime;
  }

  get time(): number {
    return this.#next.time;
  }

  protected get doubled(): boolean {
    return this.#next.doubled;
  }

  protected get slot(): number {
    return this.done ? this.#next.out : this.#next.seen;
  }

  /** Of the sample, once the run is done. */
  get finalSlot(): number {
    return this.#next.out;
  }

  protected get totalSteps(): number {
    return this.#plan.steps;
  }

  protected step(output: Tensor, gradient: Tensor | undefined): Later<void> {
    const evaluation = this.#next;
    const read = this.engine.readOutput(output, gradient, evaluation.doubled);
    const found = this.engine.apply(this.#plan.rows, evaluation, read);
    // Closures of their own, not whenDone: a step that is made at once is to allocate nothing.
    return found instanceof Promise ? this.#appliedLater(evaluation, found) : this.#applied(evaluation, found);
  }

  #appliedLater(evaluation: Evaluation, found: Promise<Found>): Promise<void> {
    return found.then((value) => this.#applied(evaluation, value));
  }

  #applied(evaluation: Evaluation, found: Found): Later<void> {
    this.checkFinite(found, evaluation.time);
    return evaluation.more ? this.#further(evaluation, evaluation.more) : this.#summed(evaluation);
  }

  /** Completes the sums of a row that is longer than a step. */
  #further(evaluation: Evaluation, more: readonly Further[]): Later<void> {
    const [first, ...rest] = more;
    return whenDone(this.engine.applyKept(this.#plan.rows, first, first.kept), () =>
      rest.length > 0 ? this.#further(evaluation, rest) : this.#summed(evaluation),
    );
  }

  #summed(evaluation: Evaluation): Later<void> {
    const { reached, denoises, time, out } = evaluation;
    const going = reached === undefined ? undefined : this.correct(out, denoises ? time : reached);
    return going instanceof Promise ? this.#correctedLater(evaluation, going) : this.#moveOn(evaluation);
  }

  #correctedLater(evaluation: Evaluation, going: Promise<void>): Promise<void> {
    return going.then(() => this.#moveOn(evaluation));
  }

  #moveOn({ reached, out, doubled }: Evaluation): Later<void> {
    this.#index++;
    this.countEvaluation(doubled);
    if (reached !== undefined) return this.complete(out, reached);
  }
}
