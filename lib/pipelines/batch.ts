// A batch from its start to its sample, by the solver.
import type { Tensor } from '../base/tensor.js';
import { DPMSolver, type SolverOptions, type WebGpuSolverOptions } from '../dpm-solver.js';
import type { WebGpuModel } from '../engines/webgpu/options.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { nodeOf } from '../schedule/sigmas.js';
import type { PutsKnown } from '../solver/known.js';
import type { Crossed } from './crossed.js';
import { drive, type Work } from './drive.js';
import { keepNoisy, type Mask } from './mask.js';
import type { NetworkThere } from './network.js';
import type { SolverPlan } from './plan.js';
import type { Watch } from './watch.js';

/** What a run on WebGPU calls, and who is told of it. */
interface WorkThere extends Pick<Work, 'clock' | 'signal'> {
  readonly there: NetworkThere;
  readonly watch: Watch;
  readonly crossed: Crossed;
}

/** Where a batch starts. */
export interface Start {
  readonly noise: Float32Array;
  /** The pictures or latents, where it starts from some. */
  readonly known: Float32Array | undefined;
  /** Is there noise in them already? */
  readonly noisy: boolean;
  /** Is what the mask covers made from noise alone? */
  readonly fresh: boolean;
  readonly mask: Mask | undefined;
}

/** Samples one batch by the solver. */
export async function sampleBatch(
  { schedule, run, start, solverOptions }: SolverPlan,
  seed: readonly number[],
  dims: readonly number[],
  from: Start,
  work: Work,
): Promise<{ sample: Float32Array; nfe: number }> {
  const solver = new DPMSolver(null, schedule, {
    ...solverOptions,
    ...blending(schedule, from, solverOptions.correctXt),
  });
  const xT = startOf(solver, start, dims, from);
  const { signal, watch } = work;
  const sampling = solver.start(xT, {
    ...run,
    seed: [...seed],
    signal,
    ...(watch ? { onStep: (progress) => watch.tell(progress) } : {}),
  });
  await drive(sampling, work);
  return { sample: sampling.result.data as Float32Array, nfe: sampling.nfe };
}

/** The same where the network and the states are on WebGPU. */
export async function sampleThere(
  { schedule, run, start, solverOptions }: SolverPlan,
  seed: readonly number[],
  dims: readonly number[],
  from: Start,
  { there, clock, signal, watch, crossed }: WorkThere,
): Promise<{ sample: Float32Array; nfe: number }> {
  let begun = 0;
  let counted = 0;
  const lap = () => {
    // The step's run waits for the network's: their time is one.
    if (begun > 0) {
      clock.network.push(performance.now() - begun);
      clock.step.push(0);
    }
    begun = performance.now();
  };
  const count = (steps: number) => {
    if (!watch.listens) while (counted < steps) watch.count(++counted);
  };
  const model: WebGpuModel = async (x, t, context) => {
    lap();
    count(context.step);
    const output = await there.evaluate(x, t, context.signal);
    if (watch.listens) watch.see(await there.read(x), await there.read(output), context.time, t);
    return output;
  };
  const solver = new DPMSolver(model, schedule, {
    ...(solverOptions as unknown as WebGpuSolverOptions),
    ...blending(schedule, from, solverOptions.correctXt),
    ...{ device: 'webgpu', modelDevice: 'webgpu' },
  });
  const xT = startOf(solver, start, dims, from);
  const { sample, nfe, times, transfers } = await solver.sample(xT, {
    ...run,
    seed: [...seed],
    signal,
    ...(watch.listens ? { onStep: (progress) => watch.tell(progress) } : {}),
  });
  lap();
  count(times.length - 1);
  for (const one of [transfers!, ...there.transfers]) crossed.add(one);
  return { sample: sample.data as Float32Array, nfe };
}

/** Noise, a picture or latents with noise as of the time at which the run begins. */
function startOf(
  solver: Pick<DPMSolver, 'addNoise'>,
  start: number,
  dims: readonly number[],
  { noise, known, noisy, fresh }: Start,
): Tensor {
  const xT = { type: 'float32', data: noise, dims } as Tensor;
  if (known && noisy) return { ...xT, data: known };
  return known && !fresh ? solver.addNoise({ ...xT, data: known }, start, xT) : xT;
}

/** The known part of a state, put in place after every step. */
function blending(
  schedule: NoiseSchedule,
  { known, noise, mask }: Start,
  before: SolverOptions['correctXt'],
): Pick<SolverOptions, 'correctXt'> {
  if (!mask || !known) return {};
  const put = (x: Tensor, t: number) => keepNoisy(x, known, noise, nodeOf(schedule, t), mask);
  if (before) return { correctXt: (x, t, step) => put(before(x, t, step), t) };
  return { correctXt: Object.assign(put, { known: { x0: known, noise, mask: mask.data } }) satisfies PutsKnown };
}
