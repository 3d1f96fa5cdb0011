// The tensors of a run on a card, and the step over them: what lib/engines/host/engine.ts is on the host. Everything is queued
// on one stream; only where the host has to see numbers does something wait.

import { ROW, SUM, TRANSFORM } from '../../addon/coefficients.js';
import { type NetworkArray, step } from '../../addon/native.js';
import { noiseOfRun, type NoiseSource, PhiloxNoise } from '../../addon/noise.js';
import { outOfRange, wrongType } from '../../base/check.js';
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
import { AT, deviceErrorNorm, errorNormSpace, guideSpace, KnownStep, queueGuide } from '../../cuda/step.js';
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
import { GUIDE_LENGTH, keepsDifference, mayDouble } from '../../solver/guidance.js';
import type { Sampler } from '../../solver/options.js';
import type { Plan } from '../../solver/plan.js';
import { type Check, Checks } from './checks.js';
import { giveHostMemory, RunMemory, takeHostMemory } from './memory.js';
import type { CardSolver } from './options.js';
import { Tables } from './tables.js';

interface Slot {
  readonly state: DeviceTensor;
  /** The network's input, in its type; twice where the batch is doubled. */
  readonly input: DeviceTensor;
  /** The first half of it, for an evaluation that takes the batch as it is; the input itself where it is never doubled. */
  readonly single: DeviceTensor;
  /** Addresses of what the step has to write: the state, and once or twice what completes the input. */
  readonly at: bigint;
  readonly next: readonly [bigint, bigint];
  /** The network's output that was last found to share no memory with it. */
  apart: DeviceTensor | null;
}

/** The network's outputs on the card. */
interface OnCard {
  readonly m: DeviceTensor;
  readonly g: DeviceTensor | null;
}

/** The input of a network on the host, and the first half of it. */
interface HostInput {
  readonly tensor: Tensor;
  readonly single: Tensor;
  readonly data: NetworkArray;
}

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
  readonly #memory: RunMemory;
  /** In a graph: nothing is copied from the host between the steps, and begin() starts the run. */
  readonly #graph: boolean;
  readonly #dims: readonly number[];
  readonly #inputDims: readonly number[];
  readonly #inputType: DeviceType;
  readonly #length: number;
  readonly #type: DeviceType;
  readonly #doubled: boolean;
  /** xT as it came, if it is the host's: what comes back is made in its image. */
  readonly #host: TensorView | null;
  readonly #slots: readonly Slot[];
  readonly #history: readonly DeviceTensor[];
  /** Their addresses. */
  readonly #kept: readonly bigint[];
  readonly #identity: DeviceTensor;
  /** xT where it is not the first state itself: of another type, or read by a graph. */
  readonly #start: DeviceTensor | null;
  readonly #x0: DeviceTensor | null;
  readonly #checks: Checks | null;
  /** The step that is queued next: what changes from one to the next is written there. */
  readonly #step = new KnownStep();
  /** Rows of one evaluation, where they are not known beforehand. */
  readonly #stage: Float64Array;
  #rows: DeviceTensor | null = null;
  #tables: Tables | null = null;
  #time: DeviceTensor | null = null;
  #noise: NoiseSource | null = null;
  #z: DeviceTensor | null = null;
  #hostZ: Float32Array | Float64Array | null = null;
  #draws = 0;
  #drawn = false;
  #applies = 0;
  #corrections = 0;
  // A network on the host: its input, and where its output goes.
  readonly #hostInput: HostInput | null = null;
  #fetched = -1;
  readonly #outputs = new Map<string, DeviceTensor>();
  /** Outputs that work may still read: a graph needs them all as long as it lives. */
  readonly #read: Output[] = [];
  /** Where guidance sums, what it is told where no table tells it, and the difference that it keeps. */
  #guidance: { work: DeviceTensor; told: DeviceTensor; difference: DeviceTensor | null } | null = null;
  #differs = false;
  #differenceDone = false;
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
    this.#doubled = mayDouble(solver.guidance);
    this.#inputDims = this.#doubled ? [2 * this.batch, ...dims.slice(1)] : dims;
    this.#inputType = this.#networkInput();
    this.seed = this.#seedNoise(sampler);
    this.#checkStart(this.#host);
    this.#stage = new Float64Array(this.batch * ROW.length);
    this.#memory = new RunMemory(stream.device);
    try {
      const { input, state } = this.#slotTypes();
      const checks = 1 + (evaluations || MOST_STAGES) * (1 + (solver.correctX0 ? 1 : 0) + (solver.correctXt ? 1 : 0));
      const none = [[1], 'uint32'] as const;
      const wanted = [
        [[this.batch * ROW.length], 'float64'],
        solver.checkFinite ? ([[checks, this.batch], 'uint32'] as const) : none,
        type !== this.stateType || graph ? ([dims, type] as const) : none,
        solver.correctX0 ? ([dims, this.stateType] as const) : none,
        evaluations === 0 ? ([[this.batch * ROW.length], 'float64'] as const) : none,
        ...Array.from({ length: history }, () => [dims, this.stateType] as const),
        ...Array.from({ length: states }, () => [input, ...(state ? [state] : [])]).flat(),
      ] as const;
      const [identity, flags, start, x0, rows, ...others] = this.#memory.take(...wanted);
      this.#identity = identity!;
      this.#checks = solver.checkFinite ? new Checks(flags!) : null;
      this.#start = type !== this.stateType || graph ? start! : null;
      this.#x0 = solver.correctX0 ? x0! : null;
      if (evaluations === 0) this.#rows = rows!;
      this.#history = others.slice(0, history);
      this.#kept = this.#history.map((tensor) => tensor.pointer);
      const rest = others.slice(history);
      const each = state ? 2 : 1;
      this.#slots = Array.from({ length: states }, (_, i) => this.#makeSlot(rest[i * each]!, rest[i * each + 1]));
      if (!solver.onCard) this.#hostInput = this.#makeHostInput(xT, this.#inputType);
      this.#step.set(AT.batch, BigInt(this.batch));
      this.#step.set(AT.n, BigInt(length / this.batch));
      this.#step.set(AT.stride, BigInt(length / this.batch));
      this.#uploadIdentity();
      if (!graph) {
        this.#uploadStart(xT, this.#host);
        this.begin(xT);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Is there an evaluation that takes the batch twice? */
  get doubles(): boolean {
    return this.#doubled;
  }

  dispose(): void {
    this.#memory.dispose();
    if (this.#hostInput) giveHostMemory(this.#stream, this.#hostInput.data);
  }

  // ---- set up -------------------------------------------------------------------------------------------------------

  #networkInput(): DeviceType {
    const { modelDtype, onCard } = this.#solver;
    // The host has no bfloat16.
    const type = modelDtype ?? (this.#type === 'bfloat16' && !onCard ? 'float32' : this.#type);
    if (type === 'float64' && this.stateType !== 'float64') {
      throw outOfRange("'float32' or a narrower type, as the run on a card is in float32,", 'modelDtype', type);
    }
    return type;
  }

  /** A slot's tensors: where the input is of the state's type, the state is the first part of it. */
  #slotTypes() {
    const input = [this.#inputDims, this.#inputType] as const;
    return { input, state: this.#inputType === this.stateType ? null : ([this.#dims, this.stateType] as const) };
  }

  #makeSlot(input: DeviceTensor, own: DeviceTensor | undefined): Slot {
    const shared = this.#inputType === this.stateType;
    const state = !shared ? own! : this.#doubled ? input.part(0, this.#dims) : input;
    const single = this.#doubled ? input.part(0, this.#dims) : input;
    const half = BigInt(single.bytes);
    const { pointer } = input;
    // Beside the state: both halves of an input of another type, the second of one that the state is part of.
    const first = shared ? 0n : pointer;
    const next: [bigint, bigint] = !this.#doubled
      ? [first, 0n]
      : shared
        ? [pointer + half, 0n]
        : [first, pointer + half];
    return { state, input, single, at: state.pointer, next, apart: null };
  }

  #makeHostInput(xT: Tensor | DeviceTensor, type: DeviceType): HostInput {
    const length = (this.#doubled ? 2 : 1) * this.#length;
    const memory = takeHostMemory(this.#stream, length * DeviceTensor.bytesOf(type));
    const like = allocate(type as TensorType, 0, this.#host?.data);
    const data = new (like.constructor as new (buffer: ArrayBuffer) => NetworkArray)(memory);
    const source = this.#host ? (xT as Tensor) : ({} as Tensor);
    const tensor = makeTensor(source, type as TensorType, data, this.#inputDims);
    if (!this.#doubled) return { tensor, single: tensor, data };
    const single = makeTensor(source, type as TensorType, data.subarray(0, this.#length), this.#dims);
    return { tensor, single, data };
  }

  #checkStart(host: TensorView | null): void {
    if (!host || !this.#solver.checkFinite) return;
    const { data, type } = host;
    if (type !== 'float16' && step(identityRow(), { x: data as Float32Array }, { batch: 1 }) < 0) return;
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
    for (let b = 0; b < this.batch; b++) this.#stage.set(identityRow(), b * ROW.length);
    this.#upload(this.#identity, this.#stage);
  }

  #seedNoise(sampler: Sampler): number | readonly number[] | undefined {
    const noise = noiseOfRun(this.#solver.tau2 > 0, sampler, {
      length: this.#length,
      batch: this.batch,
      type: this.stateType,
    });
    this.#noise = noise?.source ?? null;
    this.#draws = 0;
    return noise?.seed;
  }

  /** Brings xT to where the run begins, unless it is there. */
  #uploadStart(xT: Tensor | DeviceTensor, host: TensorView | null): void {
    if (host) this.#upload(this.#start ?? this.#slots[0]!.state, host.data);
    else this.#start?.copy(xT as DeviceTensor, this.#stream);
  }

  /** Queues what makes xT the first state, and clears the flags. */
  begin(xT?: Tensor | DeviceTensor): void {
    this.#checks?.clear(this.#stream);
    const first = this.#slots[0]!;
    const from = this.#start ?? (xT instanceof DeviceTensor ? xT : first.state);
    this.#identical(from, first, { what: 'xT' });
  }

  /** Queues a copy into a slot: its state and what completes the input. */
  #identical(from: DeviceTensor, to: Slot, check: Check): void {
    this.#copy(from, to.at, to.next, this.#inputType, check);
  }

  #copy(
    from: DeviceTensor,
    to: bigint,
    next: readonly [bigint, bigint],
    nextType: DeviceType,
    check: Check | null,
  ): void {
    const queued = this.#step;
    const wide = from.type !== this.stateType;
    for (const name of ['u', 'g', 'base', 'p', 'd1', 'd2', 'd3', 'z', 'noise', 'd0', 'out2'] as const)
      queued.set(AT[name], 0n);
    queued.set(AT.rows, this.#identity.pointer);
    queued.set(AT.x, wide ? 0n : from.pointer);
    queued.set(AT.m, wide ? from.pointer : 0n);
    queued.set(AT.out, to);
    queued.set(AT.next, next[0]);
    queued.set(AT.next2, next[1]);
    queued.set(AT.flags, check && this.#checks ? this.#checks.next(check) : 0n);
    queued.types(wide ? from.type : this.stateType, nextType, false);
    this.#queueStep(from);
  }

  /** A graph that is being recorded keeps what its steps use. */
  #queueStep(...others: (DeviceTensor | null)[]): void {
    if (this.#stream.capturing) {
      for (const tensor of [...this.#memory.blocks, ...others]) if (tensor) this.#stream.uses('step', tensor);
    }
    this.#step.queue(this.#stream);
  }

  /** Tells all evaluations: their rows, times and noise go to the card at once. */
  plan(plan: Plan): void {
    try {
      const noisy = plan.evaluations.filter((evaluation) => evaluation.noisy).length;
      const philox = noisy > 0 && this.#noise instanceof PhiloxNoise;
      const timed = this.#solver.onCard ? this.#inputDims[0]! : 0;
      this.#tables = new Tables(this.#memory, plan, { batch: this.batch, timed, given: this.#x0 !== null, philox });
      if (noisy > 0 && !philox) this.#makeZ(this.#graph ? noisy : 1);
      // A capture allows no allocation.
      if (plan.evaluations.some(({ guide }) => guide)) this.#forGuidance();
      this.#uploadTables(plan);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  #makeZ(count: number): void {
    [this.#z] = this.#memory.take([[count, ...this.#dims], this.stateType]);
    this.#hostZ = this.stateType === 'float64' ? new Float64Array(this.#length) : new Float32Array(this.#length);
  }

  #uploadTables(plan: Plan): void {
    const tables = this.#tables!;
    tables.fill(plan, this.#noise instanceof PhiloxNoise ? this.#noise : null);
    this.#upload(tables.block, tables.host);
    if (!this.#graph || !this.#z) return;
    for (let i = 0; i < this.#z.dims[0]!; i++) {
      this.#noise!.fill(this.#hostZ!, this.batch, i);
      this.#upload(this.#z.part(i * this.#length, this.#dims), this.#hostZ!);
    }
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

  input(slot: number, doubled: boolean): Tensor {
    const { input, single } = this.#slots[slot]!;
    const from = doubled ? input : single;
    if (!this.#hostInput) return from as unknown as Tensor;
    const { data, tensor } = doubled
      ? this.#hostInput
      : { data: this.#hostInput.single.data, tensor: this.#hostInput.single };
    if (this.#fetched !== slot) {
      this.#timed(() => from.transferNow(data as HostArray, this.#stream, 'down'));
      this.transfers.downloaded += from.bytes;
      this.#fetched = slot;
    }
    return tensor;
  }

  /** The same without blocking: afterwards input() is there. */
  async fetch(slot: number, doubled: boolean): Promise<void> {
    if (!this.#hostInput || this.#fetched === slot) return;
    const { input: both, single } = this.#slots[slot]!;
    const input = doubled ? both : single;
    const begin = performance.now();
    await input.copyTo((doubled ? this.#hostInput.data : this.#hostInput.single.data) as HostArray, this.#stream);
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
  deviceTime(evaluation: number, modelTime: number, samples: number): DeviceTensor {
    const of = (times: DeviceTensor) => (samples === times.length ? times : times.part(0, [samples]));
    if (this.#tables) return of(this.#tables.times[evaluation]!);
    if (!this.#time) [this.#time] = this.#memory.take([[this.#inputDims[0]!], 'float32']);
    this.#upload(this.#time, new Float32Array(this.#inputDims[0]!).fill(modelTime));
    return of(this.#time);
  }

  // ---- states -------------------------------------------------------------------------------------------------------

  /** A state in xT's type: the state itself, or a copy. */
  #inType(slot: number, to?: DeviceTensor): DeviceTensor {
    const { state } = this.#slots[slot]!;
    if (this.#type === this.stateType) return state;
    const copy = to ?? this.#memory.take([this.#dims, this.#type])[0];
    this.#convert(state, copy);
    return copy;
  }

  #convert(state: DeviceTensor, to: DeviceTensor): void {
    // In place, for the copy beside it.
    this.#copy(state, state.pointer, [to.pointer, 0n], to.type, null);
  }

  #viewOf: DeviceTensor | null = null;
  #hostView: { tensor: Tensor; data: NetworkArray } | null = null;

  view(slot: number): Tensor {
    if (this.#type !== this.stateType) this.#viewOf ??= this.#memory.take([this.#dims, this.#type])[0];
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
    return this.#type === this.stateType ? null : this.#memory.take([this.#dims, this.#type])[0];
  }

  correct(slot: number, change: (x: Tensor) => Tensor): void {
    const to = this.#slots[slot]!;
    const changed = this.#corrected(change(to.state as unknown as Tensor), "correctXt's result");
    this.#corrections++;
    this.#identical(changed, to, { what: 'xt', step: this.#corrections });
    this.#fetched = -1;
  }

  #corrected(tensor: unknown, name: string): DeviceTensor {
    const changed = this.#readDevice(tensor, name, this.#dims);
    if (changed.type !== this.stateType) throw wrongType(`type '${this.stateType}'`, name, changed.type);
    return changed;
  }

  // ---- the step -----------------------------------------------------------------------------------------------------

  readOutput(output: unknown, gradient: unknown, doubled: boolean): Output {
    const m = this.#readNetwork(output, 'the network output', doubled ? this.#inputDims : this.#dims);
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
    const key = `${name} ${type} ${dims[0]}`;
    let tensor = this.#outputs.get(key);
    if (!tensor) {
      [tensor] = this.#memory.take([dims, type]);
      this.#outputs.set(key, tensor);
    }
    const to = tensor;
    this.#timed(() => this.#upload(to, data));
    return tensor;
  }

  apply(rows: Float64Array, step: Application, output: Output): Found {
    this.#raise();
    this.#drawZ(step);
    const { m, g } = output as unknown as { m: DeviceTensor | NetworkArray; g: DeviceTensor | NetworkArray | null };
    const network: OnCard = {
      m: this.#onCard(m, 'm', step.doubled ? this.#inputDims : this.#dims),
      g: g ? this.#onCard(g, 'g', this.#dims) : null,
    };
    if (step.guide?.keep && !this.#differenceDone) this.#keepDifference(rows, step, step.guide.keep.index, network);
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
    this.#differenceDone = false;
    this.#drawn = false;
    this.#read.push(output);
    if (!this.#graph && this.#read.length > 2) this.#read.shift();
    this.#fetched = -1;
    return NOTHING_FOUND;
  }

  #forGuidance() {
    if (!this.#guidance) {
      const [work, told] = this.#memory.take(
        [[guideSpace(this.batch, this.#length / this.batch)], 'float64'],
        [[GUIDE_LENGTH], 'float64'],
      );
      const keeps = keepsDifference(this.#solver.guidance);
      const difference = keeps ? this.#memory.take([this.#dims, this.stateType])[0] : null;
      this.#guidance = { work, told, difference };
    }
    return this.#guidance;
  }

  /** Queues the answers' difference, and what goes on of the last one, in its place. */
  #keepDifference(rows: Float64Array, step: Application, index: number, network: OnCard): void {
    const { type } = network.m;
    if (type !== this.stateType) {
      throw outOfRange(`0 with a network that gives ${type} on a card`, 'guidance.momentum', 'another');
    }
    const { difference } = this.#forGuidance();
    const queued = this.#step;
    for (const name of ['base', 'p', 'd1', 'd2', 'd3', 'z', 'noise', 'd0', 'out2', 'next', 'next2', 'flags'] as const)
      queued.set(AT[name], 0n);
    queued.set(AT.rows, this.#rowsOf(rows, index, false));
    queued.set(AT.x, this.#slots[step.seen]!.at);
    this.#setNetwork(network, null, true);
    queued.set(AT.g, this.#differs ? difference!.pointer : 0n);
    queued.set(AT.out, difference!.pointer);
    queued.types(type, this.#inputType, false);
    this.#queueStep(network.m);
    this.#differs = true;
    this.#differenceDone = true;
  }

  /** Queues what weighs the answers, into the rows at an address. */
  #guide(rows: bigint, step: Application, { m }: OnCard): void {
    const { parameters, keep } = step.guide!;
    const { work, told, difference } = this.#forGuidance();
    let guide = this.#tables?.guides[step.row];
    if (guide === undefined) {
      this.#upload(told, parameters);
      guide = told.pointer;
    }
    queueGuide(this.#stream, {
      ...{ rows, guide, parameters, work: work.pointer, batch: this.batch, n: this.#length / this.batch },
      ...{ x: this.#slots[step.seen]!.at, u: m.pointer, m: m.pointer + BigInt(m.bytes / 2), type: m.type },
      kept: keep ? difference!.pointer : null,
    });
  }

  applyKept(rows: Float64Array, step: Application, kept: number): void {
    this.#queue(rows, step, null, kept < 0 ? null : this.#history[kept]!, kept >= 0, null);
    this.#fetched = -1;
  }

  #queue(
    rows: Float64Array,
    step: Application,
    network: OnCard | null,
    p: DeviceTensor | null,
    given: boolean,
    check: Check | null,
  ): void {
    const predictOnly = p !== null && !given;
    const slot = predictOnly ? null : this.#slots[step.out]!;
    const queued = this.#step;
    const [d1, d2, d3] = step.history;
    const at = this.#rowsOf(rows, step.row, given);
    if (step.guide && network && !given) this.#guide(at, step, network);
    queued.set(AT.rows, at);
    queued.set(AT.x, this.#slots[step.seen]!.at);
    queued.set(AT.base, this.#slots[step.base]!.at);
    queued.set(AT.p, p ? p.pointer : 0n);
    queued.set(AT.d1, this.#keptAt(d1));
    queued.set(AT.d2, this.#keptAt(d2));
    queued.set(AT.d3, this.#keptAt(d3));
    this.#setNoise(predictOnly ? null : step);
    queued.set(AT.d0, predictOnly ? 0n : this.#keptAt(step.keep));
    queued.set(AT.out, slot ? slot.at : 0n);
    queued.set(AT.out2, predictOnly || step.out2 === undefined ? 0n : this.#slots[step.out2]!.at);
    queued.set(AT.next, slot ? slot.next[0] : 0n);
    queued.set(AT.next2, slot ? slot.next[1] : 0n);
    queued.set(AT.flags, check && this.#checks ? this.#checks.next(check) : 0n);
    this.#setNetwork(network, slot, step.doubled ?? false);
    if (step.guide?.keep && network) queued.set(AT.g, this.#guidance!.difference!.pointer);
    const thresholds = this.#solver.thresholding !== null && step.predictsData && !given;
    queued.types(network ? network.m.type : this.stateType, this.#inputType, thresholds);
    this.#queueStep(network?.m ?? null, network?.g ?? null);
  }

  #setNetwork(network: OnCard | null, slot: Slot | null, doubled: boolean): void {
    if (!network) {
      for (const name of ['m', 'u', 'g'] as const) this.#step.set(AT[name], 0n);
      return;
    }
    const { m, g } = network;
    if (g && g.type !== m.type) throw new TypeError(`Expected ${m.type} for g but received ${g.type}`);
    if (slot && slot.apart !== m) {
      this.#checkApart(m, slot);
      slot.apart = m;
    }
    const at = m.pointer;
    this.#step.set(AT.u, doubled ? at : 0n);
    this.#step.set(AT.m, doubled ? at + BigInt(m.bytes / 2) : at);
    this.#step.set(AT.g, g ? g.pointer : 0n);
  }

  /** A network may return its own input, but not what the step writes while it reads, unless element by element. */
  #checkApart(m: DeviceTensor, { state, input, at }: Slot): void {
    const apart = (tensor: DeviceTensor) =>
      m.pointer + BigInt(m.bytes) <= tensor.pointer || tensor.pointer + BigInt(tensor.bytes) <= m.pointer;
    const itself = !this.#doubled && m.pointer === at && m.type === this.stateType && input === state;
    if (itself || (apart(input) && apart(state))) return;
    throw new RangeError(
      'Expected the network output to share no memory with the state that its step writes but received one that does',
    );
  }

  #keptAt(index: number | undefined): bigint {
    return index === undefined || index < 0 ? 0n : this.#kept[index]!;
  }

  /** Where the row's copy for every sample is: all rows are on the card, or this one goes there now. */
  #rowsOf(rows: Float64Array, index: number, given: boolean): bigint {
    const tables = this.#tables;
    if (tables) return ((given && tables.givenRows[index]) || tables.rows[index])!;
    const row = rows.subarray(index * ROW.length, (index + 1) * ROW.length);
    for (let b = 0; b < this.batch; b++) this.#stage.set(row, b * ROW.length);
    if (given) for (let b = 0; b < this.batch; b++) this.#stage[b * ROW.length + ROW.transform] = TRANSFORM.given;
    this.#upload(this.#rows!, this.#stage);
    return this.#rows!.pointer;
  }

  /** Noise from the host: drawn once, even if correctX0 throws and the step is tried again. */
  #drawZ(step: Application): void {
    if (!step.noisy || this.#drawn || this.#graph || this.#tables?.words.length) return;
    if (!this.#z) this.#makeZ(1);
    this.#noise!.fill(this.#hostZ!, this.batch, this.#draws++);
    this.#upload(this.#z!, this.#hostZ!);
    this.#drawn = true;
  }

  #setNoise(step: Application | null): void {
    const noisy = !!step?.noisy;
    const words = noisy ? this.#tables?.words[step.row] : undefined;
    this.#step.set(AT.noise, words ?? 0n);
    if (noisy && words === undefined) {
      const at = this.#graph ? this.#draws++ * this.#length * DeviceTensor.bytesOf(this.stateType) : 0;
      this.#step.set(AT.z, this.#z!.pointer + BigInt(at));
    } else {
      this.#step.set(AT.z, 0n);
    }
  }

  largestError(low: number, high: number, previous: number, atol: number, rtol: number): number {
    if (!this.#norms) {
      const space = errorNormSpace(this.batch, this.#length / this.batch);
      const [out, partial] = this.#memory.take([[this.batch], 'float64'], [[space], 'float64']);
      this.#norms = { out, partial, host: new Float64Array(this.batch) };
    }
    const { out, partial, host } = this.#norms;
    const [l, h, p] = [low, high, previous].map((slot) => this.#slots[slot]!.state);
    deviceErrorNorm({ low: l!, high: h!, previous: p!, out, partial }, { stream: this.#stream, atol, rtol });
    out.transferNow(host, this.#stream, 'down');
    return largestOf(host);
  }

  // ---- what is found later ------------------------------------------------------------------------------------------

  #lateNow(): LateFound | null {
    this.#raise();
    return this.#checks && !this.#checks.none ? this.#checks.now(this.#stream) : null;
  }

  async #lateSoon(): Promise<LateFound | null> {
    await this.settled();
    if (this.#checks && !this.#checks.none) return this.#checks.soon(this.#stream);
    await this.#stream.done();
    return null;
  }

  /** Of a graph that is launched again and again: its own look at the flags. */
  async flagsOfLaunch(): Promise<LateFound | null> {
    return this.#checks ? this.#checks.ofLaunch(this.#stream) : null;
  }
}

const NOTHING_FOUND: Found = { sample: -1, corrected: false };

/** A row that writes what it reads, be it x or m. */
function identityRow(): Float64Array {
  const row = new Float64Array(ROW.length);
  row[ROW.cx] = 1;
  row[ROW.cm] = 1;
  row[ROW.ep] = 1;
  row[ROW.first + SUM.bp] = 1;
  return row;
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
