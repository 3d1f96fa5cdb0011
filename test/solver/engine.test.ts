// Engines that take their time give what engines do that step at once, and those of the latter kind pay for no promise.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hostEngine } from '../../lib/engines/host/engine.js';
import { betas, NoiseSchedule, randn, type SampleOptions, type SolverOptions, type Tensor } from '../../lib/index.js';
import { AdaptiveRun } from '../../lib/solver/adaptive.js';
import { drive } from '../../lib/solver/drive.js';
import type { Engine, EngineMaker } from '../../lib/solver/engine.js';
import { readSampleOptions, readSolverOptions } from '../../lib/solver/options.js';
import { FixedRun, type InternalRun } from '../../lib/solver/run.js';
import { assertBitsEqual, assertRejects, assertThrows } from '../support.js';

const engines = suite('engines');
const schedule = NoiseSchedule.discrete({ betas: betas('linear', 1000) });
const xT = randn([2, 3, 4, 4], { seed: 1 });
const network = ({ data, dims }: Tensor, t: number): Tensor => ({
  data: (data as Float32Array).map((x, i) => Math.sin(x + t / 1000 + i) + 0.1 * x),
  dims,
});

/** What may come later comes later, each in a turn of its own. */
const slowly: EngineMaker = (...args) => {
  const engine = hostEngine(...args);
  const later = ['apply', 'applyKept', 'largestError', 'correct', 'view'] as const satisfies (keyof Engine)[];
  for (const name of later) {
    const call = engine[name].bind(engine) as (...args: unknown[]) => unknown;
    const slow = (...args: unknown[]) => new Promise((resolve) => setImmediate(resolve)).then(() => call(...args));
    Object.defineProperty(engine, name, { value: slow });
  }
  return engine;
};

function start(make: EngineMaker, options: SolverOptions & SampleOptions): InternalRun {
  const { algorithmType, thresholding, correctX0, correctXt, ...sample } = options;
  const own = { algorithmType, thresholding, correctX0, correctXt };
  const solver = readSolverOptions(schedule, own, ['float32']);
  const sampler = readSampleOptions(solver, sample, false);
  const build = sampler.method === 'adaptive' ? AdaptiveRun.build : FixedRun.build;
  return build(solver, sampler, xT, make);
}

function finish(run: InternalRun) {
  return drive(run, undefined, () => network(run.x, run.t), undefined);
}

const CASES: Record<string, SolverOptions & SampleOptions> = {
  multistep: { steps: 5, order: 3 },
  singlestep: { steps: 7, order: 3, method: 'singlestep' },
  'singlestep with a last evaluation': { steps: 4, method: 'singlestep', denoiseToZero: true },
  'an SDE with thresholding': { steps: 4, algorithmType: 'sde-dpmsolver++', thresholding: true, seed: [3, 4] },
  'an adaptive run': { method: 'adaptive', order: 3, atol: 0.01 },
  'an adaptive run as published, with a last evaluation': {
    ...{ method: 'adaptive', controller: 'integral', denoiseToZero: true, atol: 0.05 },
  },
};

for (const [name, options] of Object.entries(CASES)) {
  engines(`${name}: the same bits and the same calls, at once or later`, async () => {
    const results = [];
    for (const make of [hostEngine, slowly]) {
      const told: unknown[] = [];
      const onStep: SampleOptions['onStep'] = ({ x, ...rest }) =>
        told.push({ ...rest, x: [...(x.data as Float32Array)] });
      const correctXt =
        options.method === 'adaptive'
          ? undefined
          : (x: Tensor, t: number, step: number): Tensor => {
              told.push({ correct: t, step });
              return { ...x, data: (x.data as Float32Array).map((value) => 0.99 * value) };
            };
      const run = start(make, { ...options, correctXt, onStep, intermediates: true });
      const { sample, nfe, times, intermediates } = await finish(run);
      results.push({ data: sample.data as Float32Array, rest: { nfe, times, told, intermediates } });
    }
    assertBitsEqual(results[1]!.data, results[0]!.data);
    assert.equal(results[1]!.rest, results[0]!.rest);
  });

  engines(`${name}: no promise where the engine steps at once`, () => {
    const run = start(hostEngine, { ...options, onStep: () => {}, correctXt: undefined });
    let steps = 0;
    for (; !run.done; steps++) assert.is(run.proceed(network(run.x, run.t)), undefined);
    assert.ok(steps > 3);
  });
}

engines('what is wrong is told by the same sentence', async () => {
  const NaNs = (run: InternalRun) => (): Tensor => {
    const output = network(run.x, run.t);
    if (run.nfe === 2) (output.data as Float32Array)[50] = Number.NaN;
    return output;
  };
  for (const make of [hostEngine, slowly]) {
    const run = start(make, { steps: 5 });
    const where = /received NaN or Infinity for sample 1 at evaluation 3 \(step 3, time /;
    await assertRejects(drive(run, undefined, NaNs(run), undefined), Error, where);
    const correcting = start(make, {
      steps: 5,
      correctXt: (x, _t, step) => {
        if (step === 2) throw new Error('no more');
        return x;
      },
    });
    await assertRejects(finish(correcting), Error, /^no more$/);
    assertThrows(() => correcting.advance(network(xT, 0)), Error, /this run has failed: no more$/);
  }
});

engines('advance refuses an engine that takes its time, and calls that come before it is done', async () => {
  const run = start(slowly, { steps: 3 });
  const going = run.proceed(network(run.x, run.t));
  assert.instance(going, Promise);
  assertThrows(() => run.advance(network(run.x, run.t)), Error, /^Expected one advance at a time/);
  await going;
  assertThrows(() => run.advance(network(run.x, run.t)), Error, /^Expected an engine that steps at once for advance/);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertThrows(() => run.advance(network(run.x, run.t)), Error, /this run has failed: Expected an engine that steps/);
});

engines.run();
