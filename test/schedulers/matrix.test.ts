// Every combination of 1,728 configurations and 22 step counts ends finite, or is refused by name.
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  type Scheduler,
  type SchedulerConfig,
  UniPCMultistepScheduler,
  schedulerFromConfig,
} from '../../lib/schedulers/index.js';
import { check } from '../support.js';

const STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28, 30];
const GRIDS = [
  '',
  'use_karras_sigmas',
  'use_exponential_sigmas',
  'use_beta_sigmas',
  'use_lu_lambdas',
  'use_flow_sigmas',
];
const dims = [1, 2];

/** A run from noise (or data) with a network that is linear in x. */
function run(scheduler: Scheduler, steps: number): string {
  scheduler.setTimesteps(steps);
  let x = { data: Float32Array.of(0.5, -1.25), dims };
  const noise = { data: Float32Array.of(-0.3, 0.8), dims };
  const { timesteps } = scheduler;
  for (const t of timesteps) {
    const output = { data: x.data.map((value) => 0.4 * value + 0.05), dims };
    x = scheduler.step(output, t, x, { noise }) as typeof x;
  }
  assert.ok(timesteps.length >= 1 && timesteps.length <= steps);
  return x.data.every((value) => Number.isFinite(value)) ? 'finite' : 'not finite';
}

const betas = (name: string) =>
  name === 'scaled_linear' ? { beta_schedule: name, beta_start: 0.00085, beta_end: 0.012 } : { beta_schedule: name };

for (const Class of [DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, DPMSolverMultistepInverseScheduler]) {
  test(`${Class.name} across algorithms, orders, grids and steps`, () => {
    const outcomes = new Map<string, number>();
    const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    let configurations = 0;
    for (const algorithm_type of ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'])
      for (const solver_order of [1, 2, 3])
        for (const solver_type of ['midpoint', 'heun'])
          for (const grid of GRIDS)
            for (const final_sigmas_type of ['zero', 'sigma_min'])
              for (const beta_schedule of ['scaled_linear', 'squaredcos_cap_v2']) {
                configurations++;
                const config: Record<string, unknown> = {
                  ...betas(beta_schedule),
                  algorithm_type,
                  solver_order,
                  solver_type,
                  final_sigmas_type,
                };
                if (grid) config[grid] = true;
                if (grid === 'use_flow_sigmas') config.prediction_type = 'flow_prediction';
                for (const steps of STEPS) {
                  try {
                    count(run(Class.fromConfig(config), steps));
                  } catch (error) {
                    const { name, message } = error as Error;
                    assert.ok(name === 'TypeError' || name === 'RangeError', `${name}: ${message}`);
                    assert.match(message, /^Expected options that go together but received .+ with .+: .+/);
                    count(message);
                  }
                }
              }
    assert.is(configurations, 576);
    const finite = configurations * STEPS.length;
    if (Class !== DPMSolverMultistepInverseScheduler) {
      assert.equal([...outcomes], [['finite', finite]]);
      return;
    }
    // Half of the algorithms are SDEs: 288 configurations.
    assert.is(outcomes.get('finite'), finite / 2);
    assert.is(outcomes.size, 3);
    for (const [message, times] of outcomes) {
      if (message === 'finite') continue;
      assert.match(
        message,
        /algorithm_type 'sde-dpmsolver(\+\+)?' with _class_name 'DPMSolverMultistepInverseScheduler': .*SDE/,
      );
      assert.is(times, finite / 4);
    }
  });
}

test('UniPC ends finite in float32, bh1 and bh2, data and noise form, at both ends', () => {
  let runs = 0;
  for (const solver_type of ['bh1', 'bh2'])
    for (const predict_x0 of [true, false])
      for (const solver_order of [1, 2, 3])
        for (const lower_order_final of [true, false])
          for (const grid of GRIDS)
            for (const final_sigmas_type of ['zero', 'sigma_min'])
              for (const beta_schedule of ['scaled_linear', 'squaredcos_cap_v2']) {
                const config: SchedulerConfig = {
                  ...betas(beta_schedule),
                  solver_type,
                  predict_x0,
                  solver_order,
                  lower_order_final,
                  final_sigmas_type,
                  ...(grid ? { [grid]: true } : {}),
                  ...(grid === 'use_flow_sigmas' ? { prediction_type: 'flow_prediction' } : {}),
                };
                for (const steps of [1, 2, 3, 7, 15, 30]) {
                  assert.is(run(UniPCMultistepScheduler.fromConfig(config), steps), 'finite', JSON.stringify(config));
                  runs++;
                }
              }
  assert.is(runs, 3456);
});

test('any configuration whatever ends finite from any beginning, or is refused by name', async () => {
  const pick = (...values: unknown[]) => fc.constantFrom(...values);
  const keys: Record<string, fc.Arbitrary<unknown>> = {
    beta_schedule: pick('linear', 'scaled_linear', 'squaredcos_cap_v2'),
    num_train_timesteps: pick(1000, 1000, 37),
    rescale_betas_zero_snr: pick(true, false),
    prediction_type: pick('epsilon', 'sample', 'v_prediction', 'flow_prediction'),
    thresholding: pick(true, false),
    sample_max_value: pick(1, 3),
    clip_sample: pick(true, false),
    solver_order: pick(1, 2, 3),
    algorithm_type: pick('dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'),
    solver_type: pick('midpoint', 'heun', 'bh1', 'bh2', 'logrho'),
    lower_order_final: pick(true, false),
    euler_at_final: pick(true, false),
    final_sigmas_type: pick('zero', 'sigma_min'),
    use_karras_sigmas: pick(false, false, true),
    use_exponential_sigmas: pick(false, false, false, true),
    use_beta_sigmas: pick(false, false, false, true),
    use_lu_lambdas: pick(false, false, false, true),
    use_flow_sigmas: pick(false, true),
    flow_shift: pick(0.5, 1, 3, 12),
    shift_terminal: pick(null, null, 0.1),
    timestep_spacing: pick('linspace', 'leading', 'trailing'),
    steps_offset: pick(0, 1),
    lambda_min_clipped: pick(-Infinity, -5.1, -1),
    predict_x0: pick(true, false),
    disable_corrector: pick([], [0], [1, 3]),
    set_alpha_to_one: pick(true, false),
    skip_prk_steps: pick(true, false),
  };
  const classes = [
    ...['DPMSolverMultistep', 'DPMSolverSinglestep', 'DPMSolverMultistepInverse', 'EDMDPMSolverMultistep'],
    ...['UniPCMultistep', 'DEISMultistep', 'DDIM', 'PNDM'],
  ];
  const seen = new Map<string, number>();
  await check(
    fc.property(
      fc.constantFrom(...classes),
      fc.record(keys, { requiredKeys: [] }),
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (name, config, steps, from) => {
        let s: Scheduler;
        try {
          s = schedulerFromConfig({ ...config, _class_name: `${name}Scheduler` });
          s.setTimesteps(steps);
        } catch (error) {
          const { name: kind, message } = error as Error;
          assert.ok(kind === 'TypeError' || kind === 'RangeError', `${kind}: ${message}`);
          assert.match(
            message,
            /^Expected (options that go together but received .+ with .+: .+|.+ for .+ but received)/,
          );
          return;
        }
        const begin = Math.floor(from * s.timesteps.length);
        if (name === 'PNDM' && begin % 4 !== 0 && begin < 12) return;
        if (begin > 0) s.setBeginIndex(begin);
        let x = { data: Float32Array.of(0.5, -1.25), dims };
        for (const t of s.timesteps.slice(begin)) {
          const output = { data: x.data.map((value) => Math.tanh(0.4 * value) + 0.05), dims };
          x = s.step(output, t, x, { noise: { data: Float32Array.of(-0.3, 0.8), dims } }) as typeof x;
          assert.ok(x.data.every(Number.isFinite), `${x.data} at timestep ${t}`);
        }
        seen.set(name, (seen.get(name) ?? 0) + 1);
      },
    ),
    { numRuns: 2000 },
  );
  for (const name of classes) assert.ok((seen.get(name) ?? 0) > 20, `${name} ran ${seen.get(name)} times`);
});

test('zero-length steps return the sample', () => {
  for (const grid of GRIDS.slice(1, 5)) {
    const s = DPMSolverMultistepScheduler.fromConfig({ final_sigmas_type: 'sigma_min', solver_order: 3, [grid]: true });
    s.setTimesteps(20);
    const { sigmas, timesteps } = s;
    assert.is(timesteps.length, 20);
    assert.is(sigmas[19], sigmas[20]);
    s.setBeginIndex(19);
    const x = { data: Float32Array.of(0.5, -1.25), dims };
    const next = s.step({ data: Float32Array.of(3, 4), dims }, timesteps[19], x);
    assert.equal(next.data, x.data);
  }
});

test.run();
