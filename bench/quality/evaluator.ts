// The embedded network for many pictures: text encoded once, batches of a size that is fast, and evaluations that several
// solvers share made once.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readWire } from '../../lib/folder/wire-file.js';
import { TABLES } from '../../lib/hub/needed.js';
import { generator, type Tensor } from '../../lib/index.js';
import { Conditioner, type Encoded } from '../../lib/pipelines/conditioner.js';
import { Denoiser } from '../../lib/pipelines/denoiser.js';
import { readScheduler } from '../../lib/schedulers/network.js';
import type { Prompt } from './judge.js';
import type { Loop, Network } from './rows.js';

export const SHAPE = [3, 32, 32] as const;
export const VALUES = 3 * 32 * 32;
/** 64 samples at a time take about the least time each. */
export const BATCH = 64;
/** Evaluations of a run that may be another row's too: first steps are alike. */
const SHARED = 3;

type Half = 'conditional' | 'unconditional';

/** The pictures of a batch: from the first to the one after the last. */
export type Range = readonly [from: number, to: number];

const inBatches = (pictures: number): Range[] =>
  Array.from({ length: Math.ceil(pictures / BATCH) }, (_, i) => [i * BATCH, Math.min((i + 1) * BATCH, pictures)]);

/**
 * Of a model's folder: results for other weights or another configuration are others. Of a graph the weights count, so that
 * one whose inputs were named anew is the same; tables are no part of it, as they say how it is asked.
 */
export function hashModel(folder: string): string {
  const hash = createHash('sha256');
  const walk = (dir: string): string[] =>
    readdirSync(dir)
      .sort()
      .flatMap((name) => (statSync(join(dir, name)).isDirectory() ? walk(join(dir, name)) : [join(dir, name)]));
  for (const path of walk(folder)) {
    const name = relative(folder, path);
    if (name === TABLES) continue;
    hash.update(`${name}\0`);
    const file = createHash('sha256');
    for (const part of name.endsWith('.onnx') ? weightsOf(path) : [readFileSync(path)]) file.update(part);
    hash.update(file.digest());
  }
  return hash.digest('hex').slice(0, 16);
}

/** The weights that stand in a graph's file, with their names and dims. */
function weightsOf(path: string): Uint8Array[] {
  const bytes = readFileSync(path);
  return readWire(path, (file) => {
    const parts: Uint8Array[] = [];
    // ModelProto: graph is 7. GraphProto: initializer is 5.
    for (const { number, start, end } of file.fields()) {
      if (number !== 7) continue;
      for (const part of file.fields(start, end))
        if (part.number === 5) parts.push(bytes.subarray(part.start, part.end));
    }
    return parts;
  });
}

export class Evaluator {
  readonly network: Network;
  readonly #denoiser: Denoiser;
  readonly #prompts: readonly Prompt[];
  readonly #encoded: Encoded;
  readonly #ranges: readonly Range[];
  readonly #shared = new Map<string, Float32Array>();
  /** Evaluations of a batch that were made, and that were found already made. */
  made = 0;
  found = 0;

  private constructor(
    network: Network,
    denoiser: Denoiser,
    prompts: readonly Prompt[],
    encoded: Encoded,
    ranges: readonly Range[],
  ) {
    this.#ranges = ranges;
    this.network = network;
    this.#denoiser = denoiser;
    this.#prompts = prompts;
    this.#encoded = encoded;
  }

  /** @param ranges the pictures of each batch; all of them, in order, where absent */
  static async open(
    folder: string,
    prompts: readonly Prompt[],
    threads: number,
    ranges: readonly Range[] = inBatches(prompts.length),
  ): Promise<Evaluator> {
    const json = (path: string) => JSON.parse(readFileSync(join(folder, path), 'utf8'));
    const config = json('scheduler/scheduler_config.json');
    const { schedule, modelType } = readScheduler(config, 'scheduler_config.json').training;
    const names = ['model.onnx'];
    const denoiser = await Denoiser.open(folder, 'unet', names, { threads });
    const index = json('model_index.json');
    const present = Conditioner.find(folder, index, names);
    const conditioner = await Conditioner.open(folder, index, present, denoiser, names, { threads });
    const encoded = await conditioner.encode(
      prompts.map(({ prompt }) => prompt),
      [undefined],
      { width: 32, height: 32 },
      { overlong: 'refuse', warn: undefined },
    );
    await conditioner.release();
    return new Evaluator({ schedule, modelType, config }, denoiser, prompts, encoded, ranges);
  }

  get batches(): number {
    return this.#ranges.length;
  }

  /** The prompts of a batch. */
  promptsOf(batch: number): readonly Prompt[] {
    return this.#prompts.slice(...this.#ranges[batch]);
  }

  /** Start noise: picture i is drawn from the seed i, as the pipeline does with seed 0. */
  noise(batch: number): Tensor {
    const [from] = this.#ranges[batch];
    const count = this.promptsOf(batch).length;
    const data = new Float32Array(count * VALUES);
    for (let i = 0; i < count; i++) {
      data.set(generator(from + i).randn([1, ...SHAPE]).data as Float32Array, i * VALUES);
    }
    return { type: 'float32', data, dims: [count, ...SHAPE] } as Tensor;
  }

  /** Forgets what rows have shared, but for the very first evaluation, which is the same whatever comes after. */
  forget(): void {
    for (const key of this.#shared.keys()) if (!key.startsWith('0 ')) this.#shared.delete(key);
  }

  /** Runs a batch's loop to its end. */
  async run(loop: Loop, batch: number): Promise<Float32Array> {
    const prompts = this.promptsOf(batch);
    const size = prompts.length * VALUES;
    const conditional = prompts.map(({ prompt }) => this.#encoded.for(prompt));
    const evaluate: Record<Half, ReturnType<Denoiser['prepare']>> = {
      conditional: this.#denoiser.prepare(conditional, SHAPE),
      unconditional: this.#denoiser.prepare(
        conditional.map(() => this.#encoded.against(undefined)),
        SHAPE,
      ),
    };
    for (let index = 0; !loop.done; index++) {
      const { x, t } = loop;
      const state = { ...x, data: (x.data as Float32Array).subarray(0, size), dims: [prompts.length, ...SHAPE] };
      const half = async (which: Half): Promise<Float32Array> => {
        const data = state.data as Float32Array;
        const key = index < SHARED ? `${index} ${which} ${batch} ${t} ${digest(data)}` : undefined;
        const known = key === undefined ? undefined : this.#shared.get(key);
        if (known) {
          this.found++;
          return known;
        }
        this.made++;
        const output = (await evaluate[which](state as Tensor, t)).data as Float32Array;
        if (key !== undefined) this.#shared.set(key, output.slice());
        return output;
      };
      if ((x.data as Float32Array).length === size) {
        loop.advance({ type: 'float32', data: await half('conditional'), dims: state.dims } as Tensor);
      } else {
        const both = new Float32Array(2 * size);
        both.set(await half('unconditional'));
        both.set(await half('conditional'), size);
        loop.advance({ type: 'float32', data: both, dims: x.dims } as Tensor);
      }
    }
    return loop.result.data as Float32Array;
  }

  release(): Promise<void> {
    return this.#denoiser.release();
  }
}

function digest(data: Float32Array): string {
  return createHash('sha1')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('base64');
}
