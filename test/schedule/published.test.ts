// Published grids: the numbers themselves, interpolation to any number of steps, and grids that are computed.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, DPMSolver, type NetworkKind, NoiseSchedule, type PublishedType, type Tensor } from '../../lib/index.js';
import { errorBound, type NetworkError, nonuniformLambdas } from '../../lib/schedule/nonuniform.js';
import { PUBLISHED } from '../../lib/schedule/published.js';
import { kindsOf, publishedSigmas, publishedTimes } from '../../lib/schedule/published-grid.js';
import { sigmaOf, timeOfSigma } from '../../lib/schedule/sigmas.js';
import { assertClose, assertRejects, assertThrows, golden } from '../support.js';

const sd = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.00085, end: 0.012 }) });
const flow = NoiseSchedule.flow({ shift: 3 });

test('every list falls, and ends where a network’s range does', () => {
  for (const [type, kinds] of Object.entries(PUBLISHED)) {
    for (const [kind, { source, lists }] of Object.entries(kinds)) {
      assert.match(source, /arXiv \d{4}\.\d{5}/);
      for (const list of lists) {
        for (let i = 1; i < list.length; i++) assert.ok(list[i] < list[i - 1], `${type} ${kind} ${list}`);
        assert.ok(list[list.length - 1] < 0.05);
      }
    }
  }
});

test('Align Your Steps: the labels that its authors give', () => {
  // As published with the sigmas: the nearest training steps.
  const labels = {
    sd15: [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
    sdxl: [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
  };
  for (const [network, expected] of Object.entries(labels)) {
    const times = publishedTimes(sd, 'ays', { network: network as NetworkKind, steps: 10 });
    assert.equal(
      Array.from(times.subarray(0, 10), (t) => Math.round(sd.modelTime(t))),
      expected,
    );
    assert.is(times[10], sd.epsilon);
  }
});

test('other numbers of steps are interpolated in the logarithm, as numpy does it', () => {
  // numpy.interp over linspace(0, 1), of log of the SD 1.5 list, 5 and 15 steps, first numbers after the start.
  const five = publishedSigmas('ays', 'sd15', 5);
  const list = PUBLISHED.ays.sd15.lists[0];
  assertClose(
    five,
    [0, 2, 4, 6, 8, 10].map((i) => list[i]),
    { rtol: 1e-12 },
  );
  const fifteen = publishedSigmas('ays', 'sd15', 15);
  assert.is(fifteen.length, 16);
  assertClose(fifteen[1], list[0] ** (1 / 3) * list[1] ** (2 / 3), { rtol: 1e-12 });
  assertClose(fifteen[2], list[1] ** (2 / 3) * list[2] ** (1 / 3), { rtol: 1e-12 });
  assertClose(fifteen[3], list[2], { rtol: 1e-12 });
  for (const type of ['ays', 'oss', 'gits'] as const) {
    for (const kind of kindsOf(type)) {
      for (const steps of [1, 2, 3, 4, 7, 10, 20, 33, 100]) {
        const sigmas = publishedSigmas(type, kind, steps);
        assert.is(sigmas.length, steps + 1);
        for (let i = 1; i <= steps; i++) assert.ok(sigmas[i] < sigmas[i - 1], `${type} ${kind} ${steps}`);
      }
    }
  }
});

test('GITS has lists of its own for 2 to 20 steps', () => {
  assert.equal(
    publishedSigmas('gits', 'sd15', 5),
    [14.61464119, 2.84484982, 1.24153244, 0.59516323, 0.25053367, 0.02916753],
  );
  assert.is(PUBLISHED.gits.sd15.lists.length, 19);
});

test('OSS: sigmas after the shift, whatever the schedule’s', () => {
  const times = publishedTimes(flow, 'oss', { network: 'flux', steps: 10 });
  assertClose(
    times.subarray(0, 10).map((t) => flow.sigma(t)),
    PUBLISHED.oss.flux.lists[0].slice(0, 10),
    { rtol: 1e-12 },
  );
  assert.is(times[10], 0);
  // t = s / (k - (k - 1) s)
  assertClose(times[7], 0.8287 / (3 - 2 * 0.8287), { rtol: 1e-12 });
});

test('a time is told by its sigma, and found again', () => {
  for (const schedule of [sd, flow, NoiseSchedule.linear(), NoiseSchedule.cosine(), NoiseSchedule.edm()]) {
    for (let i = 1; i < 50; i++) {
      const t = schedule.epsilon + ((schedule.T - schedule.epsilon) * i) / 50;
      assertClose(timeOfSigma(schedule, sigmaOf(schedule, t), 'sigma'), t, { rtol: 1e-10 });
    }
  }
  assert.is(timeOfSigma(sd, 0, 'sigma'), 0);
  assert.is(timeOfSigma(flow, 1, 'sigma'), 1);
  // A rounded end is the end.
  assert.is(timeOfSigma(sd, 14.6146412293, 'sigma'), 1);
  assert.is(timeOfSigma(sd, 14.615, 'sigma'), 1);
  assertThrows(
    () => timeOfSigma(sd, 15, 'sigma'),
    RangeError,
    /a sigma between 0\.029167 and 14\.615, or 0, for sigma but received 15/,
  );
});

interface Nonuniform {
  beta1: number;
  steps: number;
  error: NetworkError;
  lambdas: number[];
  bound: number;
  randomLambdas: number[];
  randomBound: number;
}
const { cases } = golden<{ cases: Nonuniform[] }>('nonuniform');

test('the bound is that of the published code', () => {
  for (const one of cases) {
    assertClose(errorBound(one.randomLambdas, one.error), one.randomBound, { rtol: 1e-10 });
    assertClose(errorBound(one.lambdas, one.error), one.bound, { rtol: 1e-9 });
  }
});

test('the times found are no worse than those of the published code’s search', () => {
  for (const { beta1, steps, error, lambdas, bound } of cases) {
    const schedule = NoiseSchedule.linear({ beta1 });
    const network = error === 'pixels' ? 'pixels' : 'sd15';
    const times = publishedTimes(schedule, 'dmn', { network, steps });
    const found = Array.from(times, (t) => schedule.lambda(t));
    const reached = errorBound(found, error);
    assert.ok(reached <= 1.001 * bound, `beta1 ${beta1}, ${steps} steps, ${error}: ${reached} against ${bound}`);
    assert.is(times[0], 1);
    assert.is(times[steps], 1e-3);
    for (let i = 1; i <= steps; i++) assert.ok(times[i] < times[i - 1]);
    assert.is(lambdas.length, steps + 1);
  }
});

test('computed times are the same every time, and copies', () => {
  const a = nonuniformLambdas(-5, 4, 7, 'pixels');
  const b = nonuniformLambdas(-5, 4, 7, 'pixels');
  assert.equal(a, b);
  a[3] = 0;
  assert.not.equal(nonuniformLambdas(-5, 4, 7, 'pixels')[3], 0);
});

const model = (x: Tensor): Tensor => ({ data: (x.data as Float32Array).map((v) => 0.5 * v), dims: x.dims });
const xT = { data: Float32Array.of(0.5, -1, 2), dims: [1, 3] };

test('runs on published grids', async () => {
  for (const [schedule, skipType, network] of [
    [sd, 'ays', 'sd15'],
    [sd, 'gits', 'sd15'],
    [sd, 'dmn', 'sd15'],
    [sd, 'dmn', undefined],
    [flow, 'oss', 'flux'],
    [NoiseSchedule.edm(), 'ays', 'svd'],
  ] as [NoiseSchedule, PublishedType, NetworkKind | undefined][]) {
    const { times, nfe } = await new DPMSolver(model, schedule).sample(xT, {
      steps: 6,
      skipType,
      ...(network ? { network } : {}),
    });
    assert.is(nfe, 6);
    assert.equal(times, Array.from(publishedTimes(schedule, skipType, { network, steps: 6 })));
  }
});

test('what a published grid does not go with', async () => {
  const refused = (options: object, message: RegExp, schedule = sd) =>
    assertRejects(() => new DPMSolver(model, schedule).sample(xT, { steps: 6, ...options }), RangeError, message);
  await refused({ skipType: 'ays' }, /'sd15', 'sdxl' or 'svd' with skipType 'ays' for network but received undefined/);
  await refused(
    { skipType: 'oss', network: 'sd15' },
    /'flux', 'wan' or 'chroma' with .* for network but received 'sd15'/,
  );
  await refused(
    { skipType: 'ays', network: 'svd' },
    /a sigma between .* for the sigmas of skipType 'ays' but received 700/,
  );
  await refused({ skipType: 'logSNR', network: 'sd15' }, /no network without a published grid for skipType/);
  await refused(
    { skipType: 'ays', network: 'sd15', method: 'singlestep' },
    /'multistep' or 'ipndm' with skipType 'ays' for method/,
  );
  await refused(
    { skipType: 'ays', network: 'sd15', tStart: 0.5 },
    /1, as skipType 'ays' has it, for tStart but received 0.5/,
  );
  await refused({ skipType: 'dmn' }, /finite lambda for tStart/, flow);
  await assertRejects(
    () => new DPMSolver(model, sd).invert(xT, { skipType: 'ays', network: 'sd15' }),
    RangeError,
    /another grid for an inversion for skipType but received 'ays'/,
  );
  await assertRejects(
    () => new DPMSolver(model, sd).sample(xT, { skipType: 'ays', network: 'sd2' as never }),
    TypeError,
    /for network but received 'sd2'/,
  );
});

test.run();
