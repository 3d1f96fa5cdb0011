// The place in the schedule, tensors, noise, and everything that is refused.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generator } from '../../lib/index.js';
import {
  DDIMScheduler,
  DEISMultistepScheduler,
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  EDMDPMSolverMultistepScheduler,
  PNDMScheduler,
  type Scheduler,
  type SchedulerConfig,
  type StepOptions,
  type Tensor,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';
import { assertBitsEqual, assertClose, assertThrows, noise } from '../support.js';

const SL = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const dims = [2, 3];
const start = () => noise(new Float32Array(6), 7);
const model = (x: Float32Array, t: number) => x.map((value) => Math.tanh(0.7 * value) + 0.1 * Math.cos(t / 200));

/** Goes through the timesteps from index `first` on. */
function go(s: Scheduler, first = 0, options?: (i: number) => StepOptions): Float32Array {
  let x = { data: start(), dims };
  [...s.timesteps].slice(first).forEach((t, i) => {
    const seen = s.scaleModelInput(x, t);
    x = s.step({ data: model(seen.data as Float32Array, t), dims }, t, x, options?.(i)) as typeof x;
  });
  return x.data;
}

const ALL: [string, () => Scheduler][] = [
  ['DPMSolverMultistepScheduler', () => DPMSolverMultistepScheduler.fromConfig({ ...SL, solver_order: 3 })],
  ['DPMSolverSinglestepScheduler', () => DPMSolverSinglestepScheduler.fromConfig({ ...SL, solver_order: 3 })],
  ['DPMSolverMultistepInverseScheduler', () => DPMSolverMultistepInverseScheduler.fromConfig(SL)],
  ['EDMDPMSolverMultistepScheduler', () => EDMDPMSolverMultistepScheduler.fromConfig({ solver_order: 3 })],
  ['UniPCMultistepScheduler', () => UniPCMultistepScheduler.fromConfig({ ...SL, solver_order: 3 })],
  ['DEISMultistepScheduler', () => DEISMultistepScheduler.fromConfig({ ...SL, solver_order: 3 })],
  ['DDIMScheduler', () => DDIMScheduler.fromConfig(SL)],
  ['PNDMScheduler', () => PNDMScheduler.fromConfig({ ...SL, skip_prk_steps: true })],
  ['PNDMScheduler with Runge-Kutta steps', () => PNDMScheduler.fromConfig(SL)],
];

for (const [name, make] of ALL) {
  test(`${name}: setTimesteps leaves nothing of the last run, and steps are refused out of turn`, () => {
    const s = make();
    const zeros: Tensor = { data: new Float32Array(6), dims };
    assertThrows(
      () => s.step(zeros, 1, zeros),
      Error,
      /setTimesteps to be called before step but \w+ has no timesteps/,
    );
    assertThrows(() => s.setBeginIndex(0), Error, /setTimesteps to be called before setBeginIndex/);
    s.setTimesteps(8);
    const fresh = go(s);
    const last = s.timesteps[s.timesteps.length - 1];
    assertThrows(
      () => s.step(zeros, last, zeros),
      RangeError,
      /at most \d+ steps after setTimesteps but received one more/,
    );
    s.setTimesteps(5);
    go(s);
    s.setTimesteps(8);
    s.step({ data: start(), dims }, s.timesteps[0], zeros);
    s.setTimesteps(8);
    assertBitsEqual(go(s), fresh);

    s.setTimesteps(8);
    assertThrows(() => s.step(zeros, 12345, zeros), RangeError, /one of the \d+ timesteps of the schedule, .+ 12345/);
    s.step(zeros, s.timesteps[0], zeros);
    const skipped = s.timesteps[3];
    assertThrows(() => s.step(zeros, skipped, zeros), RangeError, /Expected timestep .+, the next one of the schedule/);
  });

  test(`${name}: an output that is not finite stops the step, not the run`, () => {
    const s = make();
    s.setTimesteps(8);
    const whole = go(s);
    s.setTimesteps(8);
    let x = { data: start(), dims };
    [...s.timesteps].forEach((t, i) => {
      const output = model(s.scaleModelInput(x, t).data as Float32Array, t);
      if (i === 4) {
        const bad = output.slice();
        bad[4] = NaN;
        assertThrows(
          () => s.step({ data: bad, dims }, t, x),
          Error,
          /NaN or Infinity for sample 1 at timestep .+ \(step 5 of/,
        );
      }
      x = s.step({ data: output, dims }, t, x) as typeof x;
    });
    assertBitsEqual(x.data, whole);
  });

  test(`${name}: a part of the schedule finds its place by its first timestep`, () => {
    const s = make();
    s.setTimesteps(8);
    const { timesteps } = s;
    const sigmas = s.sigmas.slice();
    for (const first of [1, 3, 5]) {
      if (name.includes('Runge') && first % 4 !== 3) continue;
      const runs = [false, true].map((given) => {
        s.setTimesteps(8);
        if (given) s.setBeginIndex(first);
        return go(s, first);
      });
      assertBitsEqual(runs[0], runs[1], `from ${timesteps[first]}`);
      assert.ok(runs[0].every(Number.isFinite));
    }
    assert.equal(s.sigmas, sigmas);
  });

  test(`${name}: float64, float16 and batches of one agree`, () => {
    const s = make();
    s.setTimesteps(8);
    const single = go(s);
    s.setTimesteps(8);
    let wide = { data: Float64Array.from(start()), dims };
    for (const t of s.timesteps) {
      const seen = s.scaleModelInput(wide, t).data as Float64Array;
      const data = Float64Array.from(seen, (value) => Math.tanh(0.7 * value) + 0.1 * Math.cos(t / 200));
      wide = s.step({ data, dims }, t, wide) as typeof wide;
    }
    assert.ok(wide.data instanceof Float64Array);
    assertClose(single, wide.data, { rtol: 2e-5, scale: 'max' });

    s.setTimesteps(8);
    const [t] = s.timesteps;
    const halves = { data: Uint16Array.of(0x3c00, 0xb800, 0, 0x3400, 0x3c00, 0x4000), dims, type: 'float16' };
    const next = s.step(halves, t, halves);
    assert.ok(next.data instanceof Uint16Array);
    assert.equal([next.type, next.dims], ['float16', dims]);

    s.setTimesteps(8);
    let one = { data: start().slice(3), dims: [1, 3] };
    for (const time of s.timesteps) {
      const data = model(s.scaleModelInput(one, time).data as Float32Array, time);
      one = s.step({ data, dims: [1, 3] }, time, one) as typeof one;
    }
    assertBitsEqual(one.data, single.slice(3));
  });
}

test('the repeated timestep of PNDM counts, from wherever a run begins', () => {
  const s = PNDMScheduler.fromConfig({ ...SL, skip_prk_steps: true, steps_offset: 1 });
  s.setTimesteps(20);
  assert.equal([...s.timesteps].slice(0, 4), [951, 901, 901, 851]);
  const run = (first: number) => {
    s.setTimesteps(20);
    return go(s, first);
  };
  // From the first 901: its second evaluation is of the state that the first has already moved, and is left unused.
  s.setTimesteps(20);
  const x = { data: start(), dims };
  const moved = s.step({ data: model(x.data, 901), dims }, 901, x);
  const same = s.step({ data: model(moved.data as Float32Array, 901), dims }, 901, moved);
  assertBitsEqual(same.data as Float32Array, moved.data as Float32Array);
  assertBitsEqual(run(1), run(2));
});

test('a run may begin at any of several equal timesteps', () => {
  const s = DPMSolverMultistepScheduler.fromConfig({
    ...SL,
    beta_schedule: 'squaredcos_cap_v2',
    use_karras_sigmas: true,
  });
  s.setTimesteps(20);
  assert.equal([...s.timesteps].slice(0, 3), new Array(3).fill(s.timesteps[0]));
  for (const first of [0, 1, 2]) {
    s.setTimesteps(20);
    assert.ok(go(s, first).every(Number.isFinite));
  }
});

test('custom timesteps and sigmas', () => {
  const s = DPMSolverMultistepScheduler.fromConfig(SL);
  s.setTimesteps({ timesteps: [999, 850, 736, 645, 545, 455, 343, 233, 124, 24] });
  assert.equal([...s.timesteps], [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]);
  s.setTimesteps(10);
  const own = go(s);
  const list = [...s.timesteps];
  s.setTimesteps({ timesteps: list });
  assertBitsEqual(go(s), own);
  s.setTimesteps({ sigmas: s.sigmas.slice(0, 10) });
  assert.equal([...s.timesteps], list);
  assertBitsEqual(go(s), own);

  const set = (request: unknown) => () => s.setTimesteps(request as number);
  assertThrows(
    set({ timesteps: [999, 500.5] }),
    RangeError,
    /^Expected integers for timesteps\[1\] but received 500\.5/,
  );
  assertThrows(
    set({ timesteps: [10, 500] }),
    RangeError,
    /strictly decreasing timesteps for timesteps\[1\].+500 after 10/,
  );
  assertThrows(set({ timesteps: [10, 10] }), RangeError, /strictly decreasing/);
  assertThrows(set({ timesteps: [1000, 10] }), RangeError, /timesteps from 0 to 999 for timesteps/);
  assertThrows(set({ timesteps: [] }), RangeError, /at least one timestep/);
  assertThrows(set({ timesteps: ['999'] }), TypeError, /numbers for timesteps\[0\]/);
  assertThrows(set({ sigmas: [1, 2] }), RangeError, /strictly decreasing sigmas/);
  assertThrows(set({ sigmas: [1, -2] }), RangeError, /positive number for sigmas\[1\]/);
  assertThrows(set({ steps: 3, sigmas: [1] }), TypeError, /exactly one of steps, timesteps and sigmas/);
  assertThrows(set(undefined), TypeError, /exactly one of steps/);
  assertThrows(set('20'), TypeError, /number/);
  assertThrows(set(0), RangeError, /at least 1 for the number of steps/);
  assertThrows(set(2.5), RangeError, /number of steps/);
  assertThrows(set({ steps: 3, step: 1 }), TypeError, /the option 'step'/);
  const karras = DPMSolverMultistepScheduler.fromConfig({ ...SL, use_karras_sigmas: true });
  assertThrows(() => karras.setTimesteps({ timesteps: [9] }), RangeError, /timesteps with use_karras_sigmas true/);
  assertThrows(() => karras.setTimesteps({ sigmas: [9] }), RangeError, /sigmas with use_karras_sigmas true/);
  assertThrows(
    () => PNDMScheduler.fromConfig(SL).setTimesteps({ timesteps: [9] }),
    RangeError,
    /timesteps with _class_name 'PNDM/,
  );
  assertThrows(() => PNDMScheduler.fromConfig(SL).setTimesteps(3), RangeError, /skip_prk_steps false with 3 steps/);
  assertThrows(
    () => DDIMScheduler.fromConfig(SL).setTimesteps(1001),
    RangeError,
    /1001 steps with num_train_timesteps 1000/,
  );
});

test('tensors that do not fit', () => {
  const s = DPMSolverMultistepScheduler.fromConfig(SL);
  s.setTimesteps(4);
  const [t, next] = s.timesteps;
  const x = { data: start(), dims };
  const step =
    (m: unknown, sample: unknown = x, options?: unknown) =>
    () =>
      s.step(m as Tensor, t, sample as Tensor, options as StepOptions);
  assertThrows(step({ data: start(), dims: [3, 2] }), RangeError, /dims \[2, 3\] for the model output/);
  assertThrows(step({ data: new Float64Array(6), dims }), TypeError, /'float32' or 'float16' for the model output/);
  assertThrows(step(null), TypeError, /for the model output/);
  assertThrows(step(x, x, { noize: x }), TypeError, /the option 'noize'/);
  assertThrows(() => s.step(x, NaN, x), RangeError, /for t/);
  assertThrows(() => s.step(x, '999' as unknown as number, x), TypeError, /for t/);
  step(x)();
  const other = { data: new Float32Array(4), dims: [1, 4] };
  assertThrows(() => s.step(other, next, other), RangeError, /dims \[2, 3\] for the sample/);
  assert.ok(s.step(x, BigInt(next), x));

  const learned = DPMSolverMultistepScheduler.fromConfig({ ...SL, variance_type: 'learned_range' });
  learned.setTimesteps(4);
  const twice = new Float32Array(12).fill(1e9);
  for (const b of [0, 1]) twice.set(x.data.subarray(3 * b, 3 * b + 3), 6 * b);
  const result = learned.step({ data: twice, dims: [2, 6] }, t, x);
  s.setTimesteps(4);
  assertBitsEqual(result.data as Float32Array, s.step(x, t, x).data as Float32Array);
});

test('nothing that is passed in is written', () => {
  for (const [, make] of ALL) {
    const s = make();
    s.setTimesteps(8);
    let x = { data: start(), dims };
    const results: [Float32Array, Float32Array][] = [];
    for (const t of s.timesteps) {
      const output = { data: model(x.data, t), dims };
      results.push([x.data, x.data.slice()], [output.data, output.data.slice()]);
      x = s.step(output, t, x) as typeof x;
    }
    for (const [array, copy] of results) assertBitsEqual(array, copy);
  }
});

test('noise: given, by seed as torch draws it after the first sample, and by sample', () => {
  const config = { ...SL, algorithm_type: 'sde-dpmsolver++' };
  const s = DPMSolverMultistepScheduler.fromConfig(config);
  const run = (options: (i: number) => StepOptions) => {
    s.setTimesteps(5);
    return go(s, 0, options);
  };
  const g = generator(3);
  g.randn(dims);
  const drawn = Array.from({ length: 5 }, () => g.randn(dims));
  assertBitsEqual(
    run(() => ({ seed: 3 })),
    run((i) => ({ noise: drawn[i] })),
  );
  assert.not.equal(
    run(() => ({})),
    run(() => ({})),
  );
  assertBitsEqual(run(() => ({ seed: [1, 2] })).slice(0, 3), run(() => ({ seed: [1, 9] })).slice(0, 3));
  s.setTimesteps(5);
  const x = { data: start(), dims };
  assertThrows(
    () => s.step(x, 999, x, { noise: { data: start(), dims: [6] } }),
    RangeError,
    /dims \[2, 3\] for the noise/,
  );
  assertThrows(() => s.step(x, 999, x, { seed: 1.5 }), RangeError, /safe integer for seed/);
});

test('the noise of a step that fails is that of the step when it is made', () => {
  const s = DPMSolverMultistepScheduler.fromConfig({ ...SL, algorithm_type: 'sde-dpmsolver++' });
  const bad = { data: new Float32Array(6).fill(NaN), dims };
  const run = (fails: number) => {
    s.setTimesteps(5);
    let x: Tensor = { data: start(), dims };
    [...s.timesteps].forEach((t, i) => {
      const output = { data: model(x.data as Float32Array, t), dims };
      if (i === fails) {
        // Another shape, another seed and noise of the caller's own in between change nothing either.
        if (i === 0) {
          const other = { data: new Float32Array(8).fill(NaN), dims: [2, 4] };
          assertThrows(() => s.step(other, t, other, { seed: 3 }), Error, /finite numbers/);
        }
        const own: Tensor = { data: Float64Array.from(start()), dims };
        for (const options of [{ seed: 3 }, { noise: own }, { seed: 3 }]) {
          assertThrows(() => s.step(bad, t, x, options), Error, /finite numbers/);
        }
      }
      x = s.step(output, t, x, { seed: 3 });
    });
    return x.data as Float32Array;
  };
  const whole = run(-1);
  for (const fails of [0, 2, 4]) assertBitsEqual(run(fails), whole);
});

test('more steps than memory', () => {
  for (const [, make] of ALL) {
    assertThrows(
      () => make().setTimesteps(1e9),
      RangeError,
      /at most 100000 for the number of steps|num_train_timesteps/,
    );
  }
});

test('seeds that are none, and one seed is not a list of one', () => {
  const s = DPMSolverMultistepScheduler.fromConfig({ ...SL, algorithm_type: 'sde-dpmsolver++' });
  const x = { data: start(), dims };
  s.setTimesteps(5);
  const [t, next] = s.timesteps;
  assertThrows(() => s.step(x, t, x, { seed: null as unknown as number }), TypeError, /a number for seed .* null/);
  s.step(x, t, x, { seed: 12 });
  assertThrows(() => s.step(x, next, x, { seed: [12] }), RangeError, /one seed per sample \(2\)/);
});

test('addNoise: at timesteps of the schedule, one per sample, of training, and where a run stands', () => {
  const s = DPMSolverMultistepScheduler.fromConfig(SL);
  const x = { data: start(), dims };
  const z = { data: noise(new Float32Array(6), 9), dims };
  const at = (k: number, i: number) => (x.data[i] + k * z.data[i]) / Math.hypot(1, k);
  s.setTimesteps(10);
  const { sigmas, timesteps } = s;
  assertClose(
    s.addNoise(x, z, timesteps[4]).data as Float32Array,
    x.data.map((_, i) => at(sigmas[4], i)),
    { atol: 1e-6 },
  );
  const both = s.addNoise(x, z, [timesteps[1], timesteps[7]]).data as Float32Array;
  assertClose(
    both,
    x.data.map((_, i) => at(sigmas[i < 3 ? 1 : 7], i)),
    { atol: 1e-6 },
  );
  s.setBeginIndex(2);
  assertClose(
    s.addNoise(x, z, 999).data as Float32Array,
    x.data.map((_, i) => at(sigmas[2], i)),
    { atol: 1e-6 },
  );
  const ddim = DDIMScheduler.fromConfig(SL);
  assertClose(
    ddim.addNoise(x, z, 999).data as Float32Array,
    x.data.map((_, i) => at(14.614645, i)),
    { atol: 1e-6 },
  );
  assertThrows(() => ddim.addNoise(x, z, 1000), RangeError, /timestep of the schedule or of training for t/);
  assertThrows(() => ddim.addNoise(x, z, [1, 2, 3]), RangeError, /2 timesteps, one per sample/);
  assertThrows(() => ddim.addNoise(x, { data: start(), dims: [6] }, 1), RangeError, /dims \[2, 3\] for the noise/);
});

test('DDIM with eta = 1 adds the variance of the posterior, and clips', () => {
  const s = DDIMScheduler.fromConfig({ ...SL, clip_sample_range: 0.4 });
  s.setTimesteps(10);
  const run = (options: StepOptions) => {
    s.setTimesteps(10);
    const x = { data: start(), dims };
    return s.step({ data: model(x.data, 900), dims }, 900, x, options).data as Float32Array;
  };
  const zeros = { data: new Float32Array(6), dims };
  const ones = { data: new Float32Array(6).fill(1), dims };
  const spread = run({ eta: 1, noise: ones })[0] - run({ eta: 1, noise: zeros })[0];
  const [a, b] = [s.sigmas[0], s.sigmas[1]].map((k) => 1 / (1 + k * k));
  assertClose(spread, Math.sqrt(((1 - b) / (1 - a)) * (1 - a / b)), { atol: 1e-6 });
  assertClose(run({ eta: 0 }), run({}), {});
  assert.not.equal(run({ useClippedModelOutput: true }), run({}));
  assertThrows(() => run({ eta: 2 }), RangeError, /from 0 to 1 for eta/);
  const zero: SchedulerConfig = { ...SL, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
  assertThrows(
    () => DDIMScheduler.fromConfig(zero).setTimesteps(5),
    RangeError,
    /prediction_type 'epsilon' with rescale_betas_zero_snr true/,
  );
  const v = DDIMScheduler.fromConfig({ ...zero, prediction_type: 'v_prediction' });
  v.setTimesteps(5);
  assert.is(v.sigmas[0], Infinity);
  assert.ok(go(v).every(Number.isFinite));
});

test.run();
