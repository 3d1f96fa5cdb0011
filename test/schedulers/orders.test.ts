// Orders of convergence on a Gaussian, of which the exact score and the exact solution are known.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  DDIMScheduler,
  DEISMultistepScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  EulerDiscreteScheduler,
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
  HeunDiscreteScheduler,
  IPNDMScheduler,
  KDPM2DiscreteScheduler,
  LMSDiscreteScheduler,
  PNDMScheduler,
  SASolverScheduler,
  type Scheduler,
  type TimestepOptions,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';

const MEAN = 0.3;
const SPREAD = 0.6;
const Z = [-1.5, 0.2, 2];
const dims = [1, Z.length];
const CONFIG = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  final_sigmas_type: 'sigma_min',
  lower_order_final: false,
};

/** alpha, sigma and the standard deviation of x at sigma / alpha = k. */
function at(k: number) {
  const alpha = 1 / Math.sqrt(k * k + 1);
  const sigma = k * alpha;
  return { alpha, sigma, deviation: Math.hypot(alpha * SPREAD, sigma) };
}

/** The exact solution of the ODE: x keeps its place within the distribution. */
const exact = (k: number) => Float64Array.from(Z, (z) => at(k).alpha * MEAN + at(k).deviation * z);

/** The largest error after a run, or `left` evaluations before its end. */
function error(s: Scheduler, request: number | TimestepOptions, left = 0): number {
  s.setTimesteps(request);
  const { sigmas } = s;
  const count = s.timesteps.length - left;
  let x = { data: exact(sigmas[0]), dims };
  for (let i = 0; i < count; i++) {
    const { alpha, sigma, deviation } = at(sigmas[i]);
    const data = x.data.map((value) => (sigma * (value - alpha * MEAN)) / deviation ** 2);
    x = s.step({ data, dims }, s.timesteps[i], x) as typeof x;
  }
  const end = exact(sigmas[count]);
  return Math.max(...x.data.map((value, i) => Math.abs(value - end[i])));
}

const probe = DPMSolverMultistepScheduler.fromConfig(CONFIG);
probe.setTimesteps(1);
const LEAST = probe.sigmas[1];
/** n steps of equal length in lambda, down to the last sigma of training. */
const even = (n: number, from: number) => ({
  sigmas: Array.from({ length: n }, (_, i) => from * (LEAST / from) ** (i / n)),
});

/** The order between n and 2n steps. */
function order(make: () => Scheduler, n: number, from = 10): number {
  return Math.log2(error(make(), even(n, from)) / error(make(), even(2 * n, from)));
}

const orders: [string, number, number, () => Scheduler, number, number?][] = [];
for (const p of [1, 2, 3] as const) {
  for (const solver_type of ['bh1', 'bh2']) {
    for (const predict_x0 of [true, false]) {
      const config = { ...CONFIG, solver_order: p, solver_type, predict_x0 };
      const least = [1.85, 2.85, 3.6][p - 1];
      const name = `UniPC-${p}, ${solver_type}, ${predict_x0 ? 'data' : 'noise'}`;
      orders.push([name, least, p < 3 ? p + 1.2 : 6, () => UniPCMultistepScheduler.fromConfig(config), 40]);
    }
  }
  const none = { ...CONFIG, solver_order: p, disable_corrector: Array.from({ length: 200 }, (_, i) => i) };
  orders.push([`UniP-${p}`, p - 0.1, p + 0.9, () => UniPCMultistepScheduler.fromConfig(none), 80, 1000]);
  const deis = { ...CONFIG, solver_order: p };
  orders.push([`DEIS-${p}`, p - 0.1, p + 1.2, () => DEISMultistepScheduler.fromConfig(deis), 80, 1000]);
  for (const algorithm_type of ['dpmsolver', 'dpmsolver++']) {
    for (const solver_type of ['midpoint', 'heun']) {
      const config = { ...CONFIG, solver_order: p, algorithm_type, solver_type };
      const name = `${algorithm_type}-${p} ${solver_type}`;
      orders.push([`singlestep ${name}`, p - 0.2, p + 0.3, () => DPMSolverSinglestepScheduler.fromConfig(config), 72]);
      // The published third-order update is of second order.
      const published = Math.min(p, 2);
      orders.push([
        `multistep ${name}`,
        published - 0.1,
        published + 0.3,
        () => DPMSolverMultistepScheduler.fromConfig(config),
        80,
      ]);
    }
  }
}
for (const [name, least, most, make, n, from] of orders) {
  test(`${name} has its order`, () => {
    const found = order(make, n, from);
    assert.ok(found >= least && found <= most, `${found.toFixed(2)}, expected ${least} to ${most}`);
  });
}

// The mean of one step of SDE-DPM-Solver++, after two others, where x0 is lambda^2: with the wrong sign in front of 1/2
// the error falls with h^2 only.
for (const Class of [DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler]) {
  test(`${Class.name}: the third-order SDE update has the right sign`, () => {
    const errors = [0.2, 0.1, 0.05].map((h) => {
      const heun = {
        solver_order: 3,
        solver_type: 'heun',
        algorithm_type: 'sde-dpmsolver++',
        prediction_type: 'sample',
      };
      const s = Class.fromConfig({ ...CONFIG, ...heun });
      s.setTimesteps({ sigmas: Array.from({ length: 6 }, (_, i) => 3 * Math.exp(-i * h)) });
      const { sigmas } = s;
      const zeros = { data: new Float64Array(3), dims };
      const lambda = (i: number) => -Math.log(sigmas[i]);
      // What each call starts from does not matter: but for the first of a singlestep step, which is its base.
      let x: unknown;
      for (let i = 0; i < 3; i++) {
        const output = { data: new Float64Array(3).fill(lambda(i) ** 2), dims };
        x = s.step(output, s.timesteps[i], zeros, { noise: zeros }).data;
      }
      const from = Class === DPMSolverSinglestepScheduler ? 0 : 2;
      const { alpha } = at(sigmas[3]);
      // The integral of 2 e^{2 (l - l_t)} l^2 from the base to the target.
      const primitive = (l: number) => Math.exp(2 * (l - lambda(3))) * (l * l - l + 0.5);
      return Math.abs((x as Float64Array)[0] - alpha * (primitive(lambda(3)) - primitive(lambda(from))));
    });
    if (Class === DPMSolverSinglestepScheduler) {
      // Its weights are exact for quadratic predictions.
      assert.ok(Math.max(...errors) < 1e-14, errors.join(' '));
      return;
    }
    const found = [Math.log2(errors[0] / errors[1]), Math.log2(errors[1] / errors[2])];
    for (const order of found) assert.ok(order > 2.7, found.join(' '));
  });
}

// Of a target of one point every prediction is right, so that nothing is left of the noise at sigma = 0.
for (const Class of [DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler]) {
  test(`${Class.name}: every algorithm ends at the only point there is`, () => {
    for (const algorithm_type of ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++']) {
      for (const solver_order of [1, 2, 3]) {
        for (const thresholding of [false, true]) {
          const s = Class.fromConfig({
            ...CONFIG,
            algorithm_type,
            solver_order,
            thresholding,
            final_sigmas_type: 'zero',
          });
          for (const steps of [2, 6, 7, 8]) {
            s.setTimesteps(steps);
            let x = { data: exact(s.sigmas[0]), dims };
            for (const [i, t] of s.timesteps.entries()) {
              const { alpha, sigma } = at(s.sigmas[i]);
              const data = x.data.map((value) => (value - alpha * MEAN) / sigma);
              x = s.step({ data, dims }, t, x, { seed: 3 }) as typeof x;
            }
            const what = `${algorithm_type} ${solver_order} thresholding ${thresholding} ${steps}`;
            for (const value of x.data) assert.ok(Math.abs(value - MEAN) < 1e-9, `${what}: ${value}`);
          }
        }
      }
    }
  });
}

// Their steps are even in the label, which has a square root at the data's end: measured down to label 200.
test('DDIM is of first order', () => {
  const make = () => DDIMScheduler.fromConfig({ ...CONFIG, clip_sample: false });
  const found = Math.log2(error(make(), 50, 11) / error(make(), 100, 21));
  assert.ok(found > 0.95 && found < 1.1, String(found));
});

for (const skip_prk_steps of [true, false]) {
  test(`PNDM is of second order, skip_prk_steps ${skip_prk_steps}`, () => {
    const make = () => PNDMScheduler.fromConfig({ ...CONFIG, skip_prk_steps });
    const found = Math.log2(error(make(), 50, 11) / error(make(), 100, 21));
    assert.ok(found > 1.85 && found < 2.2, String(found));
  });
}

// The samplers in sigma, x = x0 + sigma epsilon, where the exact solution is (x - mean) / sqrt(spread^2 + sigma^2).
const stretched = (sigma: number) => Float64Array.from(Z, (z) => MEAN + Math.hypot(SPREAD, sigma) * z);

/** The largest error at the sigma of the last evaluation; the grids end at 0, where no order can be held. */
function sigmaError(s: Scheduler, sigmas: readonly number[]): number {
  s.setTimesteps({ sigmas });
  const last = s.timesteps.length - 1;
  let x = { data: stretched(s.sigmas[0]), dims };
  for (let i = 0; i < last; i++) {
    const sigma = s.sigmas[i];
    const data = x.data.map((value) => (sigma * (value - MEAN)) / (SPREAD ** 2 + sigma ** 2));
    x = s.step({ data, dims }, s.timesteps[i], x) as typeof x;
  }
  const end = stretched(s.sigmas[last]);
  return Math.max(...x.data.map((value, i) => Math.abs(value - end[i])));
}

for (const [name, make, least, most] of [
  ['Euler', () => EulerDiscreteScheduler.fromConfig(CONFIG), 0.9, 1.1],
  ['Heun', () => HeunDiscreteScheduler.fromConfig(CONFIG), 1.9, 2.15],
  ['KDPM2', () => KDPM2DiscreteScheduler.fromConfig(CONFIG), 1.9, 2.15],
  // The first steps are of orders 1 to 3, and so leave h^2.
  ['LMS', () => LMSDiscreteScheduler.fromConfig(CONFIG), 1.8, 3],
] as const) {
  test(`${name} has its order in sigma`, () => {
    const grid = (n: number) => Array.from({ length: n + 1 }, (_, i) => 3 * (0.1 / 3) ** (i / n));
    const found = Math.log2(sigmaError(make(), grid(40)) / sigmaError(make(), grid(80)));
    assert.ok(found >= least && found <= most, found.toFixed(2));
  });
}

test('the flow classes have their orders', () => {
  // u = d x / d sigma of x = (1 - sigma) x0 + sigma epsilon for Gaussian data.
  const spread = (t: number) => Math.hypot((1 - t) * SPREAD, t);
  const place = (t: number) => Float64Array.from(Z, (z) => (1 - t) * MEAN + spread(t) * z);
  const error = (s: Scheduler, n: number): number => {
    s.setTimesteps({ sigmas: Array.from({ length: n + 1 }, (_, i) => 0.9 - (0.8 * i) / n) });
    const last = s.timesteps.length - 1;
    let x = { data: place(s.sigmas[0]), dims };
    for (let i = 0; i < last; i++) {
      const t = s.sigmas[i];
      const slope = (t - (1 - t) * SPREAD ** 2) / spread(t) ** 2;
      const data = x.data.map((value) => -MEAN + slope * (value - (1 - t) * MEAN));
      x = s.step({ data, dims }, s.timesteps[i], x) as typeof x;
    }
    const end = place(s.sigmas[last]);
    return Math.max(...x.data.map((value, i) => Math.abs(value - end[i])));
  };
  for (const [Class, least, most] of [
    [FlowMatchEulerDiscreteScheduler, 0.9, 1.1],
    [FlowMatchHeunDiscreteScheduler, 1.9, 2.1],
  ] as const) {
    const found = Math.log2(error(Class.fromConfig({}), 30) / error(Class.fromConfig({}), 60));
    assert.ok(found > least && found < most, `${Class.name}: ${found.toFixed(2)}`);
  }
});

test('SA-Solver without noise: predictor p alone has order p, and its corrector of p + 1 nodes one more', () => {
  for (const algorithm_type of ['data_prediction', 'noise_prediction']) {
    for (const [predictor_order, corrector_order, least, most] of [
      [1, 1, 0.9, 1.2],
      [1, 2, 1.8, 2.2],
      [2, 3, 2.7, 3.4],
      [3, 4, 3.4, 5],
    ]) {
      const config = { ...CONFIG, algorithm_type, predictor_order, corrector_order, tau_func: () => 0 };
      const found = order(() => SASolverScheduler.fromConfig(config), 60, 10);
      const what = `${algorithm_type}, ${predictor_order} and ${corrector_order}`;
      assert.ok(found >= least && found <= most, `${what}: ${found.toFixed(2)}`);
    }
  }
});

test('IPNDM is of second order, by its first step', () => {
  const error = (n: number): number => {
    const s = IPNDMScheduler.fromConfig({});
    s.setTimesteps(n);
    // alpha = cos, sigma = sin of the time in right angles; v = alpha epsilon - sigma x0 of Gaussian data.
    const at = (i: number) => {
      const angle = (s.timesteps[i] * Math.PI) / 2;
      const [alpha, sigma] = [Math.cos(angle), Math.sin(angle)];
      return { alpha, sigma, deviation: Math.hypot(alpha * SPREAD, sigma) };
    };
    const place = (i: number) => Float64Array.from(Z, (z) => at(i).alpha * MEAN + at(i).deviation * z);
    const from = n / 4;
    const to = (3 * n) / 4;
    s.setBeginIndex(from);
    let x = { data: place(from), dims };
    for (let i = from; i < to; i++) {
      const { alpha, sigma, deviation } = at(i);
      const data = x.data.map((value) => {
        const epsilon = (sigma * (value - alpha * MEAN)) / deviation ** 2;
        return alpha * epsilon - sigma * ((value - sigma * epsilon) / alpha);
      });
      x = s.step({ data, dims }, s.timesteps[i], x) as typeof x;
    }
    const end = place(to);
    return Math.max(...x.data.map((value, i) => Math.abs(value - end[i])));
  };
  const found = Math.log2(error(40) / error(80));
  assert.ok(found > 1.7 && found < 2.4, found.toFixed(2));
});

test.run();
