// The runs of the soak: every kind that leaves something behind if anything does. The network is a line of arithmetic.

/** So many numbers, the same every time. */
function state(dims, wide = false) {
  const n = dims.reduce((a, b) => a * b);
  const data = wide ? new Float64Array(n) : new Float32Array(n);
  for (let i = 0; i < n; i++) data[i] = Math.sin(i * 1.7) * 1.4;
  return { type: wide ? 'float64' : 'float32', dims, data };
}

const tanh = (x) => ({ type: x.type, dims: x.dims, data: x.data.map((value) => value * 0.7) });

/** Rejects as it should, or the soak ends. */
async function fails(run, pattern) {
  try {
    await run;
  } catch (error) {
    if (pattern.test(String(error?.message ?? error))) return;
    throw error;
  }
  throw new Error(`a run that should fail went through: ${pattern}`);
}

/** Functions of a run's number, to be called in turn. */
export function kinds({ DPMSolver, NoiseSchedule, betas }) {
  const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.00085, end: 0.012 }) });
  const small = state([1, 3, 8, 8]);
  const pair = state([2, 3, 8, 8]);
  const wide = state([1, 3, 8, 8], true);
  const large = state([1, 4, 384, 384]); // past the size from which the pool works
  const guided = { type: 'classifier-free', scale: 7.5 };
  const solver = (model, options) => new DPMSolver(model, schedule, options);
  const plain = solver(tanh, {});
  const thresholding = solver(tanh, { thresholding: true, guidance: guided });
  const later = solver(async (x) => tanh(x), { algorithmType: 'dpmsolver' });
  const sde = solver(tanh, { algorithmType: 'sde-dpmsolver++' });
  const outside = solver(null, { thresholding: { ratio: 0.9 } });
  const broken = solver((x) => ({ ...tanh(x), data: x.data.map(() => Number.NaN) }), {});
  const throwing = solver(() => {
    throw new Error('no network');
  }, {});
  const wrong = solver(() => ({ type: 'float32', dims: [1], data: new Float32Array(1) }), {});
  return [
    () => plain.sample(small, { steps: 8 }),
    () => thresholding.sample(pair, { steps: 8 }),
    () => later.sample(wide, { steps: 9, order: 3, method: 'singlestep' }),
    (i) => sde.sample(small, { steps: 6, seed: i }),
    (i) => sde.sample(pair, { steps: 6, seed: [i, i + 1], noise: 'philox' }),
    () => plain.sample(small, { method: 'adaptive', atol: 0.5, rtol: 0.5 }),
    () => plain.invert(small, { steps: 6 }),
    () => plain.sample(pair, { steps: 6, intermediates: true, onStep() {} }),
    () => {
      const run = outside.start(small, { steps: 6 });
      while (!run.done) run.advance(tanh(run.x));
      return run.result;
    },
    () => void outside.start(small, { steps: 6 }).advance(tanh(small)), // left in the middle
    () => fails(broken.sample(small, { steps: 4 }), /not finite|finite/),
    () => fails(throwing.sample(small, { steps: 4 }), /no network/),
    () => fails(wrong.sample(small, { steps: 4 }), /^Expected /),
    () => {
      const stop = new AbortController();
      const halfway = ({ step }) => step === 2 && stop.abort(new Error('stopped'));
      return fails(plain.sample(small, { steps: 6, onStep: halfway, signal: stop.signal }), /stopped/);
    },
    (i) => (i % 500 === 0 ? thresholding.sample(large, { steps: 2, order: 1 }) : plain.sample(small, { steps: 4 })),
  ];
}
