// Classifier-free guidance outside of the solver's step, and the picture that the network has in mind.
import { predictionRow, ROW, STATUS } from '../addon/coefficients.js';
import { addon, convert, type NetworkArray, step } from '../addon/native.js';
import type { Tensor } from '../base/tensor.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import type { GuidanceVariant } from '../solver/guidance.js';
import type { NetworkType } from '../solver/options.js';
import type { Evaluate } from './denoiser.js';

/**
 * Does a scale ask for two predictions? At most 1 is the conditional network alone, as in diffusers, of whose distilled networks
 * the cards say 0; with `'apg'`, whose scale is what is added, 0 is, and with `'cfg++'` none.
 */
export function asksTwice(scale: number, variant: GuidanceVariant | undefined): boolean {
  return variant === 'cfg++' || (variant === 'apg' ? scale !== 0 : scale > 1);
}

/**
 * A network that takes the batch doubled, as one that takes it once and gives the guided output.
 *
 * @param scale s of u + s (c - u)
 * @param rescale phi of Lin et al. 2023 (arXiv 2305.08891): the share to which the guided output g is given the standard
 *   deviation of the conditional one, phi g std(c) / std(g) + (1 - phi) g, sample by sample
 */
export function guided(network: Evaluate, scale: number, rescale: number): Evaluate {
  let buffers: { doubled: NetworkArray; both: Float32Array; result: Float32Array } | undefined;
  return async (x, t, signal) => {
    const data = x.data as NetworkArray;
    const n = data.length;
    const batch = x.dims[0];
    buffers ??= {
      doubled: new (data.constructor as new (length: number) => NetworkArray)(2 * n),
      both: new Float32Array(2 * n),
      result: new Float32Array(n),
    };
    const { doubled, both, result } = buffers;
    doubled.set(data);
    doubled.set(data, n);
    const output = await network({ type: x.type, data: doubled, dims: [2 * batch, ...x.dims.slice(1)] }, t, signal);
    convert(output.data as NetworkArray, both);
    for (let i = 0; i < n; i++) result[i] = both[i] + scale * (both[n + i] - both[i]);
    if (rescale > 0) rescaleTo(both.subarray(n), result, batch, rescale);
    return { type: 'float32', data: result, dims: x.dims };
  };
}

function rescaleTo(conditional: Float32Array, result: Float32Array, batch: number, rescale: number): void {
  const wanted = new Float64Array(batch);
  const found = new Float64Array(batch);
  addon.standardDeviation(conditional, batch, wanted);
  addon.standardDeviation(result, batch, found);
  const n = result.length / batch;
  for (let b = 0; b < batch; b++) {
    if (!(found[b] > 0)) continue;
    const factor = rescale * (wanted[b] / found[b]) + 1 - rescale;
    for (let i = b * n; i < (b + 1) * n; i++) result[i] *= factor;
  }
}

/**
 * What the network takes the finished sample to be, at one evaluation.
 *
 * @param x what it saw; only its first half counts where the output is doubled
 * @param scale of classifier-free guidance, where the output is unconditional and conditional
 * @returns nothing at a time where x says nothing about it
 */
export function predictX0(
  x: Tensor,
  output: Tensor,
  { schedule, modelType }: { schedule: NoiseSchedule; modelType: NetworkType },
  time: number,
  scale: number | undefined,
): Float32Array | undefined {
  const doubled = scale !== undefined;
  const batch = doubled ? x.dims[0] / 2 : x.dims[0];
  const data = x.data as NetworkArray;
  const state = new Float32Array(doubled ? data.length / 2 : data.length);
  convert(data.subarray(0, state.length), state);
  const rows = new Float64Array(batch * ROW.length);
  for (let b = 0; b < batch; b++) {
    const guidance = doubled ? 'classifierFree' : 'none';
    const status = predictionRow(rows, b, modelType, 'data', schedule.node(time), guidance, scale ?? 1);
    if (status !== STATUS.ok) return undefined;
  }
  const d0 = new Float32Array(state.length);
  const m = output.data as NetworkArray;
  step(rows, { x: state, m, d0 }, { batch, doubled, checkFinite: false });
  return d0;
}
