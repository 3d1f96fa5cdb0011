// The network of one batch: conditioned, told the time as it was trained to be, and guided.
import type { Conditioning, Evaluate, Shape } from './denoiser.js';
import { guided } from './guidance.js';
import { joined } from './latents.js';
import type { Parts } from './parts.js';
import type { Guidance } from './request.js';

export interface NetworkOptions {
  readonly guidance: Guidance;
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
  const { denoiser } = parts;
  const { pair, scale } = guidance;
  const own = { guidance: scale, timeScale: timeScaleOf(parts) };
  if (pair === undefined) {
    const conditionings = guidance.unconditional ? unconditional : conditional;
    return { evaluate: denoiser.prepare(conditionings, shape, { ...own, extra: extra && joined(extra) }) };
  }
  const doubled = extra && joined([...extra, ...extra]);
  const both = denoiser.prepare([...unconditional, ...conditional], shape, { ...own, extra: doubled });
  if (fold && rescale === 0) return { evaluate: both, scale: pair };
  return { evaluate: guided(both, pair, rescale) };
}

/** What a network is told for a flow's time of 1: thousandths, as its training counted, but for Flux. */
export function timeScaleOf({ denoiser, flow }: Parts): number {
  return flow && denoiser.kind !== 'flux' ? 1000 : 1;
}
