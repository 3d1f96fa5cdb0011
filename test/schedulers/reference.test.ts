// Random configurations against test/schedulers/reference.ts: labels, sigmas, and the state after every step.
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type SchedulerConfig, schedulerFromConfig } from '../../lib/schedulers/index.js';
import { assertClose, check, noise } from '../support.js';
import { type Ask, type Config, grid, singlestepOrders, trajectory } from './reference.js';

const dims = [2, 3, 2];
const start = Array.from(noise(new Float64Array(12), 7), (v) => 2 * v);
const draw = (i: number) => Array.from(noise(new Float64Array(12), 100 + i), (v) => 1.7 * v);
const network = (x: number[], t: number) => x.map((v) => Math.tanh(0.7 * v) + 0.1 * Math.cos(t / 200));

/** Runs the scheduler and the reference; everything has to agree. */
function compare(name: string, config: Config, ask: Ask): void {
  const s = schedulerFromConfig({ ...config, _class_name: name } as SchedulerConfig);
  const { begin, eta, useClippedModelOutput, ...request } = ask;
  s.setTimesteps(request);
  if (begin !== undefined) s.setBeginIndex(begin);
  const labels = Array.from(s.timesteps);
  const { sigmas } = s;
  if (name !== 'DDIMScheduler' && name !== 'PNDMScheduler') {
    const expected = grid(name, config, ask);
    assert.is(labels.length, expected.labels.length, 'number of timesteps');
    labels.forEach((t, i) => {
      const exact = expected.labels[i];
      const off = t - exact;
      const fits =
        expected.whole === 'round'
          ? Math.abs(off) < 0.5 + 2e-3
          : expected.whole === 'cut'
            ? off < 2e-3 && off > -1 - 2e-3
            : Math.abs(off) < 1e-5;
      assert.ok(fits, `timestep ${t} at index ${i} for ${exact} (${expected.whole})`);
    });
    assertClose(sigmas, expected.sigmas, { rtol: config.rescale_betas_zero_snr ? 2e-3 : 2e-5, atol: 1e-9 }, 'sigmas');
  }
  // What float32 tables leave of a schedule that is shifted to end in pure noise.
  const rtol = config.rescale_betas_zero_snr ? 1e-4 : 1e-6;
  let x: { data: Float64Array; dims: number[] } = {
    data: Float64Array.from(start, (v) => v * s.initNoiseSigma),
    dims,
  };
  const expected = trajectory(name, config, ask, labels, Array.from(sigmas), Array.from(x.data), 2, network, draw);
  for (let i = begin ?? 0; i < labels.length; i++) {
    const seen = s.scaleModelInput(x, s.timesteps[i]).data as Float64Array;
    const output = { data: Float64Array.from(network(Array.from(seen), labels[i])), dims };
    const options = { noise: { data: Float64Array.from(draw(i)), dims } };
    const extra = name === 'DDIMScheduler' ? { eta, useClippedModelOutput } : {};
    x = s.step(output, s.timesteps[i], x, { ...options, ...extra }) as typeof x;
    assertClose(x.data, expected[i - (begin ?? 0)], { rtol, scale: 'max' }, `state ${i + 1} of ${labels.length}`);
  }
}

const bool = fc.boolean();
const betas = fc.constantFrom<Config>(
  {},
  { beta_schedule: 'linear', beta_start: 0.001, beta_end: 0.02, num_train_timesteps: 400 },
  { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 },
  { beta_schedule: 'squaredcos_cap_v2' },
  { trained_betas: Array.from({ length: 500 }, (_, i) => 0.0005 + 0.00004 * i), num_train_timesteps: 500 },
);
const thresholding = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Config>({}) },
  fc.record({
    thresholding: fc.constant(true),
    dynamic_thresholding_ratio: fc.constantFrom(0, 0.5, 0.87, 0.995, 1),
    sample_max_value: fc.constantFrom(1, 1.5, 4),
  }),
);
const grids = fc.constantFrom<Config>(
  {},
  {},
  { use_karras_sigmas: true },
  { use_exponential_sigmas: true },
  { use_beta_sigmas: true },
  { use_lu_lambdas: true },
  { use_karras_sigmas: true, sigma_min: 0.05, sigma_max: 9 },
);
// Not v_prediction: diffusers takes it for that of a variance-preserving process there.
const flows = fc
  .tuple(
    fc.record({
      use_flow_sigmas: fc.constant(true),
      flow_shift: fc.constantFrom(1, 1.5, 3, 5),
      prediction_type: fc.constantFrom('flow_prediction', 'flow_prediction', 'epsilon', 'sample'),
    }),
    fc.constantFrom<Config>(
      ...[{}, {}, { use_karras_sigmas: true }, { use_exponential_sigmas: true }, { use_beta_sigmas: true }],
    ),
    fc.constantFrom<Config>({}, {}, { shift_terminal: 0.1 }),
  )
  .map((parts) => Object.assign({}, ...parts) as Config);
const predictions = fc.record({ prediction_type: fc.constantFrom('epsilon', 'sample', 'v_prediction') });
const spacing = fc.record({
  timestep_spacing: fc.constantFrom('linspace', 'leading', 'trailing'),
  steps_offset: fc.constantFrom(0, 1),
});
const noises = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(predictions, grids).map(([a, b]) => ({ ...a, ...b })) },
  flows,
) as fc.Arbitrary<Config>;
const solver = fc.record({
  algorithm_type: fc.constantFrom('dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'),
  solver_order: fc.constantFrom(1, 2, 3),
  solver_type: fc.constantFrom('midpoint', 'heun'),
  lower_order_final: bool,
  final_sigmas_type: fc.constantFrom('zero', 'sigma_min'),
});
const clipped = fc.constantFrom<Config>({}, { lambda_min_clipped: -5.1 });
const steps = fc.integer({ min: 1, max: 30 });
const merge = (parts: object[]): Config => Object.assign({}, ...parts);

/** Noise forms have no value at sigma = 0 in the reference: what the library makes of it is for the matrix. */
const noNoiseAtZero = (c: Config): Config =>
  c.algorithm_type?.endsWith('++') ? c : { ...c, final_sigmas_type: 'sigma_min' };
/** Given sigmas may lie below the one that a run ends at: not a run. */
const endsBelow = (name: string, c: Config, ask: Ask): boolean => {
  const { sigmas } = grid(name, c, ask);
  return sigmas.every(
    (sigma, i) => i === 0 || (name.includes('Inverse') ? sigma >= sigmas[i - 1] : sigma <= sigmas[i - 1]),
  );
};

test('DPMSolverMultistepScheduler', async () => {
  await check(
    fc.property(betas, thresholding, noises, spacing, solver, clipped, bool, bool, steps, (...all) => {
      const [b, t, n, sp, so, cl, euler, rescale, count] = all;
      const config = noNoiseAtZero(merge([b, t, n, sp, so, n.use_flow_sigmas ? {} : cl, { euler_at_final: euler }]));
      // Labels of a grid in sigma turn on the rounding of the shifted table.
      if (rescale && !Object.keys(n).some((key) => key.startsWith('use_'))) {
        Object.assign(config, { rescale_betas_zero_snr: true, prediction_type: 'v_prediction' });
      }
      const ask = { steps: count };
      fc.pre(endsBelow('DPMSolverMultistepScheduler', config, ask));
      compare('DPMSolverMultistepScheduler', config, ask);
    }),
    { numRuns: 250 },
  );
});

test('DPMSolverSinglestepScheduler', async () => {
  await check(
    fc.property(betas, thresholding, noises, solver, clipped, steps, (b, t, n, so, cl, count) => {
      const config = noNoiseAtZero(merge([b, t, n, so, n.use_flow_sigmas ? {} : cl]));
      const ask = { steps: count };
      fc.pre(endsBelow('DPMSolverSinglestepScheduler', config, ask));
      // A step of two or three stages that ends at sigma = 0 is NaN in diffusers.
      fc.pre(config.final_sigmas_type === 'sigma_min' || singlestepOrders(config, count)[count - 1] === 1);
      compare('DPMSolverSinglestepScheduler', config, ask);
    }),
    { numRuns: 250 },
  );
});

test('DPMSolverMultistepInverseScheduler', async () => {
  await check(
    fc.property(betas, thresholding, predictions, grids, spacing, solver, clipped, steps, (...all) => {
      const [b, t, p, g, sp, so, cl, count] = all;
      const algorithm_type = so.algorithm_type.replace('sde-', '');
      const { sigma_min, sigma_max, ...kinds } = g;
      const config = merge([b, t, p, kinds, sp, so, cl, { algorithm_type }]);
      const ask = { steps: count };
      const { labels } = grid('DPMSolverMultistepInverseScheduler', config, ask);
      // diffusers drops repeated labels and keeps their sigmas; so do not compare there.
      fc.pre(labels.every((label, i) => i === 0 || label - labels[i - 1] > 1.01));
      fc.pre(endsBelow('DPMSolverMultistepInverseScheduler', config, ask));
      compare('DPMSolverMultistepInverseScheduler', config, ask);
    }),
    { numRuns: 150 },
  );
});

test('UniPCMultistepScheduler', async () => {
  await check(
    fc.property(
      betas,
      thresholding,
      noises,
      spacing,
      solver,
      fc.constantFrom('bh1', 'bh2'),
      bool,
      fc.constantFrom([], [0], [1, 2]),
      steps,
      (b, t, n, sp, so, bh, data, disable, count) => {
        const { algorithm_type, ...rest } = so;
        const config = merge([
          b,
          data ? t : {},
          n,
          sp,
          rest,
          { solver_type: bh, predict_x0: data, disable_corrector: disable },
        ]);
        // Of order above 1 into sigma = 0, or in noise form, the published update is NaN.
        if (!data || config.lower_order_final === false) config.final_sigmas_type = 'sigma_min';
        const ask = { steps: count };
        fc.pre(endsBelow('UniPCMultistepScheduler', config, ask));
        compare('UniPCMultistepScheduler', config, ask);
      },
    ),
    { numRuns: 250 },
  );
});

test('DEISMultistepScheduler', async () => {
  await check(
    fc.property(
      betas,
      thresholding,
      noises,
      spacing,
      fc.constantFrom(1, 2, 3),
      bool,
      steps,
      (b, t, n, sp, order, lower, count) => {
        const config = merge([b, t, n, sp, { solver_order: order, lower_order_final: lower }]);
        const ask = { steps: count };
        fc.pre(endsBelow('DEISMultistepScheduler', config, ask));
        compare('DEISMultistepScheduler', config, ask);
      },
    ),
    { numRuns: 150 },
  );
});

test('DDIMScheduler', async () => {
  await check(
    fc.property(
      betas,
      thresholding,
      predictions,
      spacing,
      bool,
      bool,
      bool,
      fc.constantFrom(0.5, 1, 2),
      fc.constantFrom(0, 0, 0.3, 1),
      bool,
      steps,
      (b, t, p, sp, clip, one, rescale, limit, eta, useClippedModelOutput, count) => {
        const config = merge([b, t, p, sp, { clip_sample: clip, clip_sample_range: limit, set_alpha_to_one: one }]);
        if (rescale) Object.assign(config, { rescale_betas_zero_snr: true, prediction_type: 'v_prediction' });
        compare('DDIMScheduler', config, { steps: count, eta, useClippedModelOutput });
      },
    ),
    { numRuns: 150 },
  );
});

test('PNDMScheduler', async () => {
  await check(
    fc.property(betas, spacing, bool, bool, bool, steps, (b, sp, v, one, skip, count) => {
      fc.pre(skip || count >= 4);
      const prediction_type = v ? 'v_prediction' : 'epsilon';
      compare('PNDMScheduler', merge([b, sp, { prediction_type, set_alpha_to_one: one, skip_prk_steps: skip }]), {
        steps: count,
      });
    }),
    { numRuns: 100 },
  );
});

test('EDMDPMSolverMultistepScheduler', async () => {
  await check(
    fc.property(
      solver,
      thresholding,
      bool,
      bool,
      fc.constantFrom('karras', 'exponential'),
      fc.constantFrom(0.5, 1),
      fc.constantFrom(3, 7),
      steps,
      (so, t, v, euler, sigma_schedule, sigma_data, rho, count) => {
        const config = merge([so, t, { euler_at_final: euler, sigma_schedule, sigma_data, rho }]);
        config.prediction_type = v ? 'v_prediction' : 'epsilon';
        config.algorithm_type = so.algorithm_type.startsWith('sde') ? 'sde-dpmsolver++' : 'dpmsolver++';
        compare('EDMDPMSolverMultistepScheduler', config, { steps: count });
      },
    ),
    { numRuns: 100 },
  );
});

test('a part of the schedule, timesteps, sigmas and shifts of the caller', async () => {
  const sequence = (max: number) =>
    fc
      .uniqueArray(fc.integer({ min: 1, max }), { minLength: 1, maxLength: 12 })
      .map((list) => list.sort((a, b) => b - a));
  await check(
    fc.property(
      fc.constantFrom('DPMSolverMultistep', 'DPMSolverSinglestep', 'UniPCMultistep', 'DEISMultistep'),
      fc.constantFrom('timesteps', 'sigmas', 'flow', 'mu', 'begin'),
      sequence(390),
      fc.integer({ min: 0, max: 30 }),
      fc.constantFrom(1, 2, 3),
      (kind, what, list, place, order) => {
        const name = `${kind}Scheduler`;
        const flow = what === 'flow' || what === 'mu';
        const config: Config = {
          num_train_timesteps: 400,
          solver_order: order,
          final_sigmas_type: 'sigma_min',
          ...(flow ? { use_flow_sigmas: true, prediction_type: 'flow_prediction', flow_shift: 2 } : {}),
          ...(what === 'mu' ? { use_dynamic_shifting: true } : {}),
        };
        const ask: Ask = {
          timesteps: { timesteps: list },
          sigmas: { sigmas: list.map((i) => i / 40) },
          flow: { sigmas: list.map((i) => i / 400) },
          mu: { steps: list.length, mu: place / 10 },
          begin: { steps: list.length, begin: place % list.length },
        }[what];
        fc.pre(endsBelow(name, config, ask));
        compare(name, config, ask);
      },
    ),
    { numRuns: 300 },
  );
});

test.run();
