// The network that is called at every evaluation: a U-Net or a transformer with text conditioning.
import { convert } from '../addon/native.js';
import type { Tensor } from '../base/tensor.js';
import { type Binding, type ElementType, fill, Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';
import { timeSlot } from '../onnx/slots.js';
import { EvaluateThere, wayOf } from './device-network.js';
import {
  type DenoiserKind,
  findNetwork,
  INPUTS,
  type NetworkFacts,
  type NetworkType,
  networkType,
  readNetwork,
} from './network-facts.js';

export type { DenoiserKind, NetworkFacts, NetworkType } from './network-facts.js';

/** What one sample is conditioned on: buffers by the graph's input names, without the batch dimension. */
export type Conditioning = ReadonlyMap<string, Slot>;

/** One evaluation, which the signal ends; its result is overwritten by the next one. */
export type Evaluate = (x: Tensor, t: number, signal?: AbortSignal) => Promise<Tensor>;

/** Channels, height and width of one state. */
export type Shape = readonly [channels: number, height: number, width: number];

/** What a batch is prepared with besides its conditioning. */
export interface PrepareOptions {
  /** Channels that are always the same, `[batch, extraChannels, height, width]`: an inpainting network's. */
  extra?: Float32Array;
  /** For a network with guidance distilled into it: the scale. */
  guidance?: number;
  /** What the network's timestep is for a model time of 1; 1. */
  timeScale?: number;
}

/** Places in one batch of the network; see {@link Denoiser.seats}. */
export interface Seats {
  readonly size: number;
  /** Somebody else sits there from now on. */
  seat(i: number, conditioning: Conditioning, own: { guidance?: number; extra?: Float32Array }): void;
  /** The state of a place, and its time: one for all where the network takes no more. */
  put(i: number, x: ArrayLike<number>, t: number): void;
  /** All places; overwritten by the next evaluation. */
  evaluate(signal?: AbortSignal): Promise<Tensor>;
}

/** Buffers of one batch. */
interface Bound {
  readonly feeds: Record<string, Slot>;
  /** x is read in place; the times stay as they are where none is given. */
  readonly evaluate: (x: Tensor, time: number | undefined, signal?: AbortSignal) => Promise<Tensor>;
}

const elementsOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The part of a buffer that is one sample's. */
function row({ type, data, dims }: Slot, i: number): Slot {
  const n = data.length / dims[0];
  return { type, data: data.subarray(i * n, (i + 1) * n), dims: [1, ...dims.slice(1)] };
}

export class Denoiser {
  readonly #graph: Graph;
  /** What the graph and its configuration say. */
  readonly facts: NetworkFacts;
  /** The text inputs that the graph declares, with their types. */
  readonly conditioning: ReadonlyMap<string, ElementType>;

  private constructor(graph: Graph, facts: NetworkFacts) {
    this.#graph = graph;
    this.facts = facts;
    this.conditioning = new Map(
      INPUTS[facts.kind].text
        .filter((name) => graph.inputs.has(name))
        .map((name) => [name, networkType(graph, name) as ElementType]),
    );
  }

  /**
   * Reads what `model.onnx` of the folder `unet` or `transformer` says, and `config.json` where there is one; the graph is not loaded.
   *
   * @param names the graph's file names in order of preference
   * @param pipeline the class that model_index.json names
   * @throws Error that names the file, when one is missing or the graph does not take what a denoiser takes
   */
  static async open(
    folder: string,
    network: 'unet' | 'transformer',
    names: readonly string[],
    options: SessionOptions,
    pipeline?: string,
  ): Promise<Denoiser> {
    const graph = Graph.describe(findNetwork(folder, network, names), options);
    try {
      return new Denoiser(graph, readNetwork(folder, network, graph, pipeline));
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  get graph(): Graph {
    return this.#graph;
  }

  /** The name of the input that the state goes into. */
  get state(): string {
    return this.facts.state;
  }

  get kind(): DenoiserKind {
    return this.facts.kind;
  }

  /** What the graph takes. */
  get type(): NetworkType {
    return this.facts.type;
  }

  /** Channels of the state. */
  get channels(): number {
    return this.facts.channels;
  }

  /**
   * Is classifier-free guidance distilled into the network, which then takes its scale as an input? As a number (Flux) or
   * embedded (LCM).
   */
  get distilled(): boolean {
    return this.#graph.inputs.has('guidance') || this.facts.guidanceWidth > 0;
  }

  /**
   * Refuses a size that the network cannot have.
   *
   * @param factor pixels a latent
   */
  checkSize(height: number, width: number, factor: number): void {
    const { state, kind, most } = this.facts;
    const graph = this.#graph;
    const declared = kind === 'flux' ? [] : graph.input(state).shape.slice(2);
    for (const [i, value] of [height, width].entries()) {
      const name = i === 0 ? 'height' : 'width';
      const fixed = declared[i];
      if (typeof fixed === 'number' && fixed !== value) {
        throw new RangeError(
          `Expected ${fixed * factor} for ${name} but received ${value * factor}: ${graph.path} was exported for that size only`,
        );
      }
      if (most !== undefined && value > most) {
        throw new RangeError(
          `Expected at most ${most * factor} for ${name}, as many places as the network knows, but received ${value * factor}`,
        );
      }
    }
  }

  /**
   * Buffers for evaluations of one batch, made once for a run.
   *
   * @param conditionings one a sample of the network's batch (under classifier-free guidance twice the pictures)
   * @param shape of one sample
   * @returns evaluates the network at x, whose data is read in place, and the time t as the network counts
   */
  prepare(conditionings: readonly Conditioning[], shape: Shape, options: PrepareOptions = {}): Evaluate {
    const fixed = this.fixedBatch;
    if (fixed === undefined || fixed === conditionings.length) return this.#prepare(conditionings, shape, options);
    return this.#inPortions(fixed, conditionings, shape, options);
  }

  /**
   * As {@link prepare}, for states that stay on WebGPU, where the rest of what the graph takes is brought once; undefined
   * where the network is elsewhere, or was exported for another number of samples.
   */
  async prepareThere(
    conditionings: readonly Conditioning[],
    shape: Shape,
    options: PrepareOptions = {},
  ): Promise<EvaluateThere | undefined> {
    const { fixedBatch } = this;
    if (fixedBatch !== undefined && fixedBatch !== conditionings.length) return undefined;
    const network = await this.#graph.there();
    if (!network) return undefined;
    const { kind, state, output, type } = this.facts;
    const feeds = this.#feeds(conditionings, shape, options);
    const { extra, ...way } = wayOf({ kind, batch: conditionings.length, shape, own: feeds[state], type });
    return EvaluateThere.open(network, { feeds, state, output, way, extra, timeScale: options.timeScale ?? 1 });
  }

  /** For a graph that was exported for so many samples: evaluated as often as it takes, the last time with repetitions. */
  #inPortions(
    size: number,
    conditionings: readonly Conditioning[],
    shape: Shape,
    { extra, ...options }: PrepareOptions,
  ): Evaluate {
    const batch = conditionings.length;
    const n = shape.reduce((a, b) => a * b, 1);
    const more = this.facts.extraChannels * shape[1] * shape[2];
    const portions = Array.from({ length: Math.ceil(batch / size) }, (_, p) => {
      const samples = Array.from({ length: size }, (_, i) => Math.min(p * size + i, batch - 1));
      const own = extra && new Float32Array(size * more);
      samples.forEach((b, i) => {
        own?.set(extra!.subarray(b * more, (b + 1) * more), i * more);
      });
      const evaluate = this.#prepare(
        samples.map((b) => conditionings[b]),
        shape,
        { ...options, extra: own },
      );
      return { samples, evaluate, input: slot(this.type, [size, ...shape]) };
    });
    const result = slot(this.#graph.output(this.facts.output).type as ElementType, [batch, ...shape]);
    return async (x, t, signal) => {
      const source = x.data as Float32Array;
      for (const { samples, evaluate, input } of portions) {
        samples.forEach((b, i) => {
          (input.data as Float32Array).set(source.subarray(b * n, (b + 1) * n), i * n);
        });
        const { data } = (await evaluate(input as Tensor, t, signal)) as { data: Float32Array };
        samples.forEach((b, i) => {
          (result.data as Float32Array).set(data.subarray(i * n, (i + 1) * n), b * n);
        });
      }
      return { type: result.type, data: result.data, dims: result.dims };
    };
  }

  /** Does the network take a time for each sample, or one for all? */
  get timesEach(): boolean {
    const [first, ...rest] = this.#graph.input('timestep').shape;
    return rest.length === 0 && typeof first === 'string' && /batch|times/i.test(first);
  }

  /** The samples of every call, where the graph was exported for so many. */
  get fixedBatch(): number | undefined {
    const [first] = this.#graph.input(this.facts.state).shape;
    return typeof first === 'number' ? first : undefined;
  }

  /**
   * Places in one batch that samples of several runs take, each with its own conditioning, guidance and time.
   *
   * @param size how many; a graph that was exported for so many samples has that many
   * @param like what one sample is conditioned on: those that come have buffers of its sizes
   */
  seats(size: number, like: Conditioning, shape: Shape, options: PrepareOptions = {}): Seats {
    const { extraChannels, state: name, type } = this.facts;
    const count = this.fixedBatch ?? size;
    const n = elementsOf(shape);
    const state = slot(type, [count, ...shape]);
    const extra = extraChannels > 0 ? new Float32Array(count * (n / shape[0]) * extraChannels) : undefined;
    const each = this.timesEach;
    const likes = Array<Conditioning>(count).fill(like);
    const { feeds, evaluate } = this.#bound(likes, shape, { ...options, extra }, each ? count : undefined);
    const scale = options.timeScale ?? 1;
    return {
      size: count,
      seat: (i, conditioning, { guidance = 1, extra: own }) => {
        for (const key of this.conditioning.keys()) {
          const { data } = conditioning.get(key) as Slot;
          feeds[key].data.set(data as never, i * data.length);
        }
        if (feeds.guidance) fill(row(feeds.guidance, i), guidance);
        if (feeds.timestep_cond) {
          row(feeds.timestep_cond, i).data.set(this.#embeddedGuidance(1, guidance).data as never);
        }
        if (own) putExtra(row(feeds[name], i), own, shape, extraChannels);
      },
      put: (i, x, t) => {
        state.data.set(x as never, i * n);
        fill(each ? row(feeds.timestep, i) : feeds.timestep, t * scale);
      },
      evaluate: (signal) => evaluate(state as Tensor, undefined, signal),
    };
  }

  #prepare(conditionings: readonly Conditioning[], shape: Shape, options: PrepareOptions): Evaluate {
    const { evaluate } = this.#bound(conditionings, shape, options);
    const scale = options.timeScale ?? 1;
    return (x, t, signal) => evaluate(x, t * scale, signal);
  }

  /**
   * All that the graph takes, the state's buffer as well, in buffers of their own.
   *
   * @param times as many as there are in the buffer of times; what the graph declares where absent
   */
  #feeds(
    conditionings: readonly Conditioning[],
    shape: Shape,
    options: PrepareOptions,
    times?: number,
  ): Record<string, Slot> {
    const { kind, state, type, extraChannels } = this.facts;
    const graph = this.#graph;
    const batch = conditionings.length;
    const [channels, height, width] = shape;
    const flux = kind === 'flux';
    const inputDims = flux ? this.#packed(batch, shape) : [batch, channels + extraChannels, height, width];
    const declared = timeSlot(graph.input('timestep'), batch, graph.path);
    const timestep = times === undefined ? declared : slot(declared.type, [times]);
    const feeds: Record<string, Slot> = { [state]: slot(type, inputDims), timestep };
    for (const name of this.conditioning.keys()) {
      const first = conditionings[0].get(name) as Slot;
      const all = slot(first.type, [batch, ...first.dims]);
      conditionings.forEach((one, i) => {
        all.data.set((one.get(name) as Slot).data as never, i * first.data.length);
      });
      feeds[name] = all;
    }
    if (flux) {
      feeds.img_ids = this.#places('img_ids', batch, (height / 2) * (width / 2), width / 2);
      if (graph.inputs.has('txt_ids')) {
        feeds.txt_ids = this.#places('txt_ids', batch, feeds.encoder_hidden_states?.dims[1] ?? 0, 0);
      }
      if (graph.inputs.has('guidance')) {
        feeds.guidance = slot(networkType(graph, 'guidance') as ElementType, [batch]);
        fill(feeds.guidance, options.guidance ?? 1);
      }
    }
    if (graph.inputs.has('timestep_cond')) {
      feeds.timestep_cond = this.#embeddedGuidance(batch, options.guidance ?? 1);
    }
    if (extraChannels > 0) {
      if (!options.extra) throw new Error(`Expected a picture and a mask for ${graph.path}, an inpainting network`);
      putExtra(feeds[state], options.extra, shape, extraChannels);
    }
    return feeds;
  }

  /** A flux state's tokens. */
  #packed(batch: number, [channels, height, width]: Shape): number[] {
    return [batch, (height / 2) * (width / 2), 4 * channels];
  }

  #bound(conditionings: readonly Conditioning[], shape: Shape, options: PrepareOptions, times?: number): Bound {
    const { kind, state, output: outputName, extraChannels } = this.facts;
    const graph = this.#graph;
    const batch = conditionings.length;
    const [channels, height, width] = shape;
    const dims = [batch, ...shape];
    const flux = kind === 'flux';
    const packedDims = this.#packed(batch, shape);
    const feeds = this.#feeds(conditionings, shape, options, times);
    const sample = feeds[state];
    const output = slot(graph.output(outputName).type as ElementType, flux ? packedDims : dims);
    const binding = graph.bind(feeds, { [outputName]: output });
    const data = flux ? slot(output.type, dims).data : output.data;
    const result: Tensor = { type: output.type, data, dims } as Tensor;
    const evaluate: Bound['evaluate'] = async (x, time, signal) => {
      if (time !== undefined) fill(binding.feeds.timestep, time);
      if (flux) {
        permute(x.data as Slot['data'], sample.data, dims, 'pack');
        await binding.run(signal);
        permute(output.data, data, dims, 'unpack');
      } else if (extraChannels > 0) {
        const n = channels * height * width;
        const whole = n + extraChannels * height * width;
        const source = x.data as Float32Array;
        for (let b = 0; b < batch; b++)
          (sample.data as Float32Array).set(source.subarray(b * n, (b + 1) * n), b * whole);
        await binding.run(signal);
      } else {
        await runOn(binding, x, state, signal);
      }
      return result;
    };
    return { feeds: binding.feeds, evaluate };
  }

  /** Where each token stands: text at the origin, pictures by row and column; per batch where the graph says so. */
  #places(name: 'img_ids' | 'txt_ids', batch: number, count: number, columns: number): Slot {
    const { type, shape } = this.#graph.input(name);
    const copies = shape.length === 3 ? batch : 1;
    const ids = slot(type as ElementType, shape.length === 3 ? [batch, count, 3] : [count, 3]);
    const one = slot(type as ElementType, [1]);
    for (let i = 0; columns > 0 && i < copies * count; i++) {
      for (const [axis, place] of [
        [1, Math.floor((i % count) / columns)],
        [2, (i % count) % columns],
      ]) {
        fill(one, place);
        ids.data[3 * i + axis] = one.data[0] as never;
      }
    }
    return ids;
  }

  /** The scale less 1 as a time of 1000 would be embedded, by sines and cosines (Luo et al. 2023, arXiv 2310.04378). */
  #embeddedGuidance(batch: number, scale: number): Slot {
    const { guidanceWidth: width } = this.facts;
    const half = Math.floor(width / 2);
    const one = new Float32Array(width);
    const w = Math.fround((scale - 1) * 1000);
    const rate = Math.fround(Math.fround(Math.log(10000)) / (half - 1));
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(w * Math.fround(Math.exp(Math.fround(-rate * i))));
      one[i] = Math.sin(angle);
      one[half + i] = Math.cos(angle);
    }
    const all = slot(networkType(this.#graph, 'timestep_cond') as ElementType, [batch, width]);
    const typed = slot(all.type, [width]);
    convert(one, typed.data as Float32Array);
    for (let b = 0; b < batch; b++) all.data.set(typed.data as never, b * width);
    return all;
  }

  release(): Promise<void> {
    return this.#graph.release();
  }
}

/** Writes the constant channels behind each sample's state. */
function putExtra(sample: Slot, extra: Float32Array, [channels, height, width]: Shape, count: number): void {
  const plane = height * width;
  const source = slot(sample.type, [extra.length]);
  const one = slot(sample.type, [1]);
  for (let i = 0; i < extra.length; i++) {
    fill(one, extra[i]);
    source.data[i] = one.data[0] as never;
  }
  for (let b = 0; b < sample.dims[0]; b++) {
    const part = source.data.subarray(b * count * plane, (b + 1) * count * plane);
    sample.data.set(part as never, (b * (channels + count) + channels) * plane);
  }
}

/** Between `[batch, channels, height, width]` and tokens of 2 x 2 pixels: channel, row and column, in this order. */
function permute(
  from: Slot['data'],
  to: Slot['data'],
  [batch, channels, height, width]: readonly number[],
  direction: 'pack' | 'unpack',
): void {
  let token = 0;
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < height; y += 2) {
      for (let x = 0; x < width; x += 2) {
        for (let c = 0; c < channels; c++) {
          const corner = ((b * channels + c) * height + y) * width + x;
          for (const at of [corner, corner + 1, corner + width, corner + width + 1]) {
            if (direction === 'pack') to[token++] = from[at] as never;
            else to[at] = from[token++] as never;
          }
        }
      }
    }
  }
}

/** Runs a graph that has a state and the input `timestep`, with x read in place. */
export async function runAt(
  binding: Binding,
  x: Tensor,
  t: number,
  { signal }: { signal?: AbortSignal } = {},
): Promise<void> {
  fill(binding.feeds.timestep, t);
  await runOn(binding, x, 'sample', signal);
}

async function runOn(binding: Binding, x: Tensor, state: string, signal: AbortSignal | undefined): Promise<void> {
  const { [state]: sample } = binding.feeds;
  const data = x.data as Slot['data'];
  if (data.length !== sample.data.length) {
    throw new RangeError(`Expected ${sample.data.length} elements for the network but received ${data.length}`);
  }
  sample.data = data;
  await binding.run(signal);
}
