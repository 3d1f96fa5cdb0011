// The network that is called at every evaluation: a U-Net (later: a transformer) with text conditioning.
import { show } from '../check.js';
import { findFile, readJson } from '../onnx/files.js';
import { type Binding, type ElementType, fill, Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';
import type { Tensor } from '../tensor.js';

/** What one sample is conditioned on: buffers by the graph's input names, without the batch dimension. */
export type Conditioning = ReadonlyMap<string, Slot>;

/** One evaluation; its result is overwritten by the next one. */
export type Evaluate = (x: Tensor, t: number) => Promise<Tensor>;

/** The element types a state may be given to a network in. */
export type NetworkType = 'float32' | 'float16' | 'float64';

export class Denoiser {
  /** Channels, height and width of one sample. */
  readonly shape: readonly [channels: number, height: number, width: number];
  /** What the graph takes. */
  readonly type: NetworkType;
  readonly #graph: Graph;

  private constructor(graph: Graph, shape: readonly [number, number, number], type: NetworkType) {
    this.#graph = graph;
    this.shape = shape;
    this.type = type;
  }

  /**
   * Loads `unet/model.onnx` and `unet/config.json`.
   *
   * @param names the graph's file names in order of preference
   * @throws Error that names the file, when one is missing or the graph does not take what a denoiser takes
   */
  static async open(folder: string, names: readonly string[], options: SessionOptions): Promise<Denoiser> {
    const path = findFile(folder, names.map((name) => `unet/${name}`)); // biome-ignore format: one line reads better
    const config = readJson(folder, ['unet/config.json']);
    const graph = await Graph.open(path, options);
    try {
      const type = networkType(graph, 'sample');
      networkType(graph, graph.outputs.has('out_sample') ? 'out_sample' : 'sample', 'output');
      graph.input('timestep');
      for (const name of graph.inputs.keys()) {
        if (!['sample', 'timestep', 'encoder_hidden_states'].includes(name)) {
          throw new Error(`Nothing is known to feed the input ${name} of ${path} with`);
        }
      }
      const size = config.json.sample_size;
      const [height, width] = Array.isArray(size) ? size : [size, size];
      const shape = [config.json.in_channels, height, width];
      for (const value of shape) {
        if (!(typeof value === 'number' && Number.isSafeInteger(value) && value > 0)) {
          throw new Error(`Expected whole numbers for in_channels and sample_size in ${config.path}`);
        }
      }
      return new Denoiser(graph, shape as [number, number, number], type);
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  /** The conditioning inputs that the graph declares, with their types. */
  get conditioningType(): ElementType | undefined {
    return this.#graph.inputs.get('encoder_hidden_states')?.type as ElementType | undefined;
  }

  /**
   * Buffers for evaluations of one batch, made once for a run.
   *
   * @param conditionings one a sample of the network's batch (under classifier-free guidance twice the pictures)
   * @returns evaluates the network at x, whose data is read in place, and the time t as the network counts
   */
  prepare(conditionings: readonly Conditioning[]): Evaluate {
    const batch = conditionings.length;
    const dims = [batch, ...this.shape];
    const feeds: Record<string, Slot> = { sample: slot(this.type, dims), timestep: timeSlot(this.#graph, batch) };
    for (const [name, first] of conditionings[0]) {
      const all = slot(first.type, [batch, ...first.dims]);
      conditionings.forEach((one, i) => {
        all.data.set((one.get(name) as Slot).data as never, i * first.data.length);
      });
      feeds[name] = all;
    }
    const outputName = this.#graph.outputs.has('out_sample') ? 'out_sample' : 'sample';
    const output = slot(this.#graph.output(outputName).type as ElementType, dims);
    const binding = this.#graph.bind(feeds, { [outputName]: output });
    const result: Tensor = { type: output.type, data: output.data, dims: output.dims } as Tensor;
    return async (x, t) => {
      await runAt(binding, x, t);
      return result;
    };
  }

  release(): Promise<void> {
    return this.#graph.release();
  }
}

/** Runs a graph that has the inputs `sample` and `timestep`, with x read in place. */
export async function runAt(binding: Binding, x: Tensor, t: number): Promise<void> {
  const { sample, timestep } = binding.feeds;
  const data = x.data as Slot['data'];
  if (data.length !== sample.data.length) {
    throw new RangeError(`Expected ${sample.data.length} elements for the network but received ${data.length}`);
  }
  sample.data = data;
  fill(timestep, t);
  await binding.run();
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
  throw new Error(
    `Expected float32, float16 or float64 for the ${kind} ${name} of ${graph.path} but it is ${show(type)}`,
  );
}
