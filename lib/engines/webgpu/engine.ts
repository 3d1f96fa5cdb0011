// The tensors of a run on a device that onnxruntime reaches, and the steps over them: what
// lib/engines/host/engine.ts is on the host. Every step makes new values and frees those that it took the place of, so that the
// last good state survives a step that fails.
import { ROW } from '../../addon/coefficients.js';
import { addon } from '../../addon/native.js';
import { type NoiseSource, noiseOfRun, PhiloxNoise } from '../../addon/noise.js';
import { outOfRange, wrongType } from '../../base/check.js';
import {
  allocate,
  makeTensor,
  readTensor,
  sameDims,
  type Tensor,
  type TensorView,
  wrongDims,
} from '../../base/tensor.js';
import { type OrtTensor, OrtValue } from '../../onnx/network.js';
import type { Application, Engine, Found, Output, Sizes, Transfers } from '../../solver/engine.js';
import type { Known, KnownAt } from '../../solver/known.js';
import type { Sampler, Solver } from '../../solver/options.js';
import type { Plan } from '../../solver/plan.js';
import type { Term } from './graph.js';
import type { Blend, FloatType, Steps } from './steps.js';

/** A state, and what the network is given for it where that is not the state itself. */
interface Slot {
  state: OrtValue | null;
  next: OrtValue | null;
  /** Is `next` the state twice? */
  twice: boolean;
}

/** A checked output of the network. */
interface DeviceOutput extends Output {
  readonly m: OrtValue;
  readonly g: null;
}

/** @internal */
export class DeviceEngine implements Engine {
  /** Copies whose numbers are on their way are waited for where a card would be asked what it found. */
  readonly late = {
    now: (): never => {
      throw new Error('Expected a run that is waited for, as steps that are graphs take their time');
    },
    soon: async (): Promise<null> => {
      await Promise.all(this.#copies.splice(0));
      return null;
    },
  };
  readonly fetches = true;
  readonly seed: number | readonly number[] | undefined;
  readonly transfers: Transfers;
  readonly #solver: Solver;
  readonly #signal: AbortSignal | undefined;
  readonly #steps: Steps;
  readonly #xT: TensorView;
  /** What the network is given where that is not the state: its type, or it twice. */
  readonly #inputType: FloatType;
  readonly #slots: Slot[];
  readonly #history: (OrtValue | null)[];
  /** What the network has given and no step has read yet. */
  readonly #given = new Set<OrtValue>();
  readonly #noise: NoiseSource | null = null;
  /** Noise of the host. */
  readonly #z: Float32Array | null = null;
  /** What steps that draw it by themselves have in its place. */
  #words: Uint32Array | null = null;
  readonly #host: Float32Array;
  #start: Float32Array | null;
  readonly #copies: Promise<void>[] = [];
  #known: Blend | undefined;
  #drawn = 0;
  #plan: Plan | null = null;
  #applies = 0;

  constructor(steps: Steps, solver: Solver, sampler: Sampler, xT: Tensor, { states, history }: Sizes) {
    const view = readTensor(xT, 'xT');
    this.#solver = solver;
    this.#signal = sampler.signal;
    this.#xT = view;
    this.#steps = steps;
    this.transfers = steps.transfers;
    this.#inputType = (solver.modelDtype ?? view.type) as FloatType;
    this.#slots = Array.from({ length: states }, () => ({ state: null, next: null, twice: false }));
    this.#history = Array<OrtValue | null>(history).fill(null);
    this.#start = new Float32Array(view.length);
    addon.convert(view.data, this.#start);
    if (solver.checkFinite) {
      const bad = this.#start.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw outOfRange('finite numbers', 'xT.data', `${this.#start[bad]} at index ${bad}`);
    }
    this.#host = new Float32Array(view.length);
    const noise = noiseOfRun(solver.tau2 > 0, sampler, { length: view.length, batch: view.batch, type: 'float32' });
    if (noise) {
      this.seed = noise.seed;
      this.#noise = noise.source;
      if (!this.#draws(noise.source)) this.#z = new Float32Array(view.length);
    }
  }

  /** Do steps draw this noise where they are made? */
  #draws(noise: NoiseSource | null): noise is PhiloxNoise {
    return this.#steps.draws && noise instanceof PhiloxNoise;
  }

  plan(plan: Plan): void {
    this.#plan = plan;
  }

  // ---- states -------------------------------------------------------------------------------------------------------

  async fetch(slot: number, doubled: boolean): Promise<void> {
    const to = this.#slots[slot];
    const state = await this.#stateOf(slot);
    if (!this.#needsInput(doubled) || (to.next && to.twice === doubled)) return;
    put(to, 'next', await this.#steps.input(state, this.#inputType, doubled, this.#signal));
    to.twice = doubled;
  }

  /** Has the network to be given something other than the state? */
  #needsInput(doubled: boolean): boolean {
    return doubled || this.#inputType !== 'float32';
  }

  async #stateOf(slot: number): Promise<OrtValue> {
    const to = this.#slots[slot];
    if (this.#start) {
      to.state = await this.#upload(this.#start);
      this.#start = null;
    }
    return to.state!;
  }

  #upload(data: Float32Array): Promise<OrtValue> {
    return this.#steps.upload({ type: 'float32', data, dims: this.#xT.dims });
  }

  input(slot: number, doubled: boolean): Tensor {
    const { state, next } = this.#slots[slot];
    return (this.#needsInput(doubled) ? next : state) as unknown as Tensor;
  }

  /** Reads a state into memory of the host. */
  async #read(slot: number, to: Float32Array): Promise<void> {
    const { state } = this.#slots[slot];
    if (this.#start) return to.set(this.#start);
    await this.#steps.download(state!, { type: 'float32', data: to, dims: this.#xT.dims });
  }

  async view(slot: number): Promise<Tensor> {
    await this.#read(slot, this.#host);
    return this.#inType(this.#host);
  }

  copy(slot: number): Tensor {
    const { type, length, data, source, dims } = this.#xT;
    const own = allocate(type, length, data);
    const state = type === 'float32' ? (own as Float32Array) : new Float32Array(length);
    this.#copies.push(
      this.#read(slot, state).then(() => {
        if (own !== state) addon.convert(state, own);
      }),
    );
    return makeTensor(source, type, own, dims);
  }

  result(slot: number): Tensor {
    return this.copy(slot);
  }

  /** A state as the caller knows it. */
  #inType(state: Float32Array): Tensor {
    const { type, length, data, source, dims } = this.#xT;
    const own = type === 'float32' ? state : allocate(type, length, data);
    if (own !== state) addon.convert(state, own);
    return makeTensor(source, type, own, dims);
  }

  async correct(slot: number, change: (x: Tensor) => Tensor, known?: KnownAt): Promise<void> {
    if (known && this.#steps.blend) {
      this.#known ??= await this.#bring(known);
      const state = await this.#steps.blend(await this.#stateOf(slot), this.#known, known, this.#signal);
      put(this.#slots[slot], 'state', state);
      put(this.#slots[slot], 'next', null);
      return;
    }
    const { source, dims, length } = this.#xT;
    await this.#read(slot, this.#host);
    const changed = readTensor(change(makeTensor(source, 'float32', this.#host, dims)), "correctXt's result");
    if (!sameDims(changed.dims, dims)) throw wrongDims(dims, "correctXt's result", changed.dims);
    const values = changed.type === 'float32' ? (changed.data as Float32Array) : new Float32Array(length);
    if (values !== changed.data) addon.convert(changed.data, values);
    const bad = this.#solver.checkFinite ? values.findIndex((value) => !Number.isFinite(value)) : -1;
    if (bad >= 0) {
      throw new Error(`Expected finite numbers for correctXt's result but received ${values[bad]} at index ${bad}`);
    }
    const to = this.#slots[slot];
    put(to, 'state', await this.#upload(values));
    put(to, 'next', null);
  }

  /** The known part crosses once. */
  async #bring({ x0, noise, mask }: Known): Promise<Blend> {
    const upload = (data: Float32Array, dims = this.#xT.dims) => this.#steps.upload({ type: 'float32', data, dims });
    const kept = (values: Float32Array) => values.map((value, i) => (mask[i % mask.length] === 0 ? value : 0));
    const [, , ...places] = this.#xT.dims;
    const made: OrtValue[] = [];
    try {
      for (const values of [x0, noise]) made.push(await upload(kept(values)));
      made.push(await upload(Float32Array.from(mask), [1, 1, ...places]));
    } catch (error) {
      for (const one of made) one.dispose();
      throw error;
    }
    const [mean, spread, free] = made;
    return { x0: mean, noise: spread, free };
  }

  // ---- the step -----------------------------------------------------------------------------------------------------

  /** What a network has given is freed by the step that reads it, or with the run. */
  adopt(value: unknown): void {
    if (value instanceof OrtValue) this.#given.add(value);
  }

  readOutput(output: unknown, _gradient: unknown, doubled: boolean): DeviceOutput {
    if (!(output instanceof OrtValue)) throw wrongType('a value on its device', 'the network output', output);
    const dims = this.#dims(doubled);
    if (!sameDims(output.dims, dims)) throw wrongDims(dims, 'the network output', output.dims);
    if (output.type !== 'float32' && output.type !== 'float16') {
      throw new TypeError(`Expected type 'float32' or 'float16' for the network output but received '${output.type}'`);
    }
    return { m: output, g: null };
  }

  #dims(doubled: boolean): readonly number[] {
    const [batch, ...rest] = this.#xT.dims;
    return doubled ? [2 * batch, ...rest] : this.#xT.dims;
  }

  async apply(rows: Float64Array, step: Application, { m }: DeviceOutput): Promise<Found> {
    if (step.noisy) this.#draw();
    const found = await this.#run(rows, step, m, -1);
    this.#given.delete(m);
    m.dispose();
    this.#applies++;
    return { sample: this.#solver.checkFinite ? found! : -1, corrected: false };
  }

  #draw(): void {
    const { batch } = this.#xT;
    const noise = this.#noise!;
    if (this.#draws(noise)) this.#words = noise.words(batch, this.#drawn++);
    else noise.fill(this.#z!, batch, this.#drawn++);
  }

  async applyKept(rows: Float64Array, step: Application, kept: number): Promise<void> {
    await this.#run(rows, step, null, kept);
  }

  /** Is the state that goes into a slot given to the network twice? undefined where the network never sees it. */
  #seenDoubled(slot: number): boolean | undefined {
    for (const { seen, out, doubled } of this.#plan!.evaluations.slice(this.#applies + 1)) {
      if (seen === slot) return doubled;
      if (out === slot) break;
    }
    return undefined;
  }

  async #run(rows: Float64Array, step: Application, m: OrtValue | null, kept: number): Promise<number | null> {
    const doubled = m ? this.#seenDoubled(step.out) : undefined;
    const asked = doubled !== undefined && this.#needsInput(doubled) ? { type: this.#inputType, twice: doubled } : null;
    const made = await this.#steps.step(
      {
        row: rows.subarray(step.row * ROW.length, (step.row + 1) * ROW.length),
        ...{ output: m, dims: this.#xT.dims, input: asked, given: kept >= 0, doubled: step.doubled ?? false },
        history: [1, 2, 3].filter((i) => (step.history[i - 1] ?? -1) >= 0),
        ...{ keep: step.keep >= 0, noisy: step.noisy ?? false, second: step.out2 !== undefined },
        ...{ sameBase: step.base === step.seen, draws: this.#draws(this.#noise) },
        operand: (term) => this.#operand(term, step, kept),
      },
      this.#signal,
    );
    const to = this.#slots[step.out];
    put(to, 'state', made.out);
    put(to, 'next', made.next ?? null);
    to.twice = asked?.twice ?? false;
    if (step.out2 !== undefined) {
      const second = this.#slots[step.out2];
      put(second, 'state', made.out2 as OrtValue);
      put(second, 'next', null);
    }
    if (step.keep >= 0) {
      this.#history[step.keep]?.dispose();
      this.#history[step.keep] = made.d0 as OrtValue;
    }
    return made.found;
  }

  #operand(term: Term, step: Application, kept: number): OrtTensor | OrtValue | Promise<OrtValue> {
    if (term === 'x') return this.#stateOf(step.seen);
    if (term === 'base') return this.#stateOf(step.base);
    if (term === 'kept') return this.#history[kept]!;
    if (term !== 'z') return this.#history[step.history[Number(term.slice(1)) - 1]]!;
    if (this.#z) return { type: 'float32', data: this.#z, dims: this.#xT.dims };
    return { type: 'uint32', data: this.#words!, dims: [this.#xT.batch, 4] };
  }

  largestError(): never {
    throw new Error('Expected a method with given times for steps that are graphs');
  }

  dispose(): void {
    for (const slot of this.#slots) {
      put(slot, 'state', null);
      put(slot, 'next', null);
    }
    for (const value of [...this.#history, ...this.#given, ...Object.values(this.#known ?? {})]) value?.dispose();
    this.#steps.release();
  }
}

/** Puts a value in place of another, which is freed. */
function put(slot: Slot, name: 'state' | 'next', value: OrtValue | null): void {
  slot[name]?.dispose();
  slot[name] = value;
}
