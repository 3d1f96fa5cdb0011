// A small decoder for previews, as TAESD (madebyollin/taesd) is one: a tenth of a second where the large one takes many.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isThere } from '../folder/files.js';
import { Graph, type SessionOptions } from '../onnx/graph.js';
import { typed, wide } from './vae.js';

/** Where it lies in a model's folder. */
const PLACES = ['taesd', 'vae_preview'].flatMap((folder) => [folder, `${folder}/vae_decoder`]);

export class SmallDecoder {
  readonly #graph: Graph;
  readonly #input: string;
  readonly #output: string;
  /** What latents are divided by, and pixels multiplied by and moved by, to be in [-1, 1]. */
  readonly #scaling: number;
  readonly #range: readonly [number, number];

  private constructor(graph: Graph, scaling: number, range: readonly [number, number]) {
    this.#graph = graph;
    [this.#input] = graph.inputs.keys();
    [this.#output] = graph.outputs.keys();
    this.#scaling = scaling;
    this.#range = range;
  }

  /**
   * The decoder at `path`, a graph or a folder with a `model.onnx`, or in the model's folder; its graph is not loaded.
   *
   * @throws Error in one sentence where `path` has none, or a graph is no decoder
   */
  static open(folder: string, path: string | undefined, session: SessionOptions): SmallDecoder | undefined {
    const file = path === undefined ? inFolder(folder) : atPath(path);
    if (file === undefined) return undefined;
    const graph = Graph.describe(file, session);
    const [inputs, outputs] = [[...graph.inputs.values()], [...graph.outputs.values()]];
    const floating = (type: string) => type === 'float32' || type === 'float16';
    const isPicture = ({ type, shape }: { type: string; shape: readonly unknown[] }) =>
      floating(type) && shape.length === 4;
    if (inputs.length !== 1 || outputs.length < 1 || !isPicture(inputs[0]) || !floating(outputs[0].type)) {
      throw new Error(`Expected a decoder, from latents to a picture, in ${file} but it has other inputs or outputs`);
    }
    // diffusers' class gives -1 to 1 as others do, TAESD's own decoder 0 to 1.
    const config = join(dirname(file), 'config.json');
    if (!existsSync(config)) return new SmallDecoder(graph, 1, [2, -1]);
    const { scaling_factor: scaling = 1 } = JSON.parse(readFileSync(config, 'utf8')) as { scaling_factor?: unknown };
    if (typeof scaling !== 'number' || !(scaling > 0)) {
      throw new Error(`Expected a number above 0 for scaling_factor in ${config} but found ${String(scaling)}`);
    }
    return new SmallDecoder(graph, scaling, [1, 0]);
  }

  /**
   * Latents, as the network has them, to pixels in [-1, 1].
   *
   * @param dims `[channels, height, width]`
   */
  async decode(latents: Float32Array, dims: readonly number[]): Promise<{ data: Float32Array; dims: number[] }> {
    const scaled = this.#scaling === 1 ? latents : latents.map((z) => z / this.#scaling);
    const graph = this.#graph;
    const made = await graph.call({ [this.#input]: typed(graph, this.#input, scaled, dims) }, [this.#output]);
    const pixels = made[this.#output];
    const [times, plus] = this.#range;
    if (pixels.dims[1] !== 3) {
      throw new Error(`Expected a picture of 3 channels from ${graph.path} but received ${pixels.dims[1]}`);
    }
    return { data: wide(pixels).map((value) => times * value + plus), dims: pixels.dims.slice(1) };
  }

  release(): Promise<void> {
    return this.#graph.release();
  }
}

function inFolder(folder: string): string | undefined {
  const found = PLACES.map((place) => `${place}/model.onnx`).find((name) => isThere(folder, name));
  return found === undefined ? undefined : join(folder, found);
}

function atPath(path: string): string {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, 'model.onnx') : path;
  if (!existsSync(file)) throw new Error(`Expected a decoder's graph in ${file} but it does not exist`);
  return file;
}
