// The network of one batch: conditioned, told the time as it was trained to be, and guided.
import type { NetworkArray, Tensor } from '../base/tensor.js';
import type { OrtValue } from '../onnx/network.js';
import type { Transfers } from '../solver/engine.js';
import type { Conditioning, Evaluate, Shape } from './denoiser.js';
import type { EvaluateThere } from './device-network.js';
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

/** Are the networks on WebGPU, where states can stay? */
export function onWebGpu({ session }: Parts): boolean {
  return session.device === 'webgpu' && !session.executionProviders;
}

const OTHER_BATCH = 'a network for another number of samples';

/** A network of one batch whose states stay on WebGPU. */
export interface NetworkThere {
  evaluate(x: OrtValue, t: number, signal?: AbortSignal): Promise<OrtValue>;
  read(value: OrtValue): Promise<Tensor>;
  /** What has been brought there, and read. */
  readonly transfers: readonly Transfers[];
  readonly scale?: number;
  release(): void;
}

/** As {@link networkOf}, for states that stay on WebGPU, or why they do not; undefined where the network is elsewhere. */
export async function networkThere(
  parts: Parts,
  conditional: readonly Conditioning[],
  unconditional: readonly Conditioning[],
  { guidance, shape, split, extra, by }: Omit<NetworkOptions, 'rescale' | 'fold'> & { by: string | undefined },
): Promise<NetworkThere | string | undefined> {
  const { denoiser, shared } = parts;
  if (!onWebGpu(parts)) return undefined;
  // What calls the network has its states on the host.
  if (by !== undefined) return by;
  if (shared) return 'calls of a session share the network';
  const { pair, scale } = guidance;
  if (split && pair !== undefined) return 'splitGuidance';
  // Outside of an interval the network is asked once, with the condition: for two numbers of samples in one run.
  const interval = pair !== undefined && guidance.how?.interval !== undefined;
  if (interval && denoiser.fixedBatch !== undefined) return OTHER_BATCH;
  const own = { guidance: scale, timeScale: timeScaleOf(parts) };
  const all: EvaluateThere[] = [];
  const prepare = async (conditionings: readonly Conditioning[], twice: boolean) => {
    const inputs = extra && joined(twice ? [...extra, ...extra] : extra);
    const made = await denoiser.prepareThere(conditionings, shape, { ...own, extra: inputs });
    if (made) all.push(made);
    return made;
  };
  const first =
    pair === undefined
      ? await prepare(guidance.unconditional ? unconditional : conditional, false)
      : await prepare([...unconditional, ...conditional], true);
  if (!first) return OTHER_BATCH;
  let alone: EvaluateThere | undefined;
  return {
    evaluate: async (x, t, signal) => {
      if (!interval || x.dims[0] !== conditional.length) return first.evaluate(x, t, signal);
      alone ??= await prepare(conditional, false);
      return (alone as EvaluateThere).evaluate(x, t, signal);
    },
    read: async (value) => (await first.read(value)) as Tensor,
    get transfers() {
      return all.map(({ transfers }) => transfers);
    },
    ...(pair === undefined ? {} : { scale: pair }),
    release: () => {
      for (const one of all) one.release();
    },
  };
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
