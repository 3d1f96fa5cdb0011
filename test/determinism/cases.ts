// Sampling runs whose every bit is kept: closed-form networks built of +, -, *, / alone, which round alike everywhere.
import { createHash } from 'node:crypto';
import {
  betas,
  DPMSolver,
  NoiseSchedule,
  randn,
  type SampleOptions,
  type SolverOptions,
  type Tensor,
} from '../../lib/index.js';
import {
  DDIMScheduler,
  DEISMultistepScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  EDMDPMSolverMultistepScheduler,
  PNDMScheduler,
  type Scheduler,
  type StepOptions,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';

/** Odd; and enough for the step to share a sample among threads, which it does from 65,536 elements on. */
const SMALL = [3, 53, 55];
const LARGE = [3, 181, 183];
export const SEEDS = [11, 12, 13];

type Floats = Float32Array | Float64Array;
type Type = 'float32' | 'float64';

export interface Case {
  name: string;
  /** Samples with these seeds, as one batch. */
  run: (seeds: readonly number[], threads: number) => Promise<Floats>;
  /** Does a sample depend on what shares its batch? */
  coupled?: boolean;
}

function start(
  seeds: readonly number[],
  type: Type,
  scale = 1,
  size: readonly number[] = SMALL,
): { data: Floats; dims: number[] } {
  const each = size.reduce((a, b) => a * b);
  const data = type === 'float32' ? new Float32Array(seeds.length * each) : new Float64Array(seeds.length * each);
  seeds.forEach((seed, i) => {
    data.set(randn([...size], { seed, type }).data, i * each);
  });
  if (scale !== 1) for (let i = 0; i < data.length; i++) data[i] *= scale;
  return { data, dims: [seeds.length, ...size] };
}

/** Something that bends, x / (1 + x^2), and more of x early. With `doubled` the two halves of the batch differ. */
function network(x: Tensor, t: number, scale: number, doubled = false): { data: Floats; dims: readonly number[] } {
  const state = x.data as Floats;
  const data = state.slice();
  const late = 1 / (1 + scale * t);
  for (let i = 0; i < data.length; i++) {
    const v = state[i];
    const factor = doubled && 2 * i >= data.length ? 0.8 : 0.9;
    data[i] = factor * (v * (1 - late) + (late * v) / (1 + v * v));
  }
  return { data, dims: x.dims };
}

const schedules = {
  linear: NoiseSchedule.linear(),
  discrete: NoiseSchedule.discrete({ betas: betas('scaled_linear') }),
  flow: NoiseSchedule.flow({ shift: 3 }),
  edm: NoiseSchedule.edm(),
};
type Kind = keyof typeof schedules;

function solver(
  name: string,
  options: SolverOptions,
  sample: SampleOptions = {},
  {
    kind = 'linear',
    type = 'float32',
    inverse = false,
    size = SMALL,
  }: { kind?: Kind; type?: Type; inverse?: boolean; size?: readonly number[] } = {},
): Case {
  const doubled = options.guidance?.type === 'classifier-free';
  const draws = options.algorithmType?.startsWith('sde-');
  return {
    name,
    coupled: sample.method === 'adaptive',
    async run(seeds, threads) {
      const model = (x: Tensor, t: number) => network(x, t, kind === 'discrete' ? 0.01 : 10, doubled);
      const dpm = new DPMSolver(model, schedules[kind], { ...options, threads });
      const x = start(seeds, type, kind === 'edm' ? 80 : 1, size);
      const all: SampleOptions = { steps: 12, ...sample, ...(draws ? { seed: [...seeds] } : {}) };
      const { sample: end } = inverse ? await dpm.invert(x, all) : await dpm.sample(x, all);
      return end.data as Floats;
    },
  };
}

/** The classes choose their threads themselves. */
function scheduler(name: string, make: () => Scheduler, options: StepOptions = {}, draws = false): Case {
  return {
    name,
    async run(seeds) {
      const s = make();
      s.setTimesteps(12);
      let x: Tensor = start(seeds, 'float32', s.initNoiseSigma);
      for (const t of s.timesteps) {
        const output = network(s.scaleModelInput(x, t), t, 0.01);
        x = s.step(output, t, x, { ...options, ...(draws ? { seed: [...seeds] } : {}) });
      }
      return x.data as Floats;
    },
  };
}

const STABLE = { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 };

export const CASES: readonly Case[] = [
  ...(['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver'] as const).flatMap((algorithmType) =>
    (['multistep', 'singlestep'] as const).flatMap((method) =>
      ([1, 2, 3] as const).map((order) =>
        solver(`${algorithmType} ${method} ${order}`, { algorithmType }, { method, order }),
      ),
    ),
  ),
  solver('singlestep_fixed 3, taylor', {}, { method: 'singlestep_fixed', order: 3, solverType: 'taylor' }),
  solver('multistep 2, taylor', {}, { solverType: 'taylor' }),
  solver('multistep 3, exact', { thirdOrder: 'exact' }, { order: 3 }),
  solver('adaptive 12', {}, { method: 'adaptive', order: 2 }),
  solver(
    'adaptive 23, as published',
    { algorithmType: 'dpmsolver' },
    { method: 'adaptive', order: 3, controller: 'integral' },
  ),
  solver('logSNR, denoised to zero', {}, { skipType: 'logSNR', denoiseToZero: true }),
  solver('karras', {}, { skipType: 'karras' }),
  solver('time_quadratic', {}, { skipType: 'time_quadratic' }),
  solver('thresholded', { thresholding: true }),
  solver('thresholded, guided', { thresholding: true, guidance: { type: 'classifier-free', scale: 7.5 } }),
  solver('guided', { guidance: { type: 'classifier-free', scale: 3 } }),
  solver('guided by a classifier', {
    guidance: { type: 'classifier', scale: 2, gradient: (x, t) => network(x, t, 10) },
  }),
  ...(['x_start', 'v', 'score'] as const).map((modelType) => solver(`predicts ${modelType}`, { modelType })),
  solver('discrete', {}, {}, { kind: 'discrete' }),
  solver('flow', { modelType: 'flow' }, {}, { kind: 'flow' }),
  solver('edm', { modelType: 'x_start' }, { skipType: 'karras' }, { kind: 'edm' }),
  solver('float64', {}, {}, { type: 'float64' }),
  solver('sde, float64', { algorithmType: 'sde-dpmsolver++' }, {}, { type: 'float64' }),
  solver('philox', { algorithmType: 'sde-dpmsolver++' }, { noise: 'philox' }),
  solver('inverted', {}, {}, { inverse: true }),
  solver('large', {}, {}, { size: LARGE }),
  solver(
    'large, thresholded, guided',
    { thresholding: true, guidance: { type: 'classifier-free', scale: 7.5 } },
    {},
    { size: LARGE },
  ),
  solver('large, sde', { algorithmType: 'sde-dpmsolver++' }, { steps: 6 }, { size: LARGE }),
  solver('large, philox', { algorithmType: 'sde-dpmsolver++' }, { steps: 6, noise: 'philox' }, { size: LARGE }),
  solver('large, adaptive', {}, { method: 'adaptive' }, { size: LARGE }),
  scheduler('DPMSolverMultistepScheduler', () => DPMSolverMultistepScheduler.fromConfig(STABLE)),
  scheduler('DPMSolverMultistepScheduler, karras', () =>
    DPMSolverMultistepScheduler.fromConfig({ ...STABLE, use_karras_sigmas: true }),
  ),
  scheduler(
    'DPMSolverMultistepScheduler, sde',
    () => DPMSolverMultistepScheduler.fromConfig({ ...STABLE, algorithm_type: 'sde-dpmsolver++' }),
    {},
    true,
  ),
  scheduler('DPMSolverSinglestepScheduler', () => DPMSolverSinglestepScheduler.fromConfig(STABLE)),
  scheduler('EDMDPMSolverMultistepScheduler', () => EDMDPMSolverMultistepScheduler.fromConfig({})),
  scheduler('UniPCMultistepScheduler', () => UniPCMultistepScheduler.fromConfig(STABLE)),
  scheduler('DEISMultistepScheduler', () => DEISMultistepScheduler.fromConfig(STABLE)),
  scheduler('DDIMScheduler, eta 1, clipped', () => DDIMScheduler.fromConfig(STABLE), { eta: 1 }, true),
  scheduler('PNDMScheduler', () => PNDMScheduler.fromConfig({ ...STABLE, skip_prk_steps: true })),
];

/** SHA-256 of the samples' bytes, in little-endian order. */
export function hashOf(data: Floats): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32);
}
