// The network of one batch: conditioned, told the time as it was trained to be, and guided.
import type { Conditioning, Evaluate, Shape } from './denoiser.js';
import { guided } from './guidance.js';
import { joined } from './latents.js';
import type { Parts } from './parts.js';
import { usesPair } from './plan.js';

export interface NetworkOptions {
  readonly guidance: number;
  readonly rescale: number;
  readonly shape: Shape;
  /** May guidance be left to the solver's step? */
  readonly fold: boolean;
  /** Of each picture: what an inpainting network gets besides the state. */
  readonly extra?: readonly Float32Array[];
}

/** The network for one batch, with guidance folded into the solver's step (then with its scale) or done here. */
export function networkOf(
  parts: Parts,
  conditional: readonly Conditioning[],
  unconditional: readonly Conditioning[],
  { guidance, rescale, shape, fold, extra }: NetworkOptions,
): { evaluate: Evaluate; scale?: number } {
  const { denoiser, limits } = parts;
  const timeScale = timeScaleOf(parts);
  if (!usesPair(guidance, limits)) {
    const conditionings = guidance === 0 && !limits.distilled ? unconditional : conditional;
    return {
      evaluate: denoiser.prepare(conditionings, shape, { extra: extra && joined(extra), guidance, timeScale }),
    };
  }
  const doubled = extra && joined([...extra, ...extra]);
  const both = denoiser.prepare([...unconditional, ...conditional], shape, { extra: doubled, timeScale });
  if (fold && rescale === 0) return { evaluate: both, scale: guidance };
  return { evaluate: guided(both, guidance, rescale) };
}

/** Stable Diffusion 3 counts a flow's time in thousandths, as its training did. */
export function timeScaleOf({ denoiser, training }: Parts): number {
  return denoiser.kind === 'sd3' && training.modelType === 'flow' ? 1000 : 1;
}
