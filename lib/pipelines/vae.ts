// Between pixels and latents.
import { convert } from '../addon/native.js';
import { numbers, show } from '../base/check.js';
import { findFile, isThere, readJson } from '../folder/files.js';
import { type ElementType, Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';

/** Of Stable Diffusion 1 and 2, which autoencoders without a configuration are. */
const SCALING_FACTOR = 0.18215;

/** The autoencoder of a latent diffusion model. Pixels are in [-1, 1], planes of red, green and blue. */
export class Vae {
  /** Pixels a latent, in each direction. */
  readonly factor: number;
  /** What `config.json` says of its training. */
  readonly trained: Trained;
  /** How its latents are scaled: what a common one is known by. */
  readonly identity: Identity;
  readonly #folder: string;
  readonly #names: readonly string[];
  readonly #session: SessionOptions;
  readonly decoder: Graph;
  /** For each channel, or one for all: a latent z of the network is multiplied by the one and moved by the other. */
  readonly #scale: readonly number[];
  readonly #shift: readonly number[];
  #encoder: Graph | undefined;

  private constructor(
    folder: string,
    names: readonly string[],
    session: SessionOptions,
    decoder: Graph,
    config: Config,
  ) {
    this.#folder = folder;
    this.#names = names;
    this.#session = session;
    this.decoder = decoder;
    this.#scale = config.scale;
    this.#shift = config.shift;
    this.factor = config.factor;
    this.trained = config;
    this.identity = config.identity;
  }

  /** The decoder's graph, so that a missing file is told before any network is loaded. */
  static find(folder: string, names: readonly string[]): string {
    return findFile(
      folder,
      names.map((name) => `vae_decoder/${name}`),
    );
  }

  /**
   * Reads what `vae_decoder/` says, whose graph is not loaded; `vae_encoder/` is loaded when it is first needed.
   *
   * @param first whether it is an autoencoder of Stable Diffusion 1 or 2, whose configuration may be missing
   *
   * @throws Error that names the file, when one is missing or not what it should be
   */
  static async open(folder: string, names: readonly string[], session: SessionOptions, first: boolean): Promise<Vae> {
    const path = Vae.find(folder, names);
    const config = readConfig(folder, first);
    const decoder = Graph.describe(path, session);
    try {
      only(decoder, 'latent_sample');
      floating(decoder, 'sample', 'output');
      return new Vae(folder, names, session, decoder, config);
    } catch (error) {
      await decoder.release();
      throw error;
    }
  }

  /**
   * Latents to pixels: latents are divided by scaling_factor and moved by shift_factor first, or each channel is given the
   * deviation and the mean that it had in training.
   *
   * @param dims `[channels, height, width]`
   * @throws Error for a picture of another size than latents of these dims have, and for one that is not finite
   */
  async decode(latents: Float32Array, dims: readonly number[]): Promise<{ data: Float32Array; dims: number[] }> {
    const graph = this.decoder;
    const moved = this.#perChannel(latents, dims, (z, scale, shift) => z * scale + shift);
    const { sample } = await graph.call({ latent_sample: typed(graph, 'latent_sample', moved, dims) }, ['sample']);
    const data = wide(sample);
    const [, channels, height, width] = sample.dims;
    const [asked, across] = [dims[1] * this.factor, dims[2] * this.factor];
    if (channels !== 3 || height !== asked || width !== across) {
      throw new Error(
        `Expected a picture of 3 x ${asked} x ${across} from ${graph.path} but received ${sample.dims.slice(1).join(' x ')}`,
      );
    }
    const wrong = data.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      const half =
        sample.type === 'float16'
          ? ', which is a float16 graph: those of XL overflow, and one in float32 does not'
          : '';
      throw new Error(`Expected finite numbers for the picture but received ${data[wrong]} from ${graph.path}${half}`);
    }
    return { data, dims: sample.dims.slice(1) };
  }

  /**
   * Pixels to latents: the mean of what the encoder gives, so that a picture has one answer. An encoder that draws from its
   * distribution itself is loaded without its draws.
   *
   * @param pixels `[3, height, width]`
   * @throws Error for latents that are not finite
   */
  async encode(pixels: Float32Array, height: number, width: number): Promise<{ data: Float32Array; dims: number[] }> {
    const { encoder } = this;
    const name = encoder.outputs.has('latent_parameters') ? 'latent_parameters' : 'latent_sample';
    const feeds = { sample: typed(encoder, 'sample', pixels, [3, height, width]) };
    const { [name]: result } = await encoder.call(feeds, [name]);
    const [, all, h, w] = result.dims;
    // Parameters are the means of all channels and then the logarithms of their variances.
    const channels = name === 'latent_parameters' ? all / 2 : all;
    const latents = wide(result).subarray(0, channels * h * w);
    const wrong = latents.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw new Error(
        `Expected finite numbers for the latents of a picture but received ${latents[wrong]} from ${encoder.path}`,
      );
    }
    const dims = [channels, h, w];
    return { data: this.#perChannel(latents, dims, (z, scale, shift) => (z - shift) / scale), dims };
  }

  /** @param dims `[channels, height, width]` */
  #perChannel(
    latents: Float32Array,
    [channels]: readonly number[],
    change: (z: number, scale: number, shift: number) => number,
  ): Float32Array {
    const [scale, shift] = [this.#scale, this.#shift];
    for (const [key, list] of Object.entries({ latents_std: scale, latents_mean: shift })) {
      if (list.length === 1 || list.length === channels) continue;
      throw new Error(
        `Expected ${channels} numbers for ${key} of the autoencoder, one a channel, but found ${list.length}`,
      );
    }
    const plane = latents.length / channels;
    return latents.map((z, i) => {
      const c = Math.floor(i / plane);
      return change(z, scale[scale.length === 1 ? 0 : c], shift[shift.length === 1 ? 0 : c]);
    });
  }

  /**
   * The encoder, whose graph is loaded when it is first run.
   *
   * @throws Error that names the file, when it is missing or not what it should be
   */
  get encoder(): Graph {
    this.#encoder ??= this.#describeEncoder();
    return this.#encoder;
  }

  #describeEncoder(): Graph {
    const graph = Graph.describe(this.findEncoder(), { ...this.#session, noiseless: true });
    only(graph, 'sample');
    floating(graph, graph.outputs.has('latent_parameters') ? 'latent_parameters' : 'latent_sample', 'output');
    return graph;
  }

  /** The encoder's graph; an Error says what was looked for. */
  findEncoder(): string {
    return findFile(
      this.#folder,
      this.#names.map((name) => `vae_encoder/${name}`),
    );
  }

  async release(): Promise<void> {
    await Promise.all([this.decoder.release(), this.#encoder?.release()]);
  }
}

/** What an autoencoder was trained on, and how wide it is. */
export interface Trained {
  /** Pixels of a side. */
  readonly size: number;
  /** Channels, from full size down to that of the latents. */
  readonly widths: readonly number[];
}

/** How latents are scaled. */
export interface Identity {
  readonly scaling: number;
  readonly shift: number;
  /** Has each channel a mean and a deviation of its own? */
  readonly means: boolean;
}

/** What `config.json` of an autoencoder says. */
interface Config extends Trained {
  readonly identity: Identity;
  readonly scale: readonly number[];
  readonly shift: readonly number[];
  readonly factor: number;
}

/** Of Stable Diffusion's autoencoders. */
const STANDARD: Trained = { size: 512, widths: [128, 256, 512, 512] };

function readConfig(folder: string, first: boolean): Config {
  const names = ['vae_decoder/config.json', 'vae/config.json'];
  const found = !first || names.some((name) => isThere(folder, name));
  const { json, path } = found ? readJson(folder, names) : { json: {} as Record<string, unknown>, path: '' };
  const scaling = json.scaling_factor ?? SCALING_FACTOR;
  const shift = json.shift_factor ?? 0;
  if (typeof scaling !== 'number' || !(scaling > 0) || typeof shift !== 'number' || !Number.isFinite(shift)) {
    throw new Error(`Expected numbers for scaling_factor and shift_factor in ${path}`);
  }
  const levels = json.block_out_channels;
  const isWidth = (value: unknown) => typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
  const widths = Array.isArray(levels) && levels.length > 0 && levels.every(isWidth) ? levels : STANDARD.widths;
  const side = Array.isArray(json.sample_size) ? json.sample_size[0] : json.sample_size;
  const identity = { scaling, shift, means: false };
  const trained = { factor: 2 ** (widths.length - 1), widths, size: isWidth(side) ? side : STANDARD.size };
  const [means, deviations] = [perChannel('latents_mean', json, path), perChannel('latents_std', json, path)];
  // As in diffusers, which takes the one with the other only.
  if (!means || !deviations) return { scale: [1 / scaling], shift: [shift], identity, ...trained };
  if (means.length !== deviations.length || !deviations.every((deviation) => deviation > 0)) {
    throw new Error(`Expected as many numbers above 0 for latents_std as there are for latents_mean in ${path}`);
  }
  return {
    ...{ scale: deviations.map((deviation) => deviation / scaling), shift: means, ...trained },
    identity: { ...identity, means: true },
  };
}

/** A list of a number for each channel; undefined for none. */
function perChannel(key: string, json: Record<string, unknown>, path: string): readonly number[] | undefined {
  const value = json[key] ?? undefined;
  if (value === undefined) return undefined;
  try {
    const list = Array.from(numbers(value, key));
    if (list.length > 0 && list.every(Number.isFinite)) return list;
  } catch {
    // The sentence below names the file.
  }
  throw new Error(`Expected finite numbers for ${key} in ${path} but found ${show(value)}`);
}

/** Refuses a graph that wants more than one input. */
function only(graph: Graph, name: string): void {
  floating(graph, name, 'input');
  for (const other of graph.inputs.keys()) {
    if (other !== name) throw new Error(`Nothing is known to feed the input ${other} of ${graph.path} with`);
  }
}

function floating(graph: Graph, name: string, kind: 'input' | 'output'): void {
  const { type } = graph[kind](name);
  if (type !== 'float32' && type !== 'float16') {
    throw new Error(`Expected float32 or float16 for the ${kind} ${name} of ${graph.path} but it is '${type}'`);
  }
}

/** A feed of one sample, in the graph's type. */
export function typed(graph: Graph, name: string, data: Float32Array, dims: readonly number[]): Slot {
  const type = graph.input(name).type as ElementType;
  const result = slot(type, [1, ...dims]);
  convert(data, result.data as Float32Array);
  return result;
}

/** A result in float32. */
export function wide({ data, type }: Slot): Float32Array {
  if (type === 'float32') return data as Float32Array;
  const result = new Float32Array(data.length);
  convert(data as Float32Array, result);
  return result;
}
