// The network that is called at every evaluation: a U-Net or a transformer with text conditioning.
import { list, show } from '../base/check.js';
import type { Tensor } from '../base/tensor.js';
import { findFile, readJson } from '../folder/files.js';
import { type Binding, type ElementType, fill, Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';

/** What one sample is conditioned on: buffers by the graph's input names, without the batch dimension. */
export type Conditioning = ReadonlyMap<string, Slot>;

/** One evaluation, which the signal ends; its result is overwritten by the next one. */
export type Evaluate = (x: Tensor, t: number, signal?: AbortSignal) => Promise<Tensor>;

/** The element types a state may be given to a network in. */
export type NetworkType = 'float32' | 'float16' | 'float64';

/** Channels, height and width of one state. */
export type Shape = readonly [channels: number, height: number, width: number];

/**
 * - `plain`: a U-Net with one text encoder, in pixels or latents (Stable Diffusion 1 and 2)
 * - `xl`: a U-Net that is told the picture's size and a pooled vector too (Stable Diffusion XL)
 * - `sd3`: a transformer over latents (Stable Diffusion 3)
 * - `flux`: a transformer over latents packed two by two, with places (Flux)
 */
export type DenoiserKind = 'plain' | 'xl' | 'sd3' | 'flux';

/** The inputs that are conditioned on by prompt, by kind, and those that are made here. */
const inputs: Record<DenoiserKind, { text: readonly string[]; made: readonly string[] }> = {
  plain: { text: ['encoder_hidden_states'], made: [] },
  xl: { text: ['encoder_hidden_states', 'text_embeds', 'time_ids'], made: [] },
  sd3: { text: ['encoder_hidden_states', 'pooled_projections'], made: [] },
  flux: { text: ['encoder_hidden_states', 'pooled_projections'], made: ['img_ids', 'txt_ids', 'guidance'] },
};

const outputNames = ['out_sample', 'out_hidden_states', 'sample'];

/** Side of the latents that Flux's networks, whose configuration does not say, were trained at. */
const FLUX_SIZE = 128;

interface Parts {
  graph: Graph;
  kind: DenoiserKind;
  state: string;
  output: string;
  type: NetworkType;
  channels: number;
  extraChannels: number;
  size: readonly [height: number, width: number];
  patch: number;
  contextWidth: number | undefined;
}

/** What a batch is prepared with besides its conditioning. */
export interface PrepareOptions {
  /** Channels that are always the same, `[batch, extraChannels, height, width]`: an inpainting network's. */
  extra?: Float32Array;
  /** For a network with guidance distilled into it. */
  guidance?: number;
  /** What the network's timestep is for a model time of 1; 1. */
  timeScale?: number;
}

export class Denoiser {
  readonly #parts: Parts;
  /** The text inputs that the graph declares, with their types. */
  readonly conditioning: ReadonlyMap<string, ElementType>;

  private constructor(parts: Parts) {
    this.#parts = parts;
    const { graph, kind } = parts;
    this.conditioning = new Map(
      inputs[kind].text
        .filter((name) => graph.inputs.has(name))
        .map((name) => [name, networkType(graph, name) as ElementType]),
    );
  }

  /** The graph and its configuration, so that a missing file is told before any network is loaded. */
  static find(folder: string, network: 'unet' | 'transformer', names: readonly string[]): void {
    findFile(
      folder,
      names.map((name) => `${network}/${name}`),
    );
    readJson(folder, [`${network}/config.json`]);
  }

  /**
   * Reads what `model.onnx` and `config.json` of the folder `unet` or `transformer` say; the graph is not loaded.
   *
   * @param names the graph's file names in order of preference
   * @throws Error that names the file, when one is missing or the graph does not take what a denoiser takes
   */
  static async open(
    folder: string,
    network: 'unet' | 'transformer',
    names: readonly string[],
    options: SessionOptions,
  ): Promise<Denoiser> {
    const path = findFile(
      folder,
      names.map((name) => `${network}/${name}`),
    );
    const config = readJson(folder, [`${network}/config.json`]);
    const graph = Graph.describe(path, options);
    try {
      const state = network === 'unet' ? 'sample' : 'hidden_states';
      const type = networkType(graph, state);
      const output = outputNames.find((name) => graph.outputs.has(name)) ?? 'sample';
      networkType(graph, output, 'output');
      graph.input('timestep');
      const kind: DenoiserKind =
        network === 'transformer'
          ? graph.inputs.has('img_ids')
            ? 'flux'
            : 'sd3'
          : graph.inputs.has('text_embeds')
            ? 'xl'
            : 'plain';
      const known = [state, 'timestep', ...inputs[kind].text, ...inputs[kind].made];
      for (const name of graph.inputs.keys()) {
        if (known.includes(name)) continue;
        const why =
          name === 'timestep_cond' ? ', as it belongs to a consistency model, which has no steps to solve' : '';
        throw new Error(`Nothing is known to feed the input ${name} of ${path} with${why}`);
      }
      const ids = graph.inputs.get('time_ids')?.shape.at(-1);
      if (typeof ids === 'number' && ids !== 6) {
        throw new Error(`Expected 6 numbers for the input time_ids of ${path}, which declares ${ids}`);
      }
      const { json } = config;
      const size = json.sample_size ?? (kind === 'flux' ? FLUX_SIZE : undefined);
      const [height, width] = Array.isArray(size) ? size : [size, size];
      for (const value of [json.in_channels, height, width]) {
        if (!(typeof value === 'number' && Number.isSafeInteger(value) && value > 0)) {
          throw new Error(`Expected whole numbers for in_channels and sample_size in ${config.path}`);
        }
      }
      const all = json.in_channels as number;
      const [channels, extraChannels] = kind === 'flux' ? [all / 4, 0] : unetChannels(all, json.out_channels);
      if (!Number.isSafeInteger(channels)) {
        throw new Error(`Expected a multiple of 4 for in_channels in ${config.path} but found ${all}`);
      }
      if (extraChannels !== 0 && extraChannels !== channels + 1) {
        throw new Error(
          `Expected ${channels} input channels, or ${2 * channels + 1} of an inpainting network, in ${config.path} but found ${all}`,
        );
      }
      const patch = kind === 'flux' ? 2 : kind === 'sd3' && typeof json.patch_size === 'number' ? json.patch_size : 1;
      return new Denoiser({
        ...{ graph, kind, state, output, type, channels, extraChannels, patch },
        size: [height, width],
        contextWidth: [graph.inputs.get('encoder_hidden_states')?.shape.at(-1), json.joint_attention_dim].find(
          (value) => typeof value === 'number',
        ),
      });
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  get graph(): Graph {
    return this.#parts.graph;
  }

  /** The name of the input that the state goes into. */
  get state(): string {
    return this.#parts.state;
  }

  get kind(): DenoiserKind {
    return this.#parts.kind;
  }

  /** What the graph takes. */
  get type(): NetworkType {
    return this.#parts.type;
  }

  /** Channels of the state. */
  get channels(): number {
    return this.#parts.channels;
  }

  /** Channels that an inpainting network takes besides the state's: the mask, and the picture without what it covers. */
  get extraChannels(): number {
    return this.#parts.extraChannels;
  }

  /** Height and width of the states that the network was trained on. */
  get size(): readonly [height: number, width: number] {
    return this.#parts.size;
  }

  /** Heights and widths of states are multiples of this. */
  get patch(): number {
    return this.#parts.patch;
  }

  /** Is classifier-free guidance distilled into the network, which then takes its scale as an input? */
  get distilled(): boolean {
    return this.#parts.graph.inputs.has('guidance');
  }

  /** Numbers a token, where the graph or the configuration says so. */
  get contextWidth(): number | undefined {
    return this.#parts.contextWidth;
  }

  /**
   * Refuses a size that the graph was not exported for.
   *
   * @param factor pixels a latent
   */
  checkSize(height: number, width: number, factor: number): void {
    const { graph, state, kind } = this.#parts;
    if (kind === 'flux') return;
    const declared = graph.input(state).shape.slice(2);
    for (const [i, value] of [height, width].entries()) {
      const fixed = declared[i];
      if (typeof fixed === 'number' && fixed !== value) {
        const name = i === 0 ? 'height' : 'width';
        throw new RangeError(
          `Expected ${fixed * factor} for ${name} but received ${value * factor}: ${graph.path} was exported for that size only`,
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
    const { graph, kind, state, output: outputName, type, extraChannels } = this.#parts;
    const batch = conditionings.length;
    const [channels, height, width] = shape;
    const dims = [batch, ...shape];
    const packedDims = [batch, (height / 2) * (width / 2), 4 * channels];
    const flux = kind === 'flux';
    const inputDims = flux ? packedDims : [batch, channels + extraChannels, height, width];
    const feeds: Record<string, Slot> = { [state]: slot(type, inputDims), timestep: timeSlot(graph, batch) };
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
    const sample = feeds[state];
    if (extraChannels > 0) {
      if (!options.extra) throw new Error(`Expected a picture and a mask for ${graph.path}, an inpainting network`);
      putExtra(sample, options.extra, shape, extraChannels);
    }
    const output = slot(graph.output(outputName).type as ElementType, flux ? packedDims : dims);
    const binding = graph.bind(feeds, { [outputName]: output });
    const scale = options.timeScale ?? 1;
    const data = flux ? slot(output.type, dims).data : output.data;
    const result: Tensor = { type: output.type, data, dims } as Tensor;
    return async (x, t, signal) => {
      const time = t * scale;
      if (flux) {
        permute(x.data as Slot['data'], sample.data, dims, 'pack');
        fill(binding.feeds.timestep, time);
        await binding.run(signal);
        permute(output.data, data, dims, 'unpack');
      } else if (extraChannels > 0) {
        const n = channels * height * width;
        const whole = n + extraChannels * height * width;
        const source = x.data as Float32Array;
        for (let b = 0; b < batch; b++)
          (sample.data as Float32Array).set(source.subarray(b * n, (b + 1) * n), b * whole);
        fill(binding.feeds.timestep, time);
        await binding.run(signal);
      } else {
        await runAt(binding, x, time, { state, signal });
      }
      return result;
    };
  }

  /** Where each token stands: text at the origin, pictures by row and column; per batch where the graph says so. */
  #places(name: 'img_ids' | 'txt_ids', batch: number, count: number, columns: number): Slot {
    const { graph } = this.#parts;
    const { type, shape } = graph.input(name);
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

  release(): Promise<void> {
    return this.#parts.graph.release();
  }
}

function unetChannels(all: number, out: unknown): [state: number, extra: number] {
  // Networks that predict a variance too have twice the channels; those are not inpainting networks.
  return typeof out === 'number' && out < all ? [out, all - out] : [all, 0];
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
  { state = 'sample', signal }: { state?: string; signal?: AbortSignal } = {},
): Promise<void> {
  const { [state]: sample, timestep } = binding.feeds;
  const data = x.data as Slot['data'];
  if (data.length !== sample.data.length) {
    throw new RangeError(`Expected ${sample.data.length} elements for the network but received ${data.length}`);
  }
  sample.data = data;
  fill(timestep, t);
  await binding.run(signal);
}

/** The time's buffer in the type and shape that the graph declares: a scalar, one number, or one a sample. */
export function timeSlot(graph: Graph, batch: number): Slot {
  const { type, shape } = graph.input('timestep');
  const dims = shape.map((d) => (typeof d === 'number' ? d : /batch/i.test(d) ? batch : 1));
  if (!['float32', 'float64', 'float16', 'int32', 'int64'].includes(type) || dims.length > 1) {
    throw new Error(`Expected a number for the input timestep of ${graph.path}, which declares ${type} [${shape}]`);
  }
  return slot(type as ElementType, dims);
}

function networkType(graph: Graph, name: string, kind: 'input' | 'output' = 'input'): NetworkType {
  const { type } = graph[kind](name);
  if (type === 'float32' || type === 'float16' || type === 'float64') return type;
  const expected = list(['float32', 'float16', 'float64'], 'or');
  throw new Error(`Expected ${expected} for the ${kind} ${name} of ${graph.path} but it is ${show(type)}`);
}
