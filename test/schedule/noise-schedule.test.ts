import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { betaQuantile } from '../../lib/schedule/beta-distribution.js';
import { betas, betasForZeroTerminalSnr } from '../../lib/schedule/betas.js';
import { NoiseSchedule } from '../../lib/schedule/noise-schedule.js';

// Values to 50 digits, written by fixtures/schedule.py.
interface Fixture {
  betas: Record<string, [number, string][]>;
  schedules: {
    schedule: 'discrete' | 'linear' | 'cosine' | 'flow' | 'edm';
    options: Record<string, unknown>;
    at: [number, string, string, string, string][];
    inverse: [number, string][];
  }[];
  betaQuantiles: [number, number, number, string][];
}
const fixture: Fixture = JSON.parse(readFileSync(new URL('../fixtures/schedule.json', import.meta.url), 'utf8'));

const stableDiffusion = betas('scaled_linear');
const zeroTerminalSnr = betasForZeroTerminalSnr(stableDiffusion);

function betasNamed(name: string): Float64Array {
  return name === 'zero_terminal_snr' ? zeroTerminalSnr : betas(name as 'linear');
}

function build(kind: Fixture['schedules'][0]['schedule'], options: Record<string, unknown>): NoiseSchedule {
  if (kind !== 'discrete') return NoiseSchedule[kind](options);
  return NoiseSchedule.discrete({ ...options, betas: betasNamed(options.betas as string) });
}

const schedules: [string, NoiseSchedule][] = fixture.schedules.map(({ schedule, options }) => [
  `${schedule} ${JSON.stringify(options)}`,
  build(schedule, options),
]);

/** Relative error, absolute where 0 is expected. */
function error(actual: number, expected: number): number {
  if (actual === expected) return 0;
  return Math.abs(actual - expected) / (expected === 0 ? 1 : Math.abs(expected));
}

function throwsWith(f: () => unknown, type: typeof RangeError | typeof TypeError, message: RegExp): void {
  assert.throws(f, (e: Error) => e instanceof type && (message.test(e.message) || assert.match(e.message, message)));
}

const worst: Record<string, number> = {};
function track(what: string, value: number): number {
  worst[what] = Math.max(worst[what] ?? 0, value);
  return value;
}

test('01 every schedule agrees with 50-digit values', () => {
  fixture.schedules.forEach(({ at }, i) => {
    const [name, schedule] = schedules[i];
    for (const [t, ...strings] of at) {
      const [logAlpha, alpha, sigma, lambda] = strings.map(Number);
      const where = `${name} at ${t}`;
      // Relative errors, except for lambda near 0: cancellation at either end would show.
      const errors = {
        logAlpha: error(schedule.logAlpha(t), logAlpha),
        alpha: error(schedule.alpha(t), alpha),
        sigma: error(schedule.sigma(t), sigma),
        lambda: Math.abs(schedule.lambda(t) - lambda) / (1 + Math.abs(lambda)),
      };
      for (const [key, e] of Object.entries(errors)) {
        assert.ok(track(`${name.split(' ')[0]} ${key}`, e) <= 1e-13, `${where}: ${key} is off by ${e}`);
      }
    }
  });
});

test('02 the inverse agrees with 50-digit values', () => {
  fixture.schedules.forEach(({ inverse }, i) => {
    const [name, schedule] = schedules[i];
    for (const [lambda, t] of inverse) {
      const e = track(`${name.split(' ')[0]} inverse`, error(schedule.inverseLambda(lambda), Number(t)));
      assert.ok(e <= 1e-13, `${name} at lambda ${lambda} is off by ${e}`);
    }
  });
});

test('03 T, epsilon, kind and what the network is given', () => {
  const expected: [NoiseSchedule, string, number, number, [number, number][]][] = [
    [NoiseSchedule.linear(), 'linear', 1, 1e-3, [[0.25, 0.25]]],
    [NoiseSchedule.cosine(), 'cosine', 0.9946, 1e-3, [[0.25, 0.25]]],
    // sigma = 3 / 4 / (1 + 2 / 4)
    [NoiseSchedule.flow({ shift: 3 }), 'flow', 1, 0, [[0.25, 0.5]]],
    [NoiseSchedule.flow(), 'flow', 1, 0, [[0.25, 0.25]]],
    [NoiseSchedule.edm(), 'edm', 80, 0.002, [[7, 7]]],
    [NoiseSchedule.edm({ sigmaMin: 0.1, sigmaMax: 10 }), 'edm', 10, 0.1, [[100, 100]]],
    [
      NoiseSchedule.discrete({ betas: stableDiffusion }),
      'discrete',
      1,
      0.001,
      [
        [0.0015, 0.5],
        [1, 999],
      ],
    ],
    [NoiseSchedule.discrete({ betas: betas('linear', 50), clip: false }), 'discrete', 1, 0.02, [[0.5, 24]]],
  ];
  for (const [schedule, kind, T, epsilon, times] of expected) {
    assert.is(schedule.kind, kind);
    assert.is(schedule.T, T);
    assert.is(schedule.epsilon, epsilon);
    for (const [t, modelTime] of times) assert.is(schedule.modelTime(t), modelTime);
  }
});

test('04 the labels of training steps are whole numbers', () => {
  for (const [n, clip] of [
    [1000, 'tail'],
    [1000, 'official'],
    [997, 'tail'],
    [50, 'tail'],
    [4000, 'tail'],
  ] as const) {
    const schedule = NoiseSchedule.discrete({ betas: betas('linear', n, { end: 0.001 }), clip });
    for (let i = 0; i < n; i++) assert.is(schedule.modelTime((i + 1) / n), i);
  }
});

test("05 clip 'tail' drops the noisiest steps and keeps the labels of the others", () => {
  const cosine = betas('squaredcos_cap_v2');
  const all = NoiseSchedule.discrete({ betas: cosine, clip: false });
  const tail = NoiseSchedule.discrete({ betas: cosine });
  assert.is(tail.T, 0.996);
  assert.is(tail.modelTime(tail.T), 995);
  assert.ok(tail.lambda(tail.T) >= -5.1);
  assert.ok(all.lambda(0.997) < -5.1);
  for (let i = 0; i < 996; i++) assert.is(tail.lambda((i + 1) / 1000), all.lambda((i + 1) / 1000));
  assert.throws(() => tail.lambda(0.997), RangeError);
  // Nothing is dropped where lambda stays above.
  assert.is(NoiseSchedule.discrete({ betas: stableDiffusion }).T, 1);
  // As published for linear betas of 50, 100 and 250 steps: 4, 3 and 2 dropped.
  for (const [n, dropped] of [
    [50, 4],
    [100, 3],
    [250, 2],
  ]) {
    const scaled = betas('linear', n, { start: 0.1 / n, end: 20 / n });
    assert.is(NoiseSchedule.discrete({ betas: scaled }).T, (n - dropped) / n, `${n}`);
  }
});

test("06 clip 'official' stretches times and labels", () => {
  const cosine = betas('squaredcos_cap_v2');
  const all = NoiseSchedule.discrete({ betas: cosine, clip: false });
  const official = NoiseSchedule.discrete({ betas: cosine, clip: 'official' });
  assert.is(official.T, 1);
  assert.is(official.epsilon, 1 / 996);
  assert.is(official.lambda(1), all.lambda(0.996));
  assert.ok(error(official.modelTime(1), 1000 - 1000 / 996) < 1e-15);
  assert.is(official.modelTime(1 / 996), 0);
  for (let i = 0; i < 996; i++) {
    assert.ok(error(official.lambda((i + 1) / 996), all.lambda((i + 1) / 1000)) < 1e-12);
  }
});

test('07 alphasCumprod and betas say the same', () => {
  let product = 1;
  const alphasCumprod = Array.from(stableDiffusion, (beta) => {
    product *= 1 - beta;
    return product;
  });
  const a = NoiseSchedule.discrete({ betas: stableDiffusion });
  const b = NoiseSchedule.discrete({ alphasCumprod });
  for (let t = 0.001; t <= 1; t += 0.00077) assert.ok(error(b.lambda(t), a.lambda(t)) < 1e-11);
  // Arrays of any kind are taken, and copied.
  const floats = Float32Array.from(alphasCumprod);
  const c = NoiseSchedule.discrete({ alphasCumprod: floats });
  const before = c.lambda(0.5);
  assert.ok(error(before, a.lambda(0.5)) < 1e-6);
  floats.fill(0.5);
  assert.is(c.lambda(0.5), before);
});

test('08 ends are exact and known by kind', () => {
  const zero = NoiseSchedule.discrete({ betas: zeroTerminalSnr, clip: false });
  const clean = { alpha: 1, sigma: 0, lambda: Infinity, end: 1 };
  const noise = { alpha: 0, sigma: 1, lambda: -Infinity, end: 2 };
  for (const schedule of [
    NoiseSchedule.linear(),
    NoiseSchedule.cosine(),
    NoiseSchedule.flow(),
    NoiseSchedule.flow({ shift: 3 }),
    NoiseSchedule.flow({ shift: 0.3 }),
    NoiseSchedule.edm(),
  ]) {
    assert.equal(schedule.node(0), clean);
    assert.is(schedule.inverseLambda(Infinity), 0);
    assert.ok(Object.is(schedule.logAlpha(0), 0));
    assert.ok(Object.is(schedule.sigma(0), 0));
    assert.is(schedule.node(1e-12).end, 0);
  }
  for (const schedule of [NoiseSchedule.flow(), NoiseSchedule.flow({ shift: 3 }), zero]) {
    assert.equal(schedule.node(1), noise);
    assert.is(schedule.logAlpha(1), -Infinity);
    assert.is(schedule.inverseLambda(-Infinity), 1);
    assert.is(schedule.node(1 - 1e-12).end, 0);
  }
  for (const schedule of [NoiseSchedule.linear(), NoiseSchedule.cosine(), NoiseSchedule.edm()]) {
    assert.is(schedule.node(schedule.T).end, 0);
    assert.throws(() => schedule.inverseLambda(-Infinity), RangeError);
  }
  const sd = NoiseSchedule.discrete({ betas: stableDiffusion });
  assert.is(sd.node(sd.T).end, 0);
  assert.is(sd.node(sd.epsilon).end, 0);
  assert.throws(() => sd.inverseLambda(Infinity), RangeError);
});

test('09 zero terminal SNR is continuous, monotone and invertible between the last two steps', () => {
  const schedule = NoiseSchedule.discrete({ betas: zeroTerminalSnr, clip: false });
  const alpha = schedule.alpha(0.999);
  for (const w of [0, 1e-6, 0.25, 0.5, 0.9, 0.999]) {
    const t = (999 + w) / 1000;
    assert.ok(error(schedule.alpha(t), alpha * (1 - w)) < 1e-9, `${w}`);
    assert.ok(error(schedule.inverseLambda(schedule.lambda(t)), t) < 1e-14);
  }
  assert.ok(error(schedule.lambda(0.999 - 1e-12), schedule.lambda(0.999 + 1e-12)) < 1e-8);
  const last = { alphasCumprod: [0.9, 0.5, 0], clip: false } as const;
  assert.is(NoiseSchedule.discrete(last).node(1).end, 2);
});

/** Times of a schedule with a finite lambda, small ones included. */
function timesOf(schedule: NoiseSchedule): fc.Arbitrary<number> {
  const [low, high] = [Math.max(schedule.range[0], 1e-12), Math.min(schedule.range[1], 1e4)];
  const top = schedule.node(high).end === 2 ? 1 - 1e-9 : high;
  const uniform = fc.double({ min: low, max: top, noNaN: true });
  const logarithmic = fc.double({ min: Math.log(low), max: Math.log(top), noNaN: true });
  return fc.oneof(
    uniform,
    logarithmic.map((x) => Math.min(Math.max(Math.exp(x), low), top)),
  );
}

test('10 inverse and forward undo each other', () => {
  for (const [name, schedule] of schedules) {
    fc.assert(
      fc.property(timesOf(schedule), (t) => {
        const e = track(`${schedule.kind} inverse of forward`, error(schedule.inverseLambda(schedule.lambda(t)), t));
        return e < 1e-12;
      }),
      { numRuns: 500, seed: 1 },
    );
    const most = schedule.lambda(Math.max(schedule.range[0], 1e-12));
    const high = schedule.node(Math.min(schedule.range[1], 1e4));
    const least = high.end === 2 ? -8 : high.lambda;
    fc.assert(
      fc.property(fc.double({ min: least, max: most, noNaN: true }), (lambda) => {
        const e = Math.abs(schedule.lambda(schedule.inverseLambda(lambda)) - lambda);
        return track(`${schedule.kind} forward of inverse`, e) < 1e-11 * (1 + Math.abs(lambda));
      }),
      { numRuns: 500, seed: 2 },
    );
    assert.ok(name);
  }
});

test('11 lambda and alpha fall, sigma grows, alpha^2 + sigma^2 = 1 or alpha + sigma = 1', () => {
  for (const [name, schedule] of schedules) {
    fc.assert(
      fc.property(timesOf(schedule), timesOf(schedule), (s, t) => {
        if (Math.abs(s - t) <= 1e-9 * s) return true;
        const [early, late] = [schedule.node(Math.min(s, t)), schedule.node(Math.max(s, t))];
        const { alpha, sigma, lambda } = early;
        assert.ok(lambda > late.lambda && alpha >= late.alpha && sigma <= late.sigma, `${name} ${s} ${t}`);
        const one =
          schedule.kind === 'edm' ? alpha : schedule.kind === 'flow' ? alpha + sigma : alpha ** 2 + sigma ** 2;
        assert.ok(Math.abs(one - 1) < 1e-14);
        // exp turns the rounding of lambda into a relative error.
        assert.ok(error(Math.exp(lambda), alpha / sigma) < 1e-13 * (1 + Math.abs(lambda)));
        assert.ok(error(Math.exp(schedule.logAlpha(Math.min(s, t))), alpha) < 1e-13);
        return true;
      }),
      { numRuns: 300, seed: 3 },
    );
  }
});

test('12 a rounding error outside is brought back to the end', () => {
  const schedule = NoiseSchedule.discrete({ betas: stableDiffusion });
  assert.is(schedule.lambda(0.001 * (1 - 1e-15)), schedule.lambda(0.001));
  assert.is(schedule.lambda(1 + 2e-16), schedule.lambda(1));
  assert.is(schedule.inverseLambda(schedule.lambda(1) - 1e-14), 1);
  assert.is(schedule.inverseLambda(schedule.lambda(0.001) + 1e-14), 0.001);
});

test('13 betas agree with 50-digit values', () => {
  for (const [name, values] of Object.entries(fixture.betas)) {
    const actual = betasNamed(name);
    for (const [i, value] of values) {
      const e = track(`betas ${name}`, error(actual[i], Number(value)));
      assert.ok(e < 2e-13, `${name} ${i} is off by ${e}`);
    }
  }
  assert.equal(betas('linear', 1), Float64Array.of(0.0001));
  assert.equal(betas('linear', 3, { start: 0.25, end: 0.75 }), Float64Array.of(0.25, 0.5, 0.75));
  assert.equal(betas('squaredcos_cap_v2', 1), Float64Array.of(0.999));
  assert.is(betas('scaled_linear').length, 1000);
  assert.equal(betas('laplace', 2).length, 2);
  assert.equal(betas('sigmoid', 1, { start: 0.25, end: 0.75 }).length, 1);
});

test('14 zero-terminal-SNR betas keep the first step and leave nothing at the last', () => {
  assert.is(zeroTerminalSnr[0], stableDiffusion[0]);
  assert.is(zeroTerminalSnr[999], 1);
  assert.ok(zeroTerminalSnr.every((beta) => beta > 0 && beta <= 1));
  assert.is(stableDiffusion[999], 0.012);
});

test('15 quantiles of the beta distribution agree with 50-digit values', () => {
  for (const [p, a, b, x] of fixture.betaQuantiles) {
    const e = track('beta quantile', error(betaQuantile(p, a, b), Number(x)));
    assert.ok(e < 1e-14, `${p} ${a} ${b} is off by ${e}`);
  }
  assert.is(betaQuantile(0, 0.6, 0.6), 0);
  assert.is(betaQuantile(1, 0.6, 0.6), 1);
  // The arcsine distribution has a closed form.
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true }), (p) => {
      return error(betaQuantile(p, 0.5, 0.5), Math.sin((Math.PI * p) / 2) ** 2) < 1e-14;
    }),
    { seed: 4 },
  );
});

test('16 a schedule cannot be changed', () => {
  const schedule = NoiseSchedule.linear();
  assert.ok(Object.isFrozen(schedule));
  assert.throws(() => {
    (schedule as { T: number }).T = 2;
  }, TypeError);
  assert.throws(() => {
    (schedule.range as unknown as number[])[0] = 2;
  }, TypeError);
});

test('17 wrong options are refused', () => {
  const { discrete, linear, cosine, flow, edm } = NoiseSchedule as unknown as Record<string, (o?: unknown) => unknown>;
  const bad: [(o?: unknown) => unknown, unknown, typeof RangeError | typeof TypeError, RegExp][] = [
    [
      discrete,
      undefined,
      TypeError,
      /^Expected an object of options for NoiseSchedule.discrete but received undefined/,
    ],
    [
      discrete,
      {},
      TypeError,
      /^Expected either betas or alphasCumprod for NoiseSchedule.discrete but received neither$/,
    ],
    [discrete, { betas: [0.1, 0.2], alphasCumprod: [0.9, 0.8] }, TypeError, /received both$/],
    [discrete, { beta: [0.1, 0.2] }, TypeError, /received the option 'beta'; did you mean 'betas'\?$/],
    [
      discrete,
      { betas: [0.1, 0.2], clip: true },
      TypeError,
      /^Expected 'tail', 'official' or false for clip but received true/,
    ],
    [discrete, { betas: [0.1, 0.2], clip: 'none' }, TypeError, /clip but received 'none'/],
    [
      discrete,
      { betas: 'linear' },
      TypeError,
      /^Expected an array of numbers for betas but received 'linear' of type string$/,
    ],
    [discrete, { betas: null }, TypeError, /^Expected an array of numbers for betas but received null/],
    [discrete, { betas: { data: [0.1] } }, TypeError, /^Expected an array of numbers for betas but received Object/],
    [
      discrete,
      { betas: [0.1, '0.2'] },
      TypeError,
      /^Expected numbers for betas\[1\] but received '0.2' of type string$/,
    ],
    [discrete, { betas: new BigInt64Array(2) }, TypeError, /betas\[0\] but received 0 of type bigint/],
    [
      discrete,
      { betas: [0.1, 0.2, 0.3, 1.5] },
      RangeError,
      /^Expected numbers between 0 and 1 for betas but received 1.5 at index 3$/,
    ],
    [discrete, { betas: [0, 0.2] }, RangeError, /received 0 at index 0$/],
    [discrete, { betas: [0.1, Number.NaN] }, RangeError, /received NaN at index 1$/],
    [discrete, { betas: [1, 0.2] }, RangeError, /received 1 at index 0$/],
    [discrete, { betas: [] }, RangeError, /^Expected at least two numbers for betas but received 0$/],
    [discrete, { betas: [0.1] }, RangeError, /^Expected at least two numbers for betas but received 1$/],
    [
      discrete,
      { betas: [0.1, 0.5, 1] },
      RangeError,
      /^Expected clip: false for betas with zero terminal SNR but received 'tail'$/,
    ],
    [
      discrete,
      { alphasCumprod: [0.9, 0], clip: 'official' },
      RangeError,
      /^Expected clip: false .* received 'official'$/,
    ],
    [discrete, { betas: [0.999999, 0.9] }, RangeError, /^Expected at least two steps with lambda >= -5.1 for betas/],
    [
      discrete,
      { alphasCumprod: [0.9, 0.9] },
      RangeError,
      /^Expected strictly decreasing numbers for alphasCumprod but received 0.9 at index 1$/,
    ],
    [
      discrete,
      { alphasCumprod: [1, 0.9] },
      RangeError,
      /^Expected numbers between 0 and 1 for alphasCumprod but received 1 at index 0$/,
    ],
    [discrete, { alphasCumprod: [0.9, -0.1] }, RangeError, /received -0.1 at index 1$/],
    [discrete, { alphasCumprod: [0.9, 0, 0] }, RangeError, /received 0 at index 1$/],
    [
      linear,
      { beta_0: 1 },
      TypeError,
      /^Expected the options beta0 and beta1 for NoiseSchedule.linear but received the option 'beta_0'; did you mean 'beta0'\?$/,
    ],
    [linear, { beta0: '1' }, TypeError, /^Expected a positive number for beta0 but received '1' of type string$/],
    [linear, { beta0: 0 }, RangeError, /^Expected a positive number for beta0 but received 0$/],
    [linear, { beta1: Infinity }, RangeError, /^Expected a positive number for beta1 but received Infinity$/],
    [linear, { beta0: 2, beta1: 2 }, RangeError, /^Expected a number above beta0 = 2 for beta1 but received 2$/],
    [linear, 5, TypeError, /^Expected an object of options for NoiseSchedule.linear but received 5 of type number$/],
    [cosine, { S: 1 }, TypeError, /received the option 'S'; did you mean 's'\?$/],
    [cosine, { s: -1 }, RangeError, /^Expected a positive number for s but received -1$/],
    [flow, { shft: 3 }, TypeError, /received the option 'shft'; did you mean 'shift'\?$/],
    [flow, { shift: 0 }, RangeError, /^Expected a positive number for shift but received 0$/],
    [flow, { shift: null }, TypeError, /^Expected a positive number for shift but received null of type object$/],
    [edm, { sigma_min: 3 }, TypeError, /received the option 'sigma_min'; did you mean 'sigmaMin'\?$/],
    [edm, { sigmaMin: 0 }, RangeError, /^Expected a positive number for sigmaMin but received 0$/],
    [edm, { sigmaMin: 80 }, RangeError, /^Expected a number above sigmaMin = 80 for sigmaMax but received 80$/],
  ];
  for (const [make, options, type, message] of bad) throwsWith(() => make(options), type, message);
  // An absent option may be spelled out.
  assert.is(NoiseSchedule.linear({ beta0: undefined }).lambda(0.5), NoiseSchedule.linear().lambda(0.5));
});

test('18 times and lambdas outside are refused', () => {
  const outside = /^Expected a time between .* and .* for t but received .*, which is outside the schedule$/;
  const bad: [NoiseSchedule, number[]][] = [
    [NoiseSchedule.linear(), [-1e-3, 1.001, Number.NaN, Infinity]],
    [NoiseSchedule.cosine(), [-1e-3, 0.995]],
    [NoiseSchedule.flow(), [-1e-300, 1.001]],
    [NoiseSchedule.edm(), [-1, Infinity]],
    [NoiseSchedule.discrete({ betas: stableDiffusion }), [0, 0.0009, 1.0001]],
    [NoiseSchedule.discrete({ betas: betas('squaredcos_cap_v2') }), [0.0009, 0.9961]],
  ];
  for (const [schedule, times] of bad) {
    for (const t of times) {
      throwsWith(() => schedule.lambda(t), RangeError, outside);
      throwsWith(() => schedule.logAlpha(t), RangeError, outside);
      throwsWith(() => schedule.alpha(t), RangeError, outside);
      throwsWith(() => schedule.sigma(t), RangeError, outside);
      throwsWith(() => schedule.modelTime(t), RangeError, outside);
      throwsWith(() => schedule.node(t), RangeError, outside);
    }
  }
  const schedule = NoiseSchedule.discrete({ betas: stableDiffusion });
  throwsWith(() => schedule.lambda('0.5' as never), TypeError, /^Expected a number for t but received '0.5' of type/);
  throwsWith(() => schedule.inverseLambda(null as never), TypeError, /^Expected a number for lambda but received null/);
  for (const lambda of [-6, 4, Number.NaN, Infinity, -Infinity]) {
    throwsWith(() => schedule.inverseLambda(lambda), RangeError, /^Expected a lambda between .* outside the schedule$/);
  }
  throwsWith(() => NoiseSchedule.linear().inverseLambda(-6), RangeError, /^Expected a lambda between/);
});

test('19 wrong arguments for betas are refused', () => {
  const make = betas as (...args: unknown[]) => unknown;
  throwsWith(
    () => make('cosine'),
    TypeError,
    /^Expected 'linear', 'scaled_linear', 'sigmoid', 'squaredcos_cap_v2', 'laplace' or 'exp' for the betas/,
  );
  throwsWith(() => make('linear', 0), RangeError, /^Expected a whole number of at least 1 for the number of betas/);
  throwsWith(() => make('linear', 1.5), RangeError, /received 1.5$/);
  throwsWith(() => make('linear', '10'), TypeError, /received '10' of type string$/);
  throwsWith(() => make('linear', 10, { begin: 0.1 }), TypeError, /received the option 'begin'$/);
  throwsWith(() => make('linear', 10, { start: 0 }), RangeError, /^Expected a number between 0 and 1 for start/);
  throwsWith(() => make('linear', 10, { end: 1 }), RangeError, /^Expected a number between 0 and 1 for end/);
  throwsWith(() => make('linear', 10, { end: '1' }), TypeError, /for end but received '1'/);
  throwsWith(
    () => make('squaredcos_cap_v2', 10, { start: 0.1 }),
    TypeError,
    /^Expected no options for betas\('squaredcos_cap_v2'\) but received the option 'start'$/,
  );
  const rescale = betasForZeroTerminalSnr as (o: unknown) => unknown;
  throwsWith(() => rescale([0.1]), RangeError, /^Expected at least two numbers for betas but received 1$/);
  throwsWith(
    () => rescale([0.1, 1]),
    RangeError,
    /^Expected numbers between 0 and 1 for betas but received 1 at index 1$/,
  );
  throwsWith(() => rescale('linear'), TypeError, /^Expected an array of numbers/);
});

test.after(() => {
  if (process.env.SHOW_ERRORS) console.log(worst);
});

test.run();
