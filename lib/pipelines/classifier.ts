// The noise-aware classifier that steers an unconditional network: the gradient of log p(labels | x_t) in x_t.

import { convert } from '../addon/native.js';
import { list } from '../base/check.js';
import type { Tensor } from '../base/tensor.js';
import { findFile, readJson } from '../folder/files.js';
import { type ElementType, Graph, type SessionOptions, slot } from '../onnx/graph.js';
import { timeSlot } from '../onnx/slots.js';
import { type Evaluate, runAt } from './denoiser.js';

export class Classifier {
  readonly #graph: Graph;
  readonly #shapes: readonly string[];
  readonly #colors: readonly string[];

  private constructor(graph: Graph, shapes: readonly string[], colors: readonly string[]) {
    this.#graph = graph;
    this.#shapes = shapes;
    this.#colors = colors;
  }

  /**
   * Loads the classifier in the folder `name` of a model directory.
   *
   * @throws Error that names the file, when one is missing or not what it should be
   */
  static async open(folder: string, name: string, options: SessionOptions): Promise<Classifier> {
    const path = findFile(folder, [`${name}/model.onnx`]);
    const config = readJson(folder, [`${name}/config.json`]);
    const { shapes, colors } = config.json;
    if (!isWords(shapes) || !isWords(colors)) {
      throw new Error(`Expected lists of words for shapes and colors in ${config.path}`);
    }
    const graph = await Graph.open(path, options);
    return new Classifier(graph, shapes, colors);
  }

  /**
   * A prompt's labels: its shape, the shape's colour and the background's colour, as indices.
   *
   * @throws RangeError that says what the prompt lacks
   */
  labels(prompt: string): [shape: number, color: number, background: number] {
    const words: string[] = prompt.toLowerCase().match(/\p{L}+/gu) ?? [];
    const place = words.findIndex((word) => this.#shapes.includes(word));
    const end = words.indexOf('background');
    const color = words.slice(0, Math.max(place, 0)).findLast((word) => this.#colors.includes(word));
    const background = words.slice(0, Math.max(end, 0)).findLast((word) => this.#colors.includes(word));
    if (place < 0 || color === undefined || end < place || background === undefined) {
      const example = `'a ${this.#colors[0]} ${this.#shapes[0]} on a ${this.#colors.at(-1)} background'`;
      throw new RangeError(
        `Classifier guidance needs a prompt like ${example}, with one of ${list(this.#shapes, 'or')}, but received '${prompt}'`,
      );
    }
    return [this.#shapes.indexOf(words[place]), this.#colors.indexOf(color), this.#colors.indexOf(background)];
  }

  /**
   * Buffers for the gradients of one batch, made once for a run.
   *
   * @param labels {@link labels} of every sample
   * @param shape channels, height and width of one sample
   */
  prepare(labels: readonly (readonly number[])[], shape: readonly number[]): Evaluate {
    const dims = [labels.length, ...shape];
    const classes = slot(this.#graph.input('labels').type as ElementType, [labels.length, 3]);
    labels.flat().forEach((label, i) => {
      if (classes.type === 'int64') (classes.data as BigInt64Array)[i] = BigInt(label);
      else classes.data[i] = label;
    });
    const gradient = slot('float32', dims);
    const time = timeSlot(this.#graph.input('timestep'), labels.length, this.#graph.path);
    const feeds = { sample: slot('float32', dims), timestep: time, labels: classes };
    const binding = this.#graph.bind(feeds, { gradient });
    const wide = feeds.sample.data;
    return async (x, t, signal) => {
      // Beside a float16 network the state comes in float16.
      const own = x.data instanceof Float32Array;
      if (!own) convert(x.data as Uint16Array, wide as Float32Array);
      await runAt(binding, own ? x : { ...x, data: wide as Float32Array }, t, { signal });
      return { type: 'float32', data: gradient.data, dims } as Tensor;
    };
  }

  release(): Promise<void> {
    return this.#graph.release();
  }
}

function isWords(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string');
}
