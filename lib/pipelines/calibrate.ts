// Tables for a folder's network: what calibration needs to know of prompts and noise.
import { convert } from '../addon/native.js';
import { generator } from '../addon/noise.js';
import { knownOptions, safeInteger, wholeNumber, wrongType } from '../base/check.js';
import { allocate, type Tensor } from '../base/tensor.js';
import {
  type CalibratedModel,
  type CalibrateOptions,
  type Calibration,
  calibrate as calibrateNetwork,
} from '../calibrate/index.js';
import type { Evaluate } from './denoiser.js';
import { inTurn } from './memory.js';
import { networkOf } from './network.js';
import type { Parts } from './parts.js';
import { scheduleOf } from './plan.js';
import { readGuidance } from './request.js';
import { shapeOf } from './shape.js';

/** What {@link DiffusionPipeline.calibrate} takes. */
export interface PipelineCalibrateOptions
  extends Pick<
    CalibrateOptions,
    'steps' | 'samples' | 'heldOut' | 'budget' | 'seed' | 'onProgress' | 'signal' | 'resume'
  > {
  /** What the samples show, in turn: the more differ, the better for what the table will be used for. */
  prompts: readonly string[];
  /** What the guidance leads away from; the empty prompt. */
  negativePrompt?: string;
  /** The classifier-free guidance scale that the tables are for; the pipeline's default. */
  guidance?: number;
  /** Pixels; what the network was trained on. */
  width?: number;
  /** As `width`. */
  height?: number;
}

const KEYS = [
  ...(['prompts', 'negativePrompt', 'guidance', 'width', 'height', 'steps', 'samples', 'heldOut', 'budget'] as const),
  ...(['seed', 'onProgress', 'signal', 'resume'] as const),
] satisfies (keyof PipelineCalibrateOptions)[];

/** Batches whose buffers are kept. */
const MOST_PREPARED = 32;

/** Finds tables for a folder's network; see {@link DiffusionPipeline.calibrate}. */
export async function calibrate(parts: Parts, options: PipelineCalibrateOptions): Promise<Calibration> {
  knownOptions(options, KEYS, 'calibrate');
  const { prompts, negativePrompt, seed = 0, width, height, guidance: asked, ...rest } = options;
  const { limits, conditioner, training, denoiser, vae } = parts;
  if (parts.scheduler.keeps) throw new TypeError(`${parts.scheduler.refusal}, so there is no table to find`);
  if (limits.inpainting)
    throw new TypeError('Expected a network of the whole picture for calibrate, not an inpainting one');
  if (!Array.isArray(prompts) || prompts.length === 0) throw wrongType('an array of prompts', 'prompts', prompts);
  prompts.forEach((prompt, i) => {
    if (typeof prompt !== 'string') throw wrongType('a string', `prompts[${i}]`, prompt);
    conditioner.check(prompt, { overlong: 'cut' });
  });
  if (negativePrompt !== undefined && typeof negativePrompt !== 'string') {
    throw wrongType('a string', 'negativePrompt', negativePrompt);
  }
  safeInteger(seed, 'seed');
  const guidance = readGuidance({ guidance: asked }, limits);
  const unit = limits.factor * limits.unit;
  const side = (value: number | undefined, name: 'width' | 'height') =>
    Math.ceil(wholeNumber(value ?? limits.size[name], name, 1) / unit) * unit;
  const size = { width: side(width, 'width'), height: side(height, 'height') };
  const shape = shapeOf(parts, size);
  const turn = { memory: parts.memory, onProgress: undefined };
  const encoded = await inTurn(conditioner.graphs, turn, () =>
    conditioner.encode(
      guidance.unconditional ? [] : prompts,
      guidance.unconditional || guidance.pair !== undefined ? [negativePrompt] : [],
      size,
      { overlong: 'cut', signal: options.signal },
    ),
  );

  const prepared = new Map<string, Evaluate>();
  const evaluate = (samples: readonly number[]): Evaluate => {
    const key = samples.join();
    let network = prepared.get(key);
    if (!network) {
      if (prepared.size >= MOST_PREPARED) prepared.delete(prepared.keys().next().value as string);
      const conditional = guidance.unconditional ? [] : samples.map((s) => encoded.for(prompts[s % prompts.length]));
      const unconditional =
        guidance.unconditional || guidance.pair !== undefined ? samples.map(() => encoded.against(negativePrompt)) : [];
      network = networkOf(parts, conditional, unconditional, {
        ...{ guidance, rescale: 0, shape, fold: true, split: false },
      }).evaluate;
      prepared.set(key, network);
    }
    return network;
  };
  const model: CalibratedModel = (x, t, { samples }) => evaluate(samples)(asTheNetworkTakesIt(x, denoiser.type), t);
  const wishes: CalibrateOptions = {
    ...rest,
    seed,
    modelType: training.modelType,
    ...(guidance.pair === undefined ? {} : { guidance: { type: 'classifier-free', scale: guidance.pair } }),
    sample: (i) => {
      const data = generator(seed + i).randn([1, ...shape]).data as Float32Array;
      return { type: 'float32', data, dims: [1, ...shape] };
    },
    // What pixels become anyway.
    ...(vae ? {} : { range: [-1, 1] }),
    name: 'calibrated',
  };
  return inTurn([denoiser.graph], turn, () => calibrateNetwork(model, scheduleOf(parts, shape), wishes));
}

function asTheNetworkTakesIt(x: Tensor, type: Parts['denoiser']['type']): Tensor {
  if (type === 'float32') return x;
  const source = x.data as Float32Array;
  const data = allocate(type, source.length);
  convert(source, data);
  return { type, data, dims: x.dims } as Tensor;
}
