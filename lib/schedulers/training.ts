// The noise levels of the training steps, rounded where diffusers rounds them: its tables are float32, and which label
// an interpolated sigma gets turns on their last bit.

import type { Settings } from '../folder/scheduler-keys.js';
import { betas } from '../schedule/betas.js';

/** Tables over the training steps, index = label. */
export interface Training {
  readonly alphasCumprod: Float32Array | Float64Array;
  /** sigma / alpha = sqrt((1 - alphasCumprod) / alphasCumprod) */
  readonly sigmas: Float32Array;
  readonly logSigmas: Float32Array;
}

const f32 = Math.fround;

/** What the betas are made of, for messages. @internal */
export function betasOption(s: Settings): string {
  if (s.trained_betas !== null) return 'trained_betas';
  if (!hasEnds(s)) return `beta_schedule '${s.beta_schedule}'`;
  return `beta_start ${s.beta_start} and beta_end ${s.beta_end}`;
}

/** Where `keepsNoise`, zero terminal SNR stays what it is: alpha = 0 at the last step. @internal */
export function trainingTables(s: Settings, keepsNoise: boolean): Training {
  const alphasCumprod = cumulative(trainingBetas(s));
  // As the smallest float16 above 0: sigma / alpha stays finite.
  if (s.rescale_betas_zero_snr && !keepsNoise) alphasCumprod[alphasCumprod.length - 1] = 2 ** -24;
  const nothing = alphasCumprod.indexOf(0);
  // A flow's sigmas are not these.
  if (nothing >= 0 && !keepsNoise && !s.use_flow_sigmas) {
    const last = nothing === alphasCumprod.length - 1;
    throw new RangeError(
      `Expected betas that leave some of the data for ${betasOption(s)} but nothing is left of it at step ${nothing}${last ? ': rescale_betas_zero_snr keeps a little' : ''}`,
    );
  }
  const sigmas = alphasCumprod.map((a) => Math.sqrt(f32(f32(1 - a) / a)));
  return { alphasCumprod, sigmas, logSigmas: sigmas.map((sigma) => Math.log(sigma)) };
}

function trainingBetas(s: Settings): Float32Array {
  const n = s.num_train_timesteps;
  const list =
    s.trained_betas !== null
      ? Float32Array.from(s.trained_betas)
      : s.beta_schedule === 'linear'
        ? linspace32(s.beta_start, s.beta_end, n)
        : s.beta_schedule === 'scaled_linear'
          ? linspace32(Math.sqrt(s.beta_start), Math.sqrt(s.beta_end), n).map((root) => root * root)
          : s.beta_schedule === 'sigmoid'
            ? sigmoid32(s.beta_start, s.beta_end, n)
            : Float32Array.from(betas(s.beta_schedule, n));
  return s.rescale_betas_zero_snr ? rescaled(list) : list;
}

/** Do beta_start and beta_end count? @internal */
export function hasEnds({ beta_schedule: name }: Settings): boolean {
  return name === 'linear' || name === 'scaled_linear' || name === 'sigmoid';
}

function sigmoid32(start: number, end: number, n: number): Float32Array {
  const span = end - start;
  return linspace32(-6, 6, n).map((x) => f32(f32(f32(1 / (1 + Math.exp(-x))) * f32(span)) + f32(start)));
}

/** Products of 1 - beta: factors in float32, products in double precision. */
function cumulative(list: Float32Array): Float32Array {
  let product = 1;
  return list.map((beta) => {
    product *= f32(1 - beta);
    return product;
  });
}

/**
 * Zero terminal SNR (Lin et al. 2023, algorithm 1): sqrt(alphasCumprod) shifted to end at 0 and scaled to start where it
 * did, then turned into betas again, every operation in float32.
 */
function rescaled(list: Float32Array): Float32Array {
  const root = cumulative(list).map(Math.sqrt);
  const first = root[0];
  const last = root[root.length - 1];
  const scale = f32(first / f32(first - last));
  const bar = root.map((r) => f32(f32(r - last) * scale) ** 2);
  return bar.map((a, i) => 1 - (i === 0 ? a : f32(a / bar[i - 1])));
}

/** torch.linspace in float32: in blocks of eight, counted from the nearer end, each with one rounded start. */
export function linspace32(from: number, to: number, count: number): Float32Array {
  const a = f32(from);
  const b = f32(to);
  const step = f32(f32(b - a) / (count - 1));
  const half = Math.floor(count / 2);
  return Float32Array.from({ length: count }, (_, i) => {
    const block = i - (i % 8);
    const start = block < half ? f32(a + step * block) : f32(b - step * (count - block - 1));
    return start + f32(step * (i - block));
  });
}
