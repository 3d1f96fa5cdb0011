// The engine on the host: the tensors of a run (states, history and noise, made once) and the native step over them.
import { Arena, BYTES } from '../../addon/arena.js';
import { ROW, TRANSFORM } from '../../addon/coefficients.js';
import { addon, CHECK_FINITE, DOUBLED, type NetworkArray, type StateArray } from '../../addon/native.js';
import { type NoiseSource, noiseOfRun } from '../../addon/noise.js';
import {
  allocate,
  makeTensor,
  readTensor,
  sameDims,
  type Tensor,
  type TensorType,
  type TensorView,
  wrongDims,
} from '../../base/tensor.js';
import {
  type Application,
  type Engine,
  type EngineMaker,
  type Found,
  largestOf,
  type Output,
  type Sizes,
  wantsGradient,
} from '../../solver/engine.js';
import { keepsDifference, mayDouble } from '../../solver/guidance.js';
import type { Sampler, Solver } from '../../solver/options.js';

/** A state and what the network is given for it: the same memory where their types agree. */
interface Slot {
  readonly state: StateArray;
  /** The network's input, in its type; twice where the batch is doubled. */
  readonly input: Tensor;
  /** The first half of it, for an evaluation that takes the batch as it is; the input itself where it is never doubled. */
  readonly single: Tensor;
  /** What the step has to write besides the state to complete the input. */
  readonly next: NetworkArray | null;
  /** The state as the caller knows it: xT's dims and type. */
  readonly view: Tensor;
  /** What view holds; a tensor's own data is not asked for twice. */
  readonly viewData: NetworkArray;
  /** The state itself, in xT's dims. */
  readonly own: Tensor;
}

/** A checked output of the network. */
interface HostOutput extends Output {
  readonly m: NetworkArray;
  readonly g: NetworkArray | null;
}

/** @internal */
export const hostEngine: EngineMaker = (solver, sampler, xT, sizes) => new HostEngine(solver, sampler, xT, sizes);

/** @internal */
export class HostEngine implements Engine {
  readonly late = null;
  readonly fetches = false;
  readonly batch: number;
  readonly stateType: 'float32' | 'float64';
  readonly seed: number | readonly number[] | undefined;
  readonly #solver: Solver;
  readonly #xT: TensorView;
  readonly #inputDims: readonly number[];
  readonly #arena: Arena;
  readonly #slots: Slot[] = [];
  readonly #history: StateArray[] = [];
  readonly #flags: number;
  readonly #scratch: Uint8Array | null;
  readonly #rows: Float64Array;
  readonly #noise: NoiseSource | null = null;
  readonly #z: StateArray | null = null;
  #draws = 0;
  /** z holds the noise of a step that has not been made yet. */
  #drawn = false;
  readonly #x0: StateArray | null = null;
  readonly #x0View: Tensor | null = null;
  readonly #norms: Float64Array;
  /** What APG keeps of the answers' differences; there is none before the first one. */
  readonly #difference: StateArray | null = null;
  #differs = false;
  /** The difference is that of a step that has not been made yet. */
  #kept = false;

  constructor(solver: Solver, sampler: Sampler, xT: Tensor, { states, history }: Sizes) {
    const view = readTensor(xT, 'xT');
    this.#solver = solver;
    this.#xT = view;
    this.batch = view.batch;
    this.stateType = view.type === 'float64' ? 'float64' : 'float32';
    // bfloat16 is for networks on a card only.
    const inputType = (solver.modelDtype as TensorType | undefined) ?? view.type;
    const doubled = mayDouble(solver.guidance);
    this.#inputDims = doubled ? [2 * view.batch, ...view.dims.slice(1)] : view.dims;
    this.#flags = solver.checkFinite ? CHECK_FINITE : 0;
    const { thresholding, threads } = solver;
    const n = view.length / view.batch;
    const scratch = thresholding
      ? addon.scratchBytes(this.stateType === 'float64' ? 1 : 0, view.batch, n, thresholding.ratio, threads)
      : 0;
    const [state, outputs] = [BYTES[this.stateType] * view.length, doubled ? 2 : 1];
    this.#arena = new Arena(
      [
        [state, states + history + 3], // z, x0 and a difference as well
        [BYTES[inputType] * view.length * outputs, states],
        [BYTES[view.type] * view.length, states],
        [8 * view.batch * (ROW.length + 1), 1],
        [scratch, 1],
      ],
      // The network's output and a gradient; xT, and what callbacks give.
      (outputs + 1) * state,
    );
    for (let i = 0; i < states; i++) this.#slots.push(this.#makeSlot(inputType, doubled));
    for (let i = 0; i < history; i++) this.#history.push(this.#stateArray());
    this.#rows = this.#arena.doubles(view.batch * ROW.length);
    this.#norms = new Float64Array(view.batch);
    const noise = noiseOfRun(solver.tau2 > 0, sampler, {
      length: view.length,
      batch: view.batch,
      type: this.stateType,
    });
    this.#scratch = thresholding ? this.#arena.bytes(scratch) : null;
    if (noise) {
      this.seed = noise.seed;
      this.#noise = noise.source;
      this.#z = this.#stateArray();
    }
    if (solver.correctX0) {
      this.#x0 = this.#stateArray();
      this.#x0View = makeTensor(xT, this.stateType, this.#x0, view.dims);
    }
    if (keepsDifference(solver.guidance)) this.#difference = this.#stateArray();
    this.setState(0, view.data);
    const bad = this.#notFinite(0);
    if (bad >= 0) {
      const value = this.#slots[0].state[bad];
      throw new RangeError(`Expected finite numbers for xT.data but received ${value} at index ${bad}`);
    }
  }

  /** The first element of a state that is not finite, if that is to be checked; -1 for none. */
  #notFinite(slot: number): number {
    if (!this.#solver.checkFinite) return -1;
    const { state } = this.#slots[slot];
    for (let i = 0; i < state.length; i++) if (state[i] - state[i] !== 0) return i;
    return -1;
  }

  #stateArray(): StateArray {
    return this.#arena.state(this.stateType, this.#xT.length);
  }

  #makeSlot(inputType: TensorType, doubled: boolean): Slot {
    const { source, dims, length, type, data } = this.#xT;
    const inputData = this.#arena.allocate(inputType, doubled ? 2 * length : length, data);
    const shared = inputType === this.stateType;
    const state = (shared ? inputData.subarray(0, length) : this.#stateArray()) as StateArray;
    const input = makeTensor(source, inputType, inputData, this.#inputDims);
    const viewData = type === this.stateType ? state : this.#arena.allocate(type, length, data);
    const view = shared && !doubled && viewData === state ? input : makeTensor(source, type, viewData, dims);
    const own = type === this.stateType ? view : makeTensor(source, this.stateType, state, dims);
    const single = doubled ? makeTensor(source, inputType, inputData.subarray(0, length), dims) : input;
    const next = shared ? (doubled ? inputData.subarray(length) : null) : inputData;
    return { state, input, single, next, view, viewData, own };
  }

  input(slot: number, doubled: boolean): Tensor {
    return doubled ? this.#slots[slot].input : this.#slots[slot].single;
  }

  view(slot: number): Tensor {
    const { view, viewData, state } = this.#slots[slot];
    if (viewData !== state) addon.convert(state, viewData);
    return view;
  }

  copy(slot: number): Tensor {
    const { type, length, data, source, dims } = this.#xT;
    const own = allocate(type, length, data);
    addon.convert(this.#slots[slot].state, own);
    return makeTensor(source, type, own, dims);
  }

  result(slot: number): Tensor {
    return this.copy(slot);
  }

  /** Overwrites a state, and the network's input with it. */
  setState(slot: number, values: NetworkArray): void {
    const { state, next } = this.#slots[slot];
    if (values !== state) addon.convert(values, state);
    if (!next) return;
    for (let at = 0; at < next.length; at += state.length) {
      addon.convert(state, next.subarray(at, at + state.length));
    }
  }

  correct(slot: number, change: (x: Tensor) => Tensor): void {
    const changed = readTensor(change(this.#slots[slot].own), "correctXt's result");
    if (!sameDims(changed.dims, this.#xT.dims)) throw wrongDims(this.#xT.dims, "correctXt's result", changed.dims);
    this.setState(slot, changed.data);
    const bad = this.#notFinite(slot);
    if (bad >= 0) {
      const value = this.#slots[slot].state[bad];
      throw new Error(`Expected finite numbers for correctXt's result but received ${value} at index ${bad}`);
    }
  }

  readOutput(output: unknown, gradient: unknown, doubled: boolean): HostOutput {
    const m = this.#readNetwork(output, 'the network output', doubled ? this.#inputDims : this.#xT.dims);
    const wanted = wantsGradient(this.#solver, gradient);
    return { m, g: wanted ? this.#readNetwork(gradient, 'the gradient', this.#xT.dims) : null };
  }

  #readNetwork(tensor: unknown, name: string, dims: readonly number[]): NetworkArray {
    const view = readTensor(tensor, name);
    if (!sameDims(view.dims, dims)) throw wrongDims(dims, name, view.dims);
    if (view.type !== this.stateType && !(view.type === 'float16' && this.stateType === 'float32')) {
      const allowed = this.stateType === 'float64' ? "type 'float64'" : "type 'float32' or 'float16'";
      throw new TypeError(`Expected ${allowed} for ${name} but received '${view.type}'`);
    }
    return view.data;
  }

  apply(rows: Float64Array, step: Application, output: HostOutput): Found {
    // Drawn once, even if correctX0 throws and the step is tried again.
    if (step.noisy && !this.#drawn) {
      this.#noise!.fill(this.#z!, this.batch, this.#draws++);
      this.#drawn = true;
    }
    if (step.guide?.keep && !this.#kept) this.#keepDifference(step, step.guide.keep.row, output);
    const found = this.#applyCorrected(rows, step, output);
    this.#drawn = false;
    this.#kept = false;
    return found;
  }

  #applyCorrected(rows: Float64Array, step: Application, output: HostOutput): Found {
    const { correctX0 } = this.#solver;
    if (correctX0 && step.predictsData) {
      const sample = this.#native(rows, step, output, this.#x0, false);
      if (sample >= 0) return { sample, corrected: false };
      const corrected = readTensor(correctX0(this.#x0View!, step.time), "correctX0's result");
      if (!sameDims(corrected.dims, this.#xT.dims)) {
        throw wrongDims(this.#xT.dims, "correctX0's result", corrected.dims);
      }
      if (corrected.data !== this.#x0) addon.convert(corrected.data, this.#x0!);
      return { sample: this.#native(rows, step, output, this.#x0, true), corrected: true };
    }
    return { sample: this.#native(rows, step, output, null, false), corrected: false };
  }

  applyKept(rows: Float64Array, step: Application, kept: number): void {
    this.#native(rows, step, null, this.#historyAt(kept), kept >= 0);
  }

  /** The answers' difference, and what goes on of the last one, in its place. */
  #keepDifference(step: Application, row: Float64Array, { m }: HostOutput): void {
    const difference = this.#difference!;
    const nothing = null;
    addon.step(
      ...([this.#rowsOf(row, 0, false), 0, this.batch, DOUBLED, this.#solver.threads, nothing] as const),
      ...([this.#slots[step.seen].state, m, nothing, this.#differs ? difference : nothing] as const),
      ...([nothing, nothing, nothing, nothing, nothing, nothing, nothing, difference, nothing, nothing] as const),
    );
    this.#differs = true;
    this.#kept = true;
  }

  #native(
    rows: Float64Array,
    step: Application,
    output: HostOutput | null,
    p: StateArray | null,
    given: boolean,
  ): number {
    const predictOnly = p !== null && !given;
    const row = this.#rowsOf(rows, step.row, given);
    const slot = predictOnly ? null : this.#slots[step.out];
    const [d1, d2, d3] = step.history;
    const { guide } = step;
    const kept = guide?.keep ? this.#difference : null;
    if (guide && output && !given) {
      const x = this.#slots[step.seen].state;
      addon.guide(row, 0, this.batch, guide.parameters, this.#solver.threads, x, output.m, kept);
    }
    return addon.step(
      row,
      0,
      this.batch,
      output && step.doubled ? this.#flags | DOUBLED : this.#flags,
      this.#solver.threads,
      this.#scratch,
      this.#slots[step.seen].state,
      output ? output.m : null,
      null,
      output ? (output.g ?? kept) : null,
      this.#slots[step.base].state,
      p,
      this.#historyAt(d1),
      this.#historyAt(d2),
      this.#historyAt(d3),
      step.noisy ? this.#z : null,
      predictOnly ? null : this.#historyAt(step.keep),
      slot ? slot.state : null,
      predictOnly || step.out2 === undefined ? null : this.#slots[step.out2].state,
      slot ? slot.next : null,
    );
  }

  #historyAt(index: number | undefined): StateArray | null {
    return index === undefined || index < 0 ? null : this.#history[index];
  }

  // All samples stand at the same step: the plan keeps one row for them, the native step wants one for each.
  #rowsOf(rows: Float64Array, index: number, given: boolean): Float64Array {
    const all = this.#rows;
    const from = index * ROW.length;
    for (let i = 0; i < ROW.length; i++) all[i] = rows[from + i];
    if (given) all[ROW.transform] = TRANSFORM.given;
    for (let b = 1; b < this.batch; b++) all.copyWithin(b * ROW.length, 0, ROW.length);
    return all;
  }

  largestError(low: number, high: number, previous: number, atol: number, rtol: number): number {
    addon.errorNorm(
      this.#slots[low].state,
      this.#slots[high].state,
      this.#slots[previous].state,
      this.batch,
      atol,
      rtol,
      this.#solver.threads,
      this.#norms,
    );
    return largestOf(this.#norms);
  }
}
