import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, betasForZeroTerminalSnr } from '../../lib/schedule/betas.js';
import {
  fixedOrders,
  type GridOptions,
  multistepOrders,
  requireFiniteLambda,
  type SkipType,
  singlestepOrders,
  singlestepPlan,
  timeGrid,
} from '../../lib/schedule/grid.js';
import { NoiseSchedule } from '../../lib/schedule/noise-schedule.js';

const skipTypes: SkipType[] = ['time_uniform', 'logSNR', 'time_quadratic', 'karras', 'exponential', 'beta'];
const linear = NoiseSchedule.linear();
const flow = NoiseSchedule.flow({ shift: 3 });
const stableDiffusion = NoiseSchedule.discrete({ betas: betas('scaled_linear') });
const zeroTerminalSnr = NoiseSchedule.discrete({
  betas: betasForZeroTerminalSnr(betas('scaled_linear')),
  clip: false,
});
const finite: NoiseSchedule[] = [
  linear,
  NoiseSchedule.cosine(),
  NoiseSchedule.edm(),
  stableDiffusion,
  NoiseSchedule.discrete({ betas: betas('squaredcos_cap_v2') }),
  NoiseSchedule.discrete({ betas: betas('squaredcos_cap_v2'), clip: 'official' }),
];

function throwsWith(f: () => unknown, type: typeof RangeError | typeof TypeError, message: RegExp): void {
  assert.throws(f, (e: Error) => e instanceof type && (message.test(e.message) || assert.match(e.message, message)));
}

function close(actual: number, expected: number, tolerance: number, what = ''): void {
  const e = Math.abs(actual - expected);
  assert.ok(e <= tolerance * (1 + Math.abs(expected)), `${what}: ${actual} is not ${expected} (off by ${e})`);
}

function monotone(grid: ArrayLike<number>): boolean {
  const down = grid[0] > grid[grid.length - 1];
  for (let i = 0; i + 1 < grid.length; i++) {
    if (down ? !(grid[i] > grid[i + 1]) : !(grid[i] < grid[i + 1])) return false;
  }
  return true;
}

test('01 each grid is equispaced in its own variable', () => {
  const N = 12;
  const edm = NoiseSchedule.edm();
  const rho = 7;
  for (const schedule of finite) {
    const scales: [SkipType, (t: number) => number][] = [
      ['time_uniform', (t) => t],
      ['time_quadratic', Math.sqrt],
      ['logSNR', (t) => schedule.lambda(t)],
      ['exponential', (t) => schedule.lambda(t)],
      ['karras', (t) => Math.exp(-schedule.lambda(t) / rho)],
    ];
    for (const [skipType, scale] of scales) {
      const grid = timeGrid(schedule, { skipType, steps: N });
      assert.is(grid.length, N + 1);
      const [first, last] = [scale(schedule.T), scale(schedule.epsilon)];
      grid.forEach((t, i) => {
        close(scale(t), first + ((last - first) * i) / N, 1e-12, `${schedule.kind} ${skipType} ${i}`);
      });
    }
  }
  // Karras et al. 2022, eq. 5 as it stands there.
  const karras = timeGrid(edm, { skipType: 'karras', steps: 17 });
  karras.forEach((t, i) => {
    const expected = (80 ** (1 / rho) + (i / 17) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho;
    assert.ok(Math.abs(t / expected - 1) < 1e-12);
  });
});

test('02 the beta grid: Beta(0.6, 0.6) quantiles in sigma / alpha', () => {
  // Quantiles to 50 digits, written by fixtures/schedule.py.
  const fixture: { betaQuantiles: [number, number, number, string][] } = JSON.parse(
    readFileSync(new URL('../fixtures/schedule.json', import.meta.url), 'utf8'),
  );
  const quantiles = new Map(
    fixture.betaQuantiles.filter(([, a, b]) => a === 0.6 && b === 0.6).map(([p, , , x]) => [p, Number(x)]),
  );
  for (const schedule of finite) {
    const grid = timeGrid(schedule, { skipType: 'beta', steps: 10 });
    const s = (t: number) => Math.exp(-schedule.lambda(t));
    const [max, min] = [s(schedule.T), s(schedule.epsilon)];
    for (const i of [1, 2, 4, 5, 6, 8, 9]) {
      close(s(grid[i]), min + (max - min) * quantiles.get((10 - i) / 10)!, 1e-12, `${schedule.kind} ${i}`);
    }
  }
});

test('03 ends are exact, times strictly monotone and within the schedule, both ways', () => {
  for (const schedule of finite) {
    const [low, high] = [Math.max(schedule.range[0], 1e-6), Math.min(schedule.range[1], 1e3)];
    const time = fc.double({ min: low, max: high, noNaN: true });
    fc.assert(
      fc.property(
        time,
        time,
        fc.integer({ min: 1, max: 60 }),
        fc.constantFrom(...skipTypes),
        (a, b, steps, skipType) => {
          fc.pre(Math.abs(a - b) > 1e-6);
          const there = timeGrid(schedule, { skipType, steps, tStart: a, tEnd: b });
          assert.is(there.length, steps + 1);
          assert.is(there[0], a);
          assert.is(there[steps], b);
          assert.ok(monotone(there));
          // An inversion sees the same times.
          assert.equal(timeGrid(schedule, { skipType, steps, tStart: b, tEnd: a }), there.reverse());
        },
      ),
      { numRuns: 300, seed: 1 },
    );
  }
});

test('04 defaults are time_uniform from T to epsilon', () => {
  const grid = timeGrid(linear, { steps: 4 });
  assert.equal(grid, timeGrid(linear, { skipType: 'time_uniform', steps: 4, tStart: 1, tEnd: 1e-3 }));
  assert.equal(Array.from(timeGrid(flow, { steps: 4 })), [1, 0.75, 0.5, 0.25, 0]);
});

test('05 a list of times is taken as it is, and copied', () => {
  const times = [0.9, 0.5, 0.1];
  const grid = timeGrid(linear, { skipType: times });
  assert.equal(Array.from(grid), times);
  times[1] = 0.6;
  assert.is(grid[1], 0.5);
  assert.equal(timeGrid(linear, { skipType: [0.9, 0.1], steps: 1, tStart: 0.9, tEnd: 0.1 }), Float64Array.of(0.9, 0.1));
  assert.equal(timeGrid(flow, { skipType: [0, 0.5, 1] }), Float64Array.of(0, 0.5, 1));
});

test('06 orders of multistep updates', () => {
  assert.equal(multistepOrders(6, 3, true), [1, 2, 3, 3, 2, 1]);
  assert.equal(multistepOrders(6, 3, false), [1, 2, 3, 3, 3, 3]);
  assert.equal(multistepOrders(9, 2, true), [1, 2, 2, 2, 2, 2, 2, 2, 1]);
  assert.equal(multistepOrders(10, 2, true), [1, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
  assert.equal(multistepOrders(10, 2, 11), [1, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
  assert.equal(multistepOrders(10, 2, 10), multistepOrders(10, 2, true));
  assert.equal(multistepOrders(3, 1, Infinity), [1, 1, 1]);
  assert.equal(multistepOrders(3, 3, true), [1, 2, 1]);
  assert.equal(multistepOrders(1, 3, true), [1]);
  assert.equal(multistepOrders(2, 2, 0), [1, 2]);
});

test('07 orders of singlestep updates', () => {
  assert.equal(singlestepOrders(9, 3), [3, 3, 2, 1]);
  assert.equal(singlestepOrders(10, 3), [3, 3, 3, 1]);
  assert.equal(singlestepOrders(11, 3), [3, 3, 3, 2]);
  assert.equal(
    [1, 2, 3, 4].map((n) => singlestepOrders(n, 3)),
    [[1], [2], [2, 1], [3, 1]],
  );
  assert.equal(singlestepOrders(6, 2), [2, 2, 2]);
  assert.equal(singlestepOrders(7, 2), [2, 2, 2, 1]);
  assert.equal(singlestepOrders(1, 2), [1]);
  assert.equal(singlestepOrders(3, 1), [1, 1, 1]);
  assert.equal(fixedOrders(11, 3), [3, 3, 3]);
  for (let n = 1; n <= 100; n++) {
    for (const order of [1, 2, 3]) {
      assert.is(
        singlestepOrders(n, order).reduce((a, b) => a + b),
        n,
      );
    }
  }
});

test('08 singlestep plans: ends of steps and their stages', () => {
  // In time: step ends are nodes of the 10-step grid.
  const grid = timeGrid(linear, { steps: 10 });
  const plan = singlestepPlan(linear, { steps: 10, order: 3, fixed: false });
  assert.equal(plan.orders, [3, 3, 3, 1]);
  assert.equal(Array.from(plan.outer), [grid[0], grid[3], grid[6], grid[9], grid[10]]);
  plan.inner.flat().forEach((t, i) => {
    close(t, grid[[1, 2, 4, 5, 7, 8][i]], 1e-15);
  });
  assert.equal(
    plan.inner.map((stages) => stages.length),
    [2, 2, 2, 0],
  );
  // In lambda: steps of one size, whatever their orders.
  for (const skipType of ['logSNR', 'exponential'] as const) {
    const even = singlestepPlan(linear, { steps: 9, order: 3, skipType, fixed: false });
    assert.equal(even.orders, [3, 3, 2, 1]);
    assert.equal(even.outer, timeGrid(linear, { skipType, steps: 4 }));
    const h = (linear.lambda(1e-3) - linear.lambda(1)) / 4;
    even.inner.forEach((stages, i) => {
      stages.forEach((t, j) => {
        close(linear.lambda(t), linear.lambda(1) + h * (i + (j + 1) / even.orders[i]), 1e-12);
      });
    });
  }
  // Fixed: 11 evaluations make three steps of order 3.
  const fixed = singlestepPlan(linear, { steps: 11, order: 3, fixed: true });
  assert.equal(fixed.outer, timeGrid(linear, { steps: 3 }));
  assert.equal(fixed.orders, [3, 3, 3]);
});

test('09 singlestep plans of a list of times: stages evenly in lambda', () => {
  const times = [0.9, 0.8, 0.6, 0.5, 0.3, 0.2, 0.1];
  const plan = singlestepPlan(linear, { skipType: times, order: 3, fixed: false });
  assert.equal(plan.orders, [3, 2, 1]);
  assert.equal(Array.from(plan.outer), [0.9, 0.5, 0.2, 0.1]);
  plan.inner.forEach((stages, i) => {
    const s = linear.lambda(plan.outer[i]);
    const h = linear.lambda(plan.outer[i + 1]) - s;
    assert.is(stages.length, plan.orders[i] - 1);
    stages.forEach((t, j) => {
      close(linear.lambda(t), s + ((j + 1) / plan.orders[i]) * h, 1e-13);
    });
  });
  const fixed = singlestepPlan(linear, { skipType: times, order: 3, fixed: true });
  assert.equal(fixed.orders, [3, 3]);
  assert.equal(Array.from(fixed.outer), [0.9, 0.5, 0.1]);
  const back = singlestepPlan(linear, { skipType: times.toReversed(), order: 3, fixed: true });
  assert.equal(back.inner.flat().toReversed(), fixed.inner.flat());
});

test('10 stages lie strictly between the ends of their step', () => {
  const plan = (schedule: NoiseSchedule, o: GridOptions & { order: number; fixed: boolean }) => {
    const { orders, outer, inner } = singlestepPlan(schedule, o);
    assert.is(outer.length, orders.length + 1);
    orders.forEach((p, i) => {
      assert.is(inner[i].length, p - 1);
    });
    const all = orders.flatMap((_, i) => [outer[i], ...inner[i]]);
    assert.ok(monotone([...all, outer[orders.length]]));
    return all.length;
  };
  const order = fc.integer({ min: 1, max: 3 });
  for (const schedule of finite) {
    const ends = [schedule.T, schedule.epsilon];
    const property = fc.property(
      fc.integer({ min: 3, max: 60 }),
      order,
      fc.boolean(),
      fc.boolean(),
      fc.constantFrom(...skipTypes),
      (steps, p, fixed, invert, skipType) => {
        const [tStart, tEnd] = invert ? ends.toReversed() : ends;
        const evaluations = plan(schedule, { steps, order: p, fixed, skipType, tStart, tEnd });
        return evaluations === (fixed ? Math.floor(steps / p) * p : steps);
      },
    );
    fc.assert(property, { numRuns: 300, seed: 2 });
  }
  // Infinite lambda at both ends: fine in time.
  for (const skipType of ['time_uniform', 'time_quadratic'] as const) {
    plan(flow, { steps: 9, order: 3, fixed: true, skipType });
    plan(zeroTerminalSnr, { steps: 9, order: 2, fixed: false, skipType });
  }
  // A list with an infinite lambda where its last step has no stage.
  assert.is(plan(flow, { skipType: [0.9, 0.5, 0.2, 0], order: 2, fixed: false }), 3);
});

test('11 every network time of the published code, for all its schedules, grids and methods', () => {
  interface Case {
    id: string;
    config: {
      schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'continuous_linear';
      method: 'multistep' | 'singlestep' | 'singlestep_fixed' | 'adaptive';
      steps: number;
      order: number;
      skip_type: SkipType;
      t_start: number | null;
      t_end: number | null;
      inverse: boolean;
      denoise_to_zero: boolean;
    };
    expected: { model_times: number[] };
  }
  const { cases }: { cases: Case[] } = JSON.parse(
    readFileSync(new URL('../golden/dpm-solver.json', import.meta.url), 'utf8'),
  );
  let checked = 0;
  let worst = 0;
  for (const { id, config, expected } of cases) {
    if (config.method === 'adaptive') continue;
    const schedule =
      config.schedule === 'continuous_linear'
        ? linear
        : NoiseSchedule.discrete({ betas: betas(config.schedule), clip: 'official' });
    const [from, to] = config.inverse ? [schedule.epsilon, schedule.T] : [schedule.T, schedule.epsilon];
    const tStart = config.t_start ?? from;
    const tEnd = config.t_end ?? to;
    const options = { steps: config.steps, skipType: config.skip_type, tStart, tEnd };
    let times: number[];
    if (config.method === 'multistep') {
      times = Array.from(timeGrid(schedule, options).subarray(0, config.steps));
    } else {
      const fixed = config.method === 'singlestep_fixed';
      const { orders, outer, inner } = singlestepPlan(schedule, { ...options, order: config.order, fixed });
      times = orders.flatMap((_, i) => [outer[i], ...inner[i]]);
    }
    if (config.denoise_to_zero) times.push(tEnd);
    const model = times.map((t) => schedule.modelTime(t));
    assert.is(model.length, expected.model_times.length, id);
    expected.model_times.forEach((t, i) => {
      worst = Math.max(worst, Math.abs(model[i] - t) / Math.max(Math.abs(t), 1));
      close(model[i], t, 1e-9, `${id} evaluation ${i}`);
    });
    checked++;
  }
  assert.is(checked, 126);
  if (process.env.SHOW_ERRORS) console.log({ worst });
});

test('12 grids in lambda ask for other ends where lambda is infinite', () => {
  for (const skipType of ['logSNR', 'karras', 'exponential', 'beta'] as const) {
    throwsWith(
      () => timeGrid(flow, { skipType, steps: 5 }),
      RangeError,
      /^Expected a time with finite lambda for tStart with skipType '.*' but received 1, where lambda is -Infinity: set tStart below it$/,
    );
    throwsWith(
      () => timeGrid(flow, { skipType, steps: 5, tStart: 0.99 }),
      RangeError,
      /^Expected a time with finite lambda for tEnd with .* but received 0, where lambda is Infinity: set tEnd above it$/,
    );
    throwsWith(() => timeGrid(linear, { skipType, steps: 5, tEnd: 0 }), RangeError, /for tEnd/);
    throwsWith(() => timeGrid(zeroTerminalSnr, { skipType, steps: 5 }), RangeError, /for tStart/);
    throwsWith(() => singlestepPlan(flow, { skipType, steps: 5, order: 2, fixed: false }), RangeError, /for tStart/);
    assert.ok(monotone(timeGrid(flow, { skipType, steps: 5, tStart: 0.99, tEnd: 0.01 })));
  }
  throwsWith(
    () => singlestepPlan(flow, { skipType: [1, 0.7, 0.5], order: 2, fixed: true }),
    RangeError,
    /^Expected a time with finite lambda for tStart with a step of order 2 but received 1/,
  );
  throwsWith(
    () => requireFiniteLambda(flow, 0, 'tEnd', "method 'adaptive'"),
    RangeError,
    /for tEnd with method 'adaptive'/,
  );
  requireFiniteLambda(flow, 0.5, 'tEnd', "method 'adaptive'");
});

test('13 wrong arguments are refused', () => {
  const grid = (o: object, schedule = linear) => timeGrid(schedule, o as GridOptions);
  const bad: [() => unknown, typeof RangeError | typeof TypeError, RegExp][] = [
    [() => grid({}), TypeError, /^Expected a whole number of at least 1 for steps but received undefined/],
    [() => grid({ steps: 0 }), RangeError, /^Expected a whole number of at least 1 for steps but received 0$/],
    [() => grid({ steps: 2.5 }), RangeError, /for steps but received 2.5$/],
    [() => grid({ steps: '5' }), TypeError, /for steps but received '5' of type string$/],
    [
      () => grid({ steps: 5, skipType: 'logsnr' }),
      TypeError,
      /^Expected 'time_uniform', .* or 'beta' for skipType but received 'logsnr'/,
    ],
    [() => grid({ steps: 5, skipType: 7 }), TypeError, /^Expected an array of numbers for skipType but received 7/],
    [
      () => grid({ steps: 5, tStart: 1.5 }),
      RangeError,
      /^Expected a time between 0 and 1 for tStart but received 1.5, which is outside/,
    ],
    [() => grid({ steps: 5, tEnd: Number.NaN }), RangeError, /for tEnd but received NaN, which is outside/],
    [() => grid({ steps: 5, tEnd: '0' }), TypeError, /^Expected a number for tEnd/],
    [() => grid({ steps: 5, tStart: null }), TypeError, /^Expected a number for tStart/],
    [() => grid({ steps: 5, tEnd: 0.0005 }, stableDiffusion), RangeError, /for tEnd/],
    [
      () => grid({ steps: 5, tStart: 0.5, tEnd: 0.5 }),
      RangeError,
      /^Expected another time than tStart for tEnd but received 0.5$/,
    ],
    [
      () => grid({ steps: 50, tStart: 1, tEnd: 1 - 1e-15 }),
      RangeError,
      /^Expected fewer than 50 steps between 1 and .*, for steps/,
    ],
    [() => grid({ skipType: [0.5] }), RangeError, /^Expected at least two times for skipType but received 1$/],
    [
      () => grid({ skipType: [0.5, 0.5] }),
      RangeError,
      /^Expected strictly monotone times for skipType but received 0.5 after 0.5 at index 1$/,
    ],
    [() => grid({ skipType: [0.9, 0.5, 0.7, 0.1] }), RangeError, /received 0.7 after 0.5 at index 2$/],
    [() => grid({ skipType: [1.9, 0.5] }), RangeError, /for skipType\[0\] but received 1.9, which is outside/],
    [() => grid({ skipType: [0.9, '0.5'] }), TypeError, /for skipType\[1\] but received '0.5'/],
    [
      () => grid({ skipType: [0.9, 0.5], steps: 2 }),
      RangeError,
      /^Expected 1, as the times in skipType have it, for steps but received 2$/,
    ],
    [
      () => grid({ skipType: [0.9, 0.5], tStart: 1 }),
      RangeError,
      /^Expected 0.9, as the times in skipType have it, for tStart/,
    ],
    [
      () => grid({ skipType: [0.9, 0.5], tEnd: 0 }),
      RangeError,
      /^Expected 0.5, as the times in skipType have it, for tEnd/,
    ],
    [() => multistepOrders(0, 2, true), RangeError, /^Expected a whole number of at least 1 for steps/],
    [() => multistepOrders(5, 4, true), RangeError, /^Expected a whole number from 1 to 3 for order but received 4$/],
    [() => multistepOrders(5, 2, -1), RangeError, /^Expected a number of at least 0 for lowerOrderFinal/],
    [() => multistepOrders(5, 2, Number.NaN), RangeError, /for lowerOrderFinal but received NaN$/],
    [() => multistepOrders(5, 2, 'yes' as never), TypeError, /^Expected true, false or a number for lowerOrderFinal/],
    [() => singlestepOrders(0, 3), RangeError, /for steps but received 0$/],
    [() => singlestepOrders(5, 0), RangeError, /for order but received 0$/],
    [() => fixedOrders(2, 3), RangeError, /^Expected a whole number of at least 3 for steps but received 2$/],
    [() => singlestepPlan(linear, { steps: 5, order: 1.5, fixed: false }), RangeError, /for order but received 1.5$/],
    [() => singlestepPlan(linear, { order: 2, fixed: false }), TypeError, /for steps but received undefined/],
    [
      () => singlestepPlan(linear, { skipType: [0.9, 0.5, 0.2, 0.1], order: 2, fixed: true }),
      RangeError,
      /^Expected one time more than a multiple of order = 2 for skipType but received 4$/,
    ],
  ];
  for (const [f, type, message] of bad) throwsWith(f, type, message);
});

test.run();
