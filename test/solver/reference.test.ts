// Random options against test/solver/reference.ts: what the network is told, and the state after every step.
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, DPMSolver, generator, NoiseSchedule, type Tensor } from '../../lib/index.js';
import { assertClose, check, noise } from '../support.js';
import { cosine, discrete, linear, type Options, type Schedule, sample } from './reference.js';

const dims = [2, 3, 3];
const start = Array.from(noise(new Float64Array(18), 3), (v) => 1.8 * v);
const network = (x: number[], t: number, condition: boolean) =>
  x.map((v) => Math.tanh(0.7 * v) + 0.1 * Math.cos(t / 200) + (condition ? 0.05 * Math.sin(v) : 0));
const gradient = (x: number[]) => x.map((v) => 0.3 * (1 - v));

function model(doubles: boolean, condition: boolean) {
  return ({ data, dims: size }: Tensor, t: number): Tensor => {
    const x = Array.from(data as Float64Array);
    const n = start.length;
    const out = doubles
      ? [...network(x.slice(0, n), t, false), ...network(x.slice(n), t, true)]
      : network(x, t, condition);
    return { data: Float64Array.from(out), dims: size };
  };
}

const SEED = 11;
async function compare(schedule: NoiseSchedule, plain: Schedule, o: Options, inverse: boolean): Promise<void> {
  // As a torch script: the first draw is that of xT.
  const stream = generator(SEED);
  stream.randn(dims, { type: 'float64' });
  const draw = () => Array.from(stream.randn(dims, { type: 'float64' }).data);
  const expected = sample(plain, o, start, 2, network, gradient, draw);
  const told: number[] = [];
  const doubled = o.guidance === 'classifier-free' && o.scale !== 1;
  const net = model(doubled, o.guidance === 'classifier-free');
  const guidance =
    o.guidance === 'classifier'
      ? {
          type: o.guidance,
          scale: o.scale,
          gradient: (x: Tensor) => ({ data: Float64Array.from(gradient(Array.from(x.data as Float64Array))), dims }),
        }
      : o.guidance === 'classifier-free'
        ? { type: o.guidance, scale: o.scale }
        : { type: o.guidance };
  const solver = new DPMSolver(
    (x, t) => {
      told.push(t);
      return net(x, t);
    },
    schedule,
    {
      algorithmType: o.algorithm,
      modelType: o.modelType,
      guidance,
      thresholding: o.thresholding ?? false,
      thirdOrder: o.exact ? 'exact' : 'published',
    },
  );
  const x = { data: Float64Array.from(start), dims };
  const options = {
    steps: o.steps,
    order: o.order,
    method: o.method,
    skipType: o.skip,
    solverType: o.taylor ? ('taylor' as const) : ('dpmsolver' as const),
    tStart: o.tStart,
    tEnd: o.tEnd,
    lowerOrderFinal: o.lowerOrderFinal,
    denoiseToZero: o.denoise,
    atol: o.atol,
    rtol: o.rtol,
    controller: 'integral' as const,
    seed: SEED,
    intermediates: true,
  };
  const result = inverse ? await solver.invert(x, options) : await solver.sample(x, options);
  assert.is(result.nfe, expected.times.length);
  const rtol = o.method === 'adaptive' ? 1e-4 : 2e-8;
  assertClose(told, expected.times, { rtol, atol: o.method === 'adaptive' ? 1e-4 : 2e-8 }, 'network times');
  assert.is(result.intermediates!.length, expected.states.length + 1);
  expected.states.forEach((state, i) => {
    assertClose(result.intermediates![i + 1].data as Float64Array, state, { rtol, scale: 'max' }, `state ${i + 1}`);
  });
  assertClose(result.sample.data as Float64Array, expected.sample, { rtol, scale: 'max' }, 'the sample');
}

const shortBetas = Float64Array.from({ length: 200 }, (_, i) => 0.001 + 0.0002 * i);
const schedules = fc.constantFrom<[string, () => NoiseSchedule, Schedule]>(
  ['linear', () => NoiseSchedule.linear(), linear(0.1, 20)],
  ['linear 0.2, 12', () => NoiseSchedule.linear({ beta0: 0.2, beta1: 12 }), linear(0.2, 12)],
  ['cosine', () => NoiseSchedule.cosine(), cosine()],
  ...(['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const).map(
    (name): [string, () => NoiseSchedule, Schedule] => [
      name,
      () => NoiseSchedule.discrete({ betas: betas(name), clip: 'official' }),
      discrete(betas(name)),
    ],
  ),
  ['200 betas', () => NoiseSchedule.discrete({ betas: shortBetas, clip: 'official' }), discrete(shortBetas)],
);
const bool = fc.boolean();
const common = {
  modelType: fc.constantFrom('noise' as const, 'x_start' as const, 'v' as const, 'score' as const),
  guidance: fc.constantFrom('uncond' as const, 'classifier-free' as const, 'classifier' as const),
  scale: fc.constantFrom(0, 1, 2.5),
  exact: bool,
  steps: fc.integer({ min: 1, max: 22 }),
  order: fc.constantFrom(1 as const, 2 as const, 3 as const),
  skip: fc.constantFrom('time_uniform' as const, 'logSNR' as const, 'time_quadratic' as const),
  taylor: bool,
  lowerOrderFinal: bool,
  atol: fc.constantFrom(0.0078, 0.002),
  rtol: fc.constantFrom(0.05, 0.01),
};
const thresholding = fc.option(
  fc.record({ ratio: fc.constantFrom(0, 0.5, 0.9, 0.995, 1), maxValue: fc.constantFrom(0.5, 1, 2) }),
);
/** Where a run starts and ends, as parts of what the schedule has. */
const part = fc.tuple(fc.double({ min: 0.6, max: 1, noNaN: true }), fc.double({ min: 0, max: 0.4, noNaN: true }), bool);

test('multistep and singlestep, every option of the official code and the stochastic forms', async () => {
  await check(
    fc.asyncProperty(
      schedules,
      part,
      thresholding,
      bool,
      fc.constantFrom(
        'dpmsolver' as const,
        'dpmsolver++' as const,
        'sde-dpmsolver' as const,
        'sde-dpmsolver++' as const,
      ),
      fc.constantFrom('multistep' as const, 'singlestep' as const, 'singlestep_fixed' as const),
      fc.record(common),
      async ([, build, plain], [from, to, whole], t, denoise, algorithm, method, rest) => {
        fc.pre(method === 'singlestep' || rest.steps >= rest.order);
        const [tStart, tEnd] = whole ? [plain.T, plain.end] : [from * plain.T, Math.max(plain.end, to * plain.T)];
        const options = { ...rest, algorithm, method, denoise, tStart, tEnd };
        await compare(build(), plain, { ...options, thresholding: algorithm.endsWith('++') ? t : null }, false);
      },
    ),
    { numRuns: 400 },
  );
});

test('inversions', async () => {
  await check(
    fc.asyncProperty(
      schedules,
      part,
      fc.constantFrom('dpmsolver' as const, 'dpmsolver++' as const),
      fc.constantFrom('multistep' as const, 'singlestep' as const, 'singlestep_fixed' as const),
      fc.record(common),
      async ([, build, plain], [to, from, whole], algorithm, method, rest) => {
        fc.pre(method === 'singlestep' || rest.steps >= rest.order);
        const [tStart, tEnd] = whole ? [plain.end, plain.T] : [Math.max(plain.end, from * plain.T), to * plain.T];
        const options = { ...rest, algorithm, method, denoise: false, thresholding: null, tStart, tEnd };
        await compare(build(), plain, options, true);
      },
    ),
    { numRuns: 150 },
  );
});

test('adaptive runs of orders 2 and 3 under the published controller', async () => {
  await check(
    fc.asyncProperty(
      schedules,
      part,
      thresholding,
      bool,
      fc.constantFrom('dpmsolver' as const, 'dpmsolver++' as const),
      fc.record({ ...common, order: fc.constantFrom(2 as const, 3 as const) }),
      async ([, build, plain], [from, to, whole], t, denoise, algorithm, rest) => {
        const [tStart, tEnd] = whole ? [plain.T, plain.end] : [from * plain.T, Math.max(plain.end, to * plain.T)];
        const options = { ...rest, algorithm, method: 'adaptive' as const, denoise, tStart, tEnd };
        await compare(build(), plain, { ...options, thresholding: algorithm.endsWith('++') ? t : null }, false);
      },
    ),
    { numRuns: 100 },
  );
});

test.run();
