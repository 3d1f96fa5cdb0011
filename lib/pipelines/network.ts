// The network of one batch: conditioned, told the time as it was trained to be, and guided.
import type { NetworkArray, Tensor } from '../base/tensor.js';
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
  /** Are the two predictions of guidance made by two calls? */
  readonly split: boolean;
  /** Of each picture: what an inpainting network gets besides the state. */
  readonly extra?: readonly Float32Array[];
}

/** The network for one batch, with guidance folded into the solver's step (then with its scale) or done here. */
export function networkOf(
  parts: Parts,
  conditional: readonly Conditioning[],
  unconditional: readonly Conditioning[],
  { guidance, rescale, shape, fold, split, extra }: NetworkOptions,
): { evaluate: Evaluate; scale?: number } {
  const denoiser = parts.shared ?? parts.denoiser;
  const { pair, scale } = guidance;
  const own = { guidance: scale, timeScale: timeScaleOf(parts) };
  if (pair === undefined) {
    const conditionings = guidance.unconditional ? unconditional : conditional;
    return { evaluate: denoiser.prepare(conditionings, shape, { ...own, extra: extra && joined(extra) }) };
  }
  const halves = [unconditional, conditional];
  const both = split
    ? oneByOne(halves.map((half) => denoiser.prepare(half, shape, { ...own, extra: extra && joined(extra) })))
    : denoiser.prepare(halves.flat(), shape, { ...own, extra: extra && joined([...extra, ...extra]) });
  if (!fold) return { evaluate: guided(both, pair, rescale) };
  if (guidance.how?.interval === undefined) return { evaluate: both, scale: pair };
  // Outside of an interval the network is asked once, with the condition.
  let alone: Evaluate | undefined;
  const evaluate: Evaluate = (x, t, signal) => {
    if (x.dims[0] !== conditional.length) return both(x, t, signal);
    alone ??= denoiser.prepare(conditional, shape, { ...own, extra: extra && joined(extra) });
    return alone(x, t, signal);
  };
  return { evaluate, scale: pair };
}

/** What a network is told for a flow's time of 1: thousandths, as its training counted, but for Flux. */
export function timeScaleOf({ denoiser, flow }: Parts): number {
  return flow && denoiser.kind !== 'flux' ? 1000 : 1;
}

/** One evaluation of several networks, each of its own part of the samples, as if it were one of all. */
function oneByOne(networks: readonly Evaluate[]): Evaluate {
  let all: NetworkArray | undefined;
  return async (x, t) => {
    const samples = x.dims[0] / networks.length;
    const state = x.data as NetworkArray;
    const n = state.length / networks.length;
    let type = x.type;
    for (const [i, network] of networks.entries()) {
      const data = state.subarray(i * n, (i + 1) * n);
      const output = await network({ ...x, data, dims: [samples, ...x.dims.slice(1)] } as Tensor, t);
      all ??= new ((output.data as NetworkArray).constructor as new (length: number) => NetworkArray)(
        networks.length * n,
      );
      all.set(output.data as never, i * n);
      type = output.type;
    }
    return { type, data: all, dims: x.dims } as Tensor;
  };
}
