// The official PyTorch code's trajectories (test/golden/dpm-solver.json), in float64 and float32.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  betas,
  DPMSolver,
  NoiseSchedule,
  type SampleOptions,
  type SolverOptions,
  type Tensor,
} from '../../lib/index.js';
import { assertClose, golden } from '../support.js';

interface Config {
  schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'continuous_linear';
  model_type: 'noise' | 'x_start' | 'v' | 'score';
  guidance: 'uncond' | 'classifier-free' | 'classifier';
  guidance_scale: number;
  algorithm: 'dpmsolver' | 'dpmsolver++';
  thresholding: boolean;
  thresholding_max_val: number;
  thresholding_ratio: number;
  steps: number;
  order: 1 | 2 | 3;
  method: 'multistep' | 'singlestep' | 'singlestep_fixed' | 'adaptive';
  skip_type: 'time_uniform' | 'logSNR' | 'time_quadratic';
  solver_type: 'dpmsolver' | 'taylor';
  lower_order_final: boolean;
  denoise_to_zero: boolean;
  t_start: number | null;
  t_end: number | null;
  atol: number;
  rtol: number;
  inverse: boolean;
}
interface Case {
  id: string;
  config: Config;
  expected: { final: number[]; intermediates: number[][]; model_times: number[] };
}
const file = golden<{ shape: number[]; x_init: number[]; cases: Case[] }>('dpm-solver');

type Floats = Float32Array | Float64Array;

/** tanh(0.7 x) + 0.1 cos(t / 200) + 0.05 c sin(x), the first half of a doubled batch with c = 0. */
function toy(config: Config, times: number[]) {
  const n = file.x_init.length;
  return (x: Tensor, t: number): Tensor => {
    times.push(t);
    const data = x.data as Floats;
    const out = new (data.constructor as new (n: number) => Floats)(data.length);
    const doubled = data.length === 2 * n;
    for (let i = 0; i < out.length; i++) {
      const c = config.guidance === 'classifier-free' && (!doubled || i >= n) ? 1 : 0;
      out[i] = Math.tanh(0.7 * data[i]) + 0.1 * Math.cos(t / 200) + 0.05 * c * Math.sin(data[i]);
    }
    return { data: out, dims: x.dims };
  };
}

/** The gradient of log p = -0.15 sum((1 - x)^2). */
function gradient(x: Tensor): Tensor {
  return { data: (x.data as Floats).map((value) => 0.3 * (1 - value)), dims: x.dims };
}

function scheduleOf(config: Config): NoiseSchedule {
  return config.schedule === 'continuous_linear'
    ? NoiseSchedule.linear()
    : NoiseSchedule.discrete({ betas: betas(config.schedule), clip: 'official' });
}

async function run(config: Config, type: 'float32' | 'float64') {
  const times: number[] = [];
  const options: SolverOptions = {
    algorithmType: config.algorithm,
    modelType: config.model_type,
    guidance:
      config.guidance === 'uncond'
        ? { type: 'uncond' }
        : config.guidance === 'classifier'
          ? { type: 'classifier', scale: config.guidance_scale, gradient }
          : { type: 'classifier-free', scale: config.guidance_scale },
    // The published code ignores thresholding in noise form.
    thresholding:
      config.thresholding && config.algorithm === 'dpmsolver++'
        ? { ratio: config.thresholding_ratio, maxValue: config.thresholding_max_val }
        : false,
  };
  const sampleOptions: SampleOptions = {
    steps: config.steps,
    order: config.order,
    method: config.method,
    skipType: config.skip_type,
    solverType: config.solver_type,
    tStart: config.t_start ?? undefined,
    tEnd: config.t_end ?? undefined,
    lowerOrderFinal: config.lower_order_final,
    denoiseToZero: config.denoise_to_zero,
    atol: config.atol,
    rtol: config.rtol,
    controller: 'integral',
    intermediates: true,
  };
  const solver = new DPMSolver(toy(config, times), scheduleOf(config), options);
  const data = type === 'float64' ? Float64Array.from(file.x_init) : Float32Array.from(file.x_init);
  const x = { data, dims: file.shape };
  const result = config.inverse ? await solver.invert(x, sampleOptions) : await solver.sample(x, sampleOptions);
  return { result, times };
}

for (const { id, config, expected } of file.cases) {
  for (const type of ['float64', 'float32'] as const) {
    const adaptive = config.method === 'adaptive';
    if (adaptive && type === 'float32') continue;
    test(`${id} in ${type}: ${config.algorithm} ${config.method} ${config.order}`, async () => {
      const { result, times } = await run(config, type);
      const rtol = type === 'float64' ? (adaptive ? 1e-4 : 2e-8) : config.inverse ? 5e-4 : 5e-5;
      assert.is(times.length, expected.model_times.length, 'evaluations');
      assert.is(result.nfe, expected.model_times.length);
      // Where an adaptive run is asked next depends on rounded errors, not only on the schedule.
      assertClose(times, expected.model_times, { rtol: adaptive ? 1e-6 : 1e-8, atol: 1e-6 }, 'network times');
      assertClose(result.sample.data as Floats, expected.final, { rtol, scale: 'max' }, 'the sample');
      // The published code leaves out the start of singlestep runs, and all of adaptive ones.
      const states = result.intermediates!.slice(config.method === 'multistep' ? 0 : 1);
      if (!adaptive) assert.is(states.length, expected.intermediates.length, 'intermediates');
      if (type === 'float64' && !adaptive) {
        states.forEach((state, i) => {
          assertClose(state.data as Floats, expected.intermediates[i], { rtol: 2e-8, scale: 'max' }, `state ${i}`);
        });
      }
    });
  }
}

test.run();
