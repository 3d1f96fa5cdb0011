// The tensors of a run on a card, and the step over them: what lib/engines/host/engine.ts is on the host. Everything is queued
// on one stream; only where the host has to see numbers does something wait.

import { ROW, SUM, TRANSFORM } from '../../addon/coefficients.js';
import type { NetworkArray } from '../../addon/native.js';
import { PhiloxNoise, TorchNoise } from '../../addon/noise.js';
import { outOfRange, wrongType } from '../../base/check.js';
import {
  allocate,
  makeTensor,
  readTensor,
  sameDims,
  type Tensor,
  type TensorType,
  type TensorView,
} from '../../base/tensor.js';
import { type DeviceBuffers, deviceErrorNorm, deviceStep, errorNormSpace, NOT_FINITE } from '../../cuda/step.js';
import type { Stream } from '../../cuda/stream.js';
import { DeviceTensor, type DeviceType, type HostArray } from '../../cuda/tensor.js';
import {
  type Application,
  type Engine,
  type Found,
  type LateFound,
  largestOf,
  type Output,
  type Sizes,
  type Transfers,
  wantsGradient,
} from '../../solver/engine.js';
import type { Sampler } from '../../solver/options.js';
import type { Plan } from '../../solver/plan.js';
import type { CardSolver } from './options.js';

interface Slot {
  readonly state: DeviceTensor;
  /** The network's input, in its type; twice where the batch is doubled. */
  readonly input: DeviceTensor;
  /** What the step has to write besides the state to complete the input. */
  readonly next: DeviceTensor | null;
}

/** What is checked by the flags of one launch. */
type Check = { what: 'xT' } | { what: 'output' | 'x0'; apply: number } | { what: 'xt'; step: number };

/** Evaluations between two looks at the flags where their number is not known beforehand: of one adaptive step. */
const MOST_STAGES = 4;

/** @internal */
export class CudaEngine implements Engine {
  readonly batch: number;
  readonly stateType: 'float32' | 'float64';
  readonly seed: number | readonly number[] | undefined;
  readonly transfers: Transfers = { uploaded: 0, downloaded: 0, milliseconds: 0 };
  readonly fetches: boolean;
  readonly late = { now: () => this.#lateNow(), soon: () => this.#lateSoon() };
  readonly #solver: CardSolver;
  readonly #stream: Stream;
  /** In a graph: nothing is copied from the host between the steps, and begin() starts the run. */
  readonly #graph: boolean;
  readonly #dims: readonly number[];
  readonly #inputDims: readonly number[];
  readonly #length: number;
  readonly #type: DeviceType;
  readonly #doubled: boolean;
  /** xT as it came, if it is the host's: what comes back is made in its image. */
  readonly #host: TensorView | null;
  readonly #slots: Slot[] = [];
  readonly #history: DeviceTensor[] = [];
  /** All that is freed with the run. */
  readonly #owned: DeviceTensor[] = [];
  readonly #identity: DeviceTensor;
  /** xT where it is not the first state itself: of another type, or read by a graph. */
  readonly #start: DeviceTensor | null = null;
  readonly #stage: Float64Array;
  #plan: Plan | null = null;
  #rows: DeviceTensor | null = null;
  #givenRows: DeviceTensor | null = null;
  #times: DeviceTensor | null = null;
  readonly #time: DeviceTensor[] = [];
  #noise: TorchNoise | PhiloxNoise | null = null;
  #z: DeviceTensor | null = null;
  #hostZ: Float32Array | Float64Array | null = null;
  #words: DeviceTensor | null = null;
  #draws = 0;
  #drawn = false;
  readonly #x0: DeviceTensor | null = null;
  readonly #flags: DeviceTensor | null;
  readonly #hostFlags: Uint32Array;
  #checks: Check[] = [];
  #applies = 0;
  #corrections = 0;
  // A network on the host: its input, and where its output goes.
  readonly #hostInput: { tensor: Tensor; data: NetworkArray } | null = null;
  #fetched = -1;
  readonly #outputs = new Map<string, DeviceTensor>();
  /** Outputs that work may still read: a graph needs them all as long as it lives. */
  readonly #kept: Output[] = [];
  #norms: { out: DeviceTensor; partial: DeviceTensor; host: Float64Array } | null = null;
  readonly #pending = new Set<Promise<void>>();
  #failure: unknown;

  constructor(
    stream: Stream,
    solver: CardSolver,
    sampler: Sampler,
    xT: Tensor | DeviceTensor,
    { states, history, evaluations }: Sizes,
    graph = false,
  ) {
    this.#solver = solver;
    this.#stream = stream;
    this.#graph = graph;
    this.fetches = !solver.onCard;
    this.#host = xT instanceof DeviceTensor ? null : readTensor(xT, 'xT');
    const { dims, type, length } = readStart(xT, this.#host, stream);
    this.#dims = dims;
    this.#type = type;
    this.#length = length;
    this.batch = dims[0]!;
    this.stateType = type === 'float64' ? 'float64' : 'float32';
    this.#doubled = solver.guidance.type === 'classifier-free' && solver.guidance.scale !== 1;
    this.#inputDims = this.#doubled ? [2 * this.batch, ...dims.slice(1)] : dims;
    const inputType = this.#inputType();
    if (typeof sampler.seed === 'object' && sampler.seed.length !== this.batch) {
      throw outOfRange(`one seed per sample (${this.batch})`, 'seed', sampler.seed.length);
    }
    this.#checkStart(this.#host);
    this.#stage = new Float64Array(this.batch * ROW.length);
    try {
      for (let i = 0; i < states; i++) this.#slots.push(this.#makeSlot(inputType));
      for (let i = 0; i < history; i++) this.#history.push(this.#alloc(dims, this.stateType));
      this.#identity = this.#alloc([this.batch * ROW.length], 'float64');
      if (evaluations === 0) this.#rows = this.#alloc([this.batch * ROW.length], 'float64');
      const checks = 1 + (evaluations || MOST_STAGES) * (1 + (solver.correctX0 ? 1 : 0) + (solver.correctXt ? 1 : 0));
      this.#flags = solver.checkFinite ? this.#alloc([checks, this.batch], 'uint32') : null;
      this.#hostFlags = new Uint32Array(checks * this.batch);
      if (type !== this.stateType || graph) this.#start = this.#alloc(dims, type);
      if (solver.correctX0) this.#x0 = this.#alloc(dims, this.stateType);
      if (!solver.onCard) this.#hostInput = this.#makeHostInput(xT, inputType);
      this.#uploadIdentity();
      this.seed = this.#seedNoise(sampler);
      if (!graph) {
        this.#uploadStart(xT, this.#host);
        this.begin(xT);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }

  // ---- set up -------------------------------------------------------------------------------------------------------

  #alloc(dims: readonly number[], type: DeviceType): DeviceTensor {
    const tensor = DeviceTensor.alloc(dims, type, { device: this.#stream.device });
    this.#owned.push(tensor);
    return tensor;
  }

  #inputType(): DeviceType {
    const { modelDtype, onCard } = this.#solver;
    // The host has no bfloat16.
    const type = modelDtype ?? (this.#type === 'bfloat16' && !onCard ? 'float32' : this.#type);
    if (type === 'float64' && this.stateType !== 'float64') {
      throw outOfRange("'float32' or a narrower type, as the run on a card is in float32,", 'modelDtype', type);
    }
    return type;
  }

  #makeSlot(inputType: DeviceType): Slot {
    const input = this.#alloc(this.#inputDims, inputType);
    if (inputType !== this.stateType) return { state: this.#alloc(this.#dims, this.stateType), input, next: input };
    if (!this.#doubled) return { state: input, input, next: null };
    return { state: input.part(0, this.#dims), input, next: input.part(this.#length, this.#dims) };
  }

  #makeHostInput(xT: Tensor | DeviceTensor, type: DeviceType): { tensor: Tensor; data: NetworkArray } {
    const length = (this.#doubled ? 2 : 1) * this.#length;
    const data = allocate(type as TensorType, length, this.#host?.data);
    const like = this.#host ? (xT as Tensor) : ({} as Tensor);
    return { tensor: makeTensor(like, type as TensorType, data, this.#inputDims), data };
  }

  #checkStart(host: TensorView | null): void {
    if (!host || !this.#solver.checkFinite) return;
    const { data, type } = host;
    for (let i = 0; i < data.length; i++) {
      // The bits of a float16 are numbers as well: an exponent of ones is none.
      const bits = type === 'float16' && data instanceof Uint16Array;
      const finite = bits ? (data[i]! & 0x7c00) !== 0x7c00 : data[i]! - data[i]! === 0;
      if (finite) continue;
      throw new RangeError(`Expected finite numbers for xT.data but received NaN or Infinity at index ${i}`);
    }
  }

  /** Rows that write what they read, be it x or m. */
  #uploadIdentity(): void {
    const rows = this.#stage;
    for (let b = 0; b < this.batch; b++) {
      const at = b * ROW.length;
      rows[at + ROW.cx] = 1;
      rows[at + ROW.cm] = 1;
      rows[at + ROW.ep] = 1;
      rows[at + ROW.first + SUM.bp] = 1;
    }
    this.#upload(this.#identity, rows);
  }

  #seedNoise(sampler: Sampler): number | readonly number[] | undefined {
    if (this.#solver.tau2 === 0) return undefined;
    const seed = sampler.seed ?? Math.floor(Math.random() * 2 ** 32);
    this.#noise = sampler.noise === 'philox' ? new PhiloxNoise(seed) : new TorchNoise(seed);
    // A torch script draws xT from the generator first.
    if (this.#noise instanceof TorchNoise) this.#noise.skip(this.#length, this.batch, this.stateType);
    this.#draws = 0;
    return seed;
  }

  /** Brings xT to where the run begins, unless it is there. */
  #uploadStart(xT: Tensor | DeviceTensor, host: TensorView | null): void {
    if (host) this.#upload(this.#start ?? this.#slots[0]!.state, host.data);
    else this.#start?.copy(xT as DeviceTensor, this.#stream);
  }

  /** Queues what makes xT the first state, and clears the flags. */
  begin(xT?: Tensor | DeviceTensor): void {
    this.#flags?.zero(this.#stream);
    this.#checks = [];
    const { state, next } = this.#slots[0]!;
    const from = this.#start ?? (xT instanceof DeviceTensor ? xT : state);
    this.#identical(from, state, next, { what: 'xT' });
  }

  /** Queues a copy into a state and, if there is one, the network's input beside it. */
  #identical(from: DeviceTensor, to: DeviceTensor, next: DeviceTensor | null, check: Check): void {
    const source = from.type === this.stateType ? { x: from } : { m: from };
    const flags = this.#flag(check);
    deviceStep(this.#identity, { ...source, out: to, next, flags }, { stream: this.#stream, batch: this.batch });
  }

  #flag(check: Check): DeviceTensor | null {
    if (!this.#flags) return null;
    const at = this.#checks.length;
    this.#checks.push(check);
    return this.#flags.part(at * this.batch, [this.batch]);
  }

  /** Tells all evaluations: their rows, times and noise go to the card at once. */
  plan(plan: Plan): void {
    this.#plan = plan;
    try {
      this.#allocTables(plan);
      this.#uploadTables(plan);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  #allocTables(plan: Plan): void {
    const count = plan.evaluations.length;
    const draws = plan.evaluations.filter((evaluation) => evaluation.noisy).length;
    // A table's rows may be more than its evaluations.
    const rows = [plan.rows.length / ROW.length, this.batch * ROW.length];
    this.#rows = this.#alloc(rows, 'float64');
    if (this.#x0) this.#givenRows = this.#alloc(rows, 'float64');
    this.#makeTimes(count);
    if (draws === 0) return;
    if (this.#noise instanceof PhiloxNoise) this.#words = this.#alloc([count, 4 * this.batch], 'uint32');
    else this.#makeZ(this.#graph ? draws : 1);
  }

  #makeZ(count: number): void {
    this.#z = this.#alloc([count, ...this.#dims], this.stateType);
    this.#hostZ = this.stateType === 'float64' ? new Float64Array(this.#length) : new Float32Array(this.#length);
  }

  #makeTimes(count: number): void {
    if (!this.#solver.onCard) return;
    const each = this.#inputDims[0]!;
    this.#times = this.#alloc([count, each], 'float32');
    for (let i = 0; i < count; i++) this.#time.push(this.#times.part(i * each, [each]));
  }

  #uploadTables(plan: Plan): void {
    const { evaluations, rows } = plan;
    const all = new Float64Array(rows.length * this.batch);
    for (let row = 0; row < rows.length; row += ROW.length) {
      const from = rows.subarray(row, row + ROW.length);
      for (let b = 0; b < this.batch; b++) all.set(from, row * this.batch + b * ROW.length);
    }
    this.#upload(this.#rows!, all);
    if (this.#givenRows) {
      for (let at = ROW.transform; at < all.length; at += ROW.length) all[at] = TRANSFORM.given;
      this.#upload(this.#givenRows, all);
    }
    const times = this.#times;
    if (times) {
      const each = this.#inputDims[0]!;
      const values = new Float32Array(times.length);
      for (const [i, { modelTime }] of evaluations.entries()) values.fill(modelTime, i * each, (i + 1) * each);
      this.#upload(times, values);
    }
    if (this.#words) this.#upload(this.#words, this.#wordsOf(plan));
    if (!this.#graph || !this.#z) return;
    for (let i = 0; i < this.#z.dims[0]!; i++) {
      this.#noise!.fill(this.#hostZ!, this.batch, i);
      this.#upload(this.#z.part(i * this.#length, this.#dims), this.#hostZ!);
    }
  }

  /** Four words a sample and evaluation; the noisy ones are counted, as they draw. */
  #wordsOf(plan: Plan): Uint32Array {
    const words = new Uint32Array(plan.evaluations.length * 4 * this.batch);
    let draw = 0;
    for (const [i, { noisy }] of plan.evaluations.entries()) {
      if (!noisy) continue;
      for (let b = 0; b < this.batch; b++) {
        const { seedLow, seedHigh, stream } = (this.#noise as PhiloxNoise).key(b);
        words.set([seedLow, seedHigh, draw, stream], 4 * (i * this.batch + b));
      }
      draw++;
    }
    return words;
  }

  /** Other numbers for a graph that has been captured: of times, noise and xT. */
  load(plan: Plan, sampler: Sampler, xT: Tensor | DeviceTensor): number | readonly number[] | undefined {
    const host = xT instanceof DeviceTensor ? null : readTensor(xT, 'xT');
    readStart(xT, host, this.#stream);
    this.#checkStart(host);
    const seed = this.#seedNoise(sampler);
    this.#uploadTables(plan);
    this.#uploadStart(xT, host);
    return seed;
  }

  // ---- copies -------------------------------------------------------------------------------------------------------

  #upload(to: DeviceTensor, data: NetworkArray | Uint32Array): void {
    this.transfers.uploaded += to.bytes;
    // The card's float16 and bfloat16 are bits.
    this.#wait(to.copyFrom(data as HostArray, this.#stream));
  }

  /** What goes wrong with it is thrown when something is waited for. */
  #wait(promise: Promise<unknown>): void {
    const settled: Promise<void> = promise.then(
      () => {
        this.#pending.delete(settled);
      },
      (error) => {
        this.#pending.delete(settled);
        this.#failure ??= error;
      },
    );
    this.#pending.add(settled);
  }

  /** Did something go wrong that leaves its numbers in doubt? */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  #raise(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Everything that was begun has ended. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    this.#raise();
  }

  input(slot: number): Tensor {
    if (!this.#hostInput) return this.#slots[slot]!.input as unknown as Tensor;
    if (this.#fetched !== slot) {
      this.#timed(() => this.#slots[slot]!.input.transferNow(this.#hostInput!.data as HostArray, this.#stream, 'down'));
      this.transfers.downloaded += this.#slots[slot]!.input.bytes;
      this.#fetched = slot;
    }
    return this.#hostInput.tensor;
  }

  /** The same without blocking: afterwards input() is there. */
  async fetch(slot: number): Promise<void> {
    if (!this.#hostInput || this.#fetched === slot) return;
    const { input } = this.#slots[slot]!;
    const begin = performance.now();
    await input.copyTo(this.#hostInput.data as HostArray, this.#stream);
    this.transfers.milliseconds += performance.now() - begin;
    this.transfers.downloaded += input.bytes;
    this.#fetched = slot;
  }

  #timed(f: () => void): void {
    const begin = performance.now();
    f();
    this.transfers.milliseconds += performance.now() - begin;
  }

  /** What the network is told: modelTime for every sample of its input. */
  deviceTime(evaluation: number, modelTime: number): DeviceTensor {
    if (this.#plan) return this.#time[evaluation]!;
    if (this.#time.length === 0) this.#makeTimes(1);
    this.#upload(this.#time[0]!, new Float32Array(this.#inputDims[0]!).fill(modelTime));
    return this.#time[0]!;
  }

  // ---- states -------------------------------------------------------------------------------------------------------

  /** A state in xT's type: the state itself, or a copy. */
  #inType(slot: number, to?: DeviceTensor): DeviceTensor {
    const { state } = this.#slots[slot]!;
    if (this.#type === this.stateType) return state;
    const copy = to ?? this.#alloc(this.#dims, this.#type);
    this.#convert(state, copy);
    return copy;
  }

  #convert(state: DeviceTensor, to: DeviceTensor): void {
    // In place, for the copy beside it.
    deviceStep(this.#identity, { x: state, out: state, next: to }, { stream: this.#stream, batch: this.batch });
  }

  #viewOf: DeviceTensor | null = null;
  #hostView: { tensor: Tensor; data: NetworkArray } | null = null;

  view(slot: number): Tensor {
    if (this.#type !== this.stateType) this.#viewOf ??= this.#alloc(this.#dims, this.#type);
    const tensor = this.#inType(slot, this.#viewOf ?? undefined);
    if (!this.#host) return tensor as unknown as Tensor;
    this.#hostView ??= this.#makeHost();
    tensor.transferNow(this.#hostView.data as HostArray, this.#stream, 'down');
    this.transfers.downloaded += tensor.bytes;
    return this.#hostView.tensor;
  }

  #makeHost(): { tensor: Tensor; data: NetworkArray } {
    const { type, length, data, source, dims } = this.#host!;
    const own = allocate(type, length, data);
    return { tensor: makeTensor(source, type, own, dims), data: own };
  }

  copy(slot: number): Tensor {
    if (this.#host) {
      const { tensor, data } = this.#makeHost();
      const from = this.#inType(slot);
      this.transfers.downloaded += from.bytes;
      this.#wait(from.copyTo(data as HostArray, this.#stream));
      return tensor;
    }
    const own = DeviceTensor.alloc(this.#dims, this.#type, { device: this.#stream.device });
    if (this.#type === this.stateType) own.copy(this.#slots[slot]!.state, this.#stream);
    else this.#convert(this.#slots[slot]!.state, own);
    return own as unknown as Tensor;
  }

  result(slot: number): Tensor {
    if (!this.#host) return this.copy(slot);
    const { tensor, data } = this.#makeHost();
    const from = this.#inType(slot);
    from.transferNow(data as HostArray, this.#stream, 'down');
    this.transfers.downloaded += from.bytes;
    return tensor;
  }

  /** In a graph: queues what brings a state into xT's type, and returns the tensor that will have it. */
  finish(slot: number, to: DeviceTensor | null): DeviceTensor {
    return to ? this.#inType(slot, to) : this.#slots[slot]!.state;
  }

  /** Before a capture, which allows no allocation. */
  prepareFinish(): DeviceTensor | null {
    return this.#type === this.stateType ? null : this.#alloc(this.#dims, this.#type);
  }

  correct(slot: number, change: (x: Tensor) => Tensor): void {
    const { state, next } = this.#slots[slot]!;
    const changed = this.#corrected(change(state as unknown as Tensor), "correctXt's result");
    this.#corrections++;
    this.#identical(changed, state, next, { what: 'xt', step: this.#corrections });
    this.#fetched = -1;
  }

  #corrected(tensor: unknown, name: string): DeviceTensor {
    const changed = this.#readDevice(tensor, name, this.#dims);
    if (changed.type !== this.stateType) throw wrongType(`type '${this.stateType}'`, name, changed.type);
    return changed;
  }

  // ---- the step -----------------------------------------------------------------------------------------------------

  readOutput(output: unknown, gradient: unknown): Output {
    const m = this.#readNetwork(output, 'the network output', this.#inputDims);
    const wanted = wantsGradient(this.#solver, gradient);
    const g = wanted ? this.#readNetwork(gradient, 'the gradient', this.#dims) : null;
    return { m, g } as unknown as Output;
  }

  #readNetwork(tensor: unknown, name: string, dims: readonly number[]): DeviceTensor | NetworkArray {
    const wide = this.stateType === 'float64';
    if (this.#solver.onCard) {
      const found = this.#readDevice(tensor, name, dims);
      if (wide ? found.type !== 'float64' : !['float32', 'float16', 'bfloat16'].includes(found.type)) {
        const allowed = wide ? "type 'float64'" : "type 'float32', 'float16' or 'bfloat16'";
        throw new TypeError(`Expected ${allowed} for ${name} but received '${found.type}'`);
      }
      return found;
    }
    const view = readTensor(tensor, name);
    if (!sameDims(view.dims, dims)) throw wrongDims(dims, name, view.dims);
    if (view.type !== this.stateType && !(view.type === 'float16' && !wide)) {
      const allowed = wide ? "type 'float64'" : "type 'float32' or 'float16'";
      throw new TypeError(`Expected ${allowed} for ${name} but received '${view.type}'`);
    }
    return view.data;
  }

  #readDevice(tensor: unknown, name: string, dims: readonly number[]): DeviceTensor {
    if (!(tensor instanceof DeviceTensor)) throw wrongType('a DeviceTensor', name, tensor);
    if (!sameDims(tensor.dims, dims)) throw wrongDims(dims, name, tensor.dims);
    if (tensor.device !== this.#stream.device) {
      throw outOfRange(`a tensor on card ${this.#stream.device}`, name, `one on card ${tensor.device}`);
    }
    return tensor;
  }

  /** Where a network is on the host, its output goes to the card. */
  #onCard(data: DeviceTensor | NetworkArray, name: 'm' | 'g', dims: readonly number[]): DeviceTensor {
    if (data instanceof DeviceTensor) return data;
    const type = data instanceof Float32Array ? 'float32' : data instanceof Float64Array ? 'float64' : 'float16';
    const key = `${name} ${type}`;
    let tensor = this.#outputs.get(key);
    if (!tensor) {
      tensor = this.#alloc(dims, type);
      this.#outputs.set(key, tensor);
    }
    this.#timed(() => this.#upload(tensor, data));
    return tensor;
  }

  apply(rows: Float64Array, step: Application, output: Output): Found {
    this.#raise();
    this.#drawZ(step);
    const { m, g } = output as unknown as { m: DeviceTensor | NetworkArray; g: DeviceTensor | NetworkArray | null };
    const network: DeviceBuffers = {
      m: this.#onCard(m, 'm', this.#inputDims),
      g: g ? this.#onCard(g, 'g', this.#dims) : null,
    };
    const { correctX0 } = this.#solver;
    if (correctX0 && step.predictsData) {
      this.#queue(rows, step, network, this.#x0, false, { what: 'output', apply: this.#applies });
      const corrected = correctX0(this.#x0 as unknown as Tensor, step.time);
      const changed = this.#corrected(corrected, "correctX0's result");
      if (changed !== this.#x0) this.#x0!.copy(changed, this.#stream);
      this.#queue(rows, step, network, this.#x0, true, { what: 'x0', apply: this.#applies });
    } else {
      this.#queue(rows, step, network, null, false, { what: 'output', apply: this.#applies });
    }
    this.#applies++;
    this.#drawn = false;
    this.#kept.push(output);
    if (!this.#graph && this.#kept.length > 2) this.#kept.shift();
    this.#fetched = -1;
    return NOTHING_FOUND;
  }

  applyKept(rows: Float64Array, step: Application, kept: number): void {
    this.#queue(rows, step, {}, this.#historyAt(kept), kept >= 0, null);
    this.#fetched = -1;
  }

  #queue(
    rows: Float64Array,
    step: Application,
    network: DeviceBuffers,
    p: DeviceTensor | null,
    given: boolean,
    check: Check | null,
  ): void {
    const predictOnly = p !== null && !given;
    const slot = predictOnly ? null : this.#slots[step.out]!;
    const [d1, d2, d3] = step.history;
    const thresholds = this.#solver.thresholding !== null && step.predictsData && !given;
    deviceStep(
      this.#rowsOf(rows, step.row, given),
      {
        ...network,
        x: this.#slots[step.seen]!.state,
        base: this.#slots[step.base]!.state,
        p,
        d1: this.#historyAt(d1),
        d2: this.#historyAt(d2),
        d3: this.#historyAt(d3),
        ...(step.noisy && !predictOnly ? this.#noiseOf(step) : {}),
        d0: predictOnly ? null : this.#historyAt(step.keep),
        out: slot?.state,
        out2: predictOnly || step.out2 === undefined ? null : this.#slots[step.out2]!.state,
        next: slot?.next,
        flags: check ? this.#flag(check) : null,
      },
      {
        stream: this.#stream,
        batch: this.batch,
        first: this.#plan ? step.row * this.batch : 0,
        doubled: this.#doubled && !!network.m,
        quantile: thresholds,
      },
    );
  }

  #historyAt(index: number | undefined): DeviceTensor | null {
    return index === undefined || index < 0 ? null : this.#history[index]!;
  }

  /** All rows are on the card, or this one goes there now. */
  #rowsOf(rows: Float64Array, index: number, given: boolean): DeviceTensor {
    if (this.#plan) return (given && this.#givenRows) || this.#rows!;
    const row = rows.subarray(index * ROW.length, (index + 1) * ROW.length);
    for (let b = 0; b < this.batch; b++) this.#stage.set(row, b * ROW.length);
    if (given) for (let b = 0; b < this.batch; b++) this.#stage[b * ROW.length + ROW.transform] = TRANSFORM.given;
    this.#upload(this.#rows!, this.#stage);
    return this.#rows!;
  }

  /** Noise from the host: drawn once, even if correctX0 throws and the step is tried again. */
  #drawZ(step: Application): void {
    if (!step.noisy || this.#drawn || this.#words || this.#graph) return;
    this.#noise!.fill(this.#hostZ!, this.batch, this.#draws++);
    this.#upload(this.#z!, this.#hostZ!);
    this.#drawn = true;
  }

  #noiseOf(step: Application): DeviceBuffers {
    if (this.#words) return { noise: this.#words.part(step.row * 4 * this.batch, [4 * this.batch]) };
    if (!this.#graph) return { z: this.#z!.part(0, this.#dims) };
    return { z: this.#z!.part(this.#draws++ * this.#length, this.#dims) };
  }

  largestError(low: number, high: number, previous: number, atol: number, rtol: number): number {
    this.#norms ??= {
      out: this.#alloc([this.batch], 'float64'),
      partial: this.#alloc([errorNormSpace(this.batch, this.#length / this.batch)], 'float64'),
      host: new Float64Array(this.batch),
    };
    const { out, partial, host } = this.#norms;
    const [l, h, p] = [low, high, previous].map((slot) => this.#slots[slot]!.state);
    deviceErrorNorm({ low: l!, high: h!, previous: p!, out, partial }, { stream: this.#stream, atol, rtol });
    out.transferNow(host, this.#stream, 'down');
    return largestOf(host);
  }

  // ---- what is found later ------------------------------------------------------------------------------------------

  #lateNow(): LateFound | null {
    this.#raise();
    if (!this.#flags || this.#checks.length === 0) return null;
    this.#flags.transferNow(this.#hostFlags, this.#stream, 'down');
    return this.#found(this.#hostFlags);
  }

  async #lateSoon(): Promise<LateFound | null> {
    await this.settled();
    if (!this.#flags || this.#checks.length === 0) {
      await this.#stream.done();
      return null;
    }
    return this.#found(await this.#flags.copyTo(this.#hostFlags, this.#stream));
  }

  /** Of a graph that is launched again and again: its own look at the flags. */
  async flagsOfLaunch(): Promise<LateFound | null> {
    if (!this.#flags) return null;
    return this.#first(await this.#flags.copyTo(new Uint32Array(this.#flags.length), this.#stream));
  }

  #found(flags: Uint32Array): LateFound | null {
    const found = this.#first(flags);
    this.#checks = [];
    this.#flags!.zero(this.#stream);
    return found;
  }

  /** The first thing that was not finite. */
  #first(flags: Uint32Array): LateFound | null {
    for (const [i, check] of this.#checks.entries()) {
      for (let sample = 0; sample < this.batch; sample++) {
        if ((flags[i * this.batch + sample]! & NOT_FINITE) === 0) continue;
        if (check.what === 'xT') {
          throw new RangeError(`Expected finite numbers for xT but received NaN or Infinity for sample ${sample}`);
        }
        if (check.what === 'xt') {
          throw new Error(
            `Expected finite numbers for correctXt's result but received NaN or Infinity for sample ${sample} at step ${check.step}`,
          );
        }
        return { sample, corrected: check.what === 'x0', apply: check.apply };
      }
    }
    return null;
  }
}

const NOTHING_FOUND: Found = { sample: -1, corrected: false };

function wrongDims(expected: readonly number[], name: string, found: readonly number[]): RangeError {
  return new RangeError(`Expected dims [${expected.join(', ')}] for ${name} but received [${found.join(', ')}]`);
}

function readStart(
  xT: Tensor | DeviceTensor,
  host: TensorView | null,
  stream: Stream,
): { dims: readonly number[]; type: DeviceType; length: number } {
  if (host) return host;
  const { dims, type, length, device, disposed } = xT as DeviceTensor;
  if (disposed) throw new Error('Expected a living tensor for xT but received one that was disposed');
  if (type === 'uint32') throw wrongType("type 'float32', 'float16', 'bfloat16' or 'float64'", 'xT', type);
  if (device !== stream.device) throw outOfRange(`a tensor on card ${stream.device}`, 'xT', `one on card ${device}`);
  if (dims.length === 0) throw outOfRange('one or more dims', 'xT', 'none');
  return { dims, type, length };
}
