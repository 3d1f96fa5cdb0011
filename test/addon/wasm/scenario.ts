// Runs of everything that computes, the same program for every build: in Node, in an installed package, in a bundle and
// in a browser. It uses nothing but the package.
//
// What the addon computes has the same bits everywhere. Schedules and grids are JavaScript, whose Math.exp and Math.pow
// have other last bits in other engines: whole runs are the same to the bit only where the engine is.
type Package = typeof import('../../../lib/wasm.js');
type Floats = Float32Array | Float64Array;

/** FNV-1a over the bytes, twice with different starts. */
function hash(views: ArrayBufferView[]): string {
  let [a, b] = [0x811c9dc5, 0x12345678];
  for (const view of views) {
    for (const byte of new Uint8Array(view.buffer, view.byteOffset, view.byteLength)) {
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b ^ byte, 0x01000193);
    }
  }
  return [a, b].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

/** A network of additions and multiplications only: other functions have other bits in other engines. */
function network(x: { data: ArrayLike<number>; dims: readonly number[]; type?: string }, t: number) {
  const { data, dims, type } = x;
  const out = new (data.constructor as Float32ArrayConstructor)(data.length);
  const scale = 0.25 + t / 4096;
  for (let i = 0; i < out.length; i++) out[i] = data[i] * scale - data[(i + 1) % out.length] * 0.125;
  return { data: out, dims: [...dims], ...(type ? { type } : {}) };
}

export interface Results {
  /** Steps, rows and noise: hashes. */
  addon: Record<string, string>;
  /** Whole runs: hashes. */
  runs: Record<string, string>;
  /** The first numbers of each run's result. */
  numbers: Record<string, number[]>;
}

/** Each by the name of what was run. */
export async function scenario(dpm: Package): Promise<Results> {
  const results: Record<string, string> = {};
  const numbers: Record<string, number[]> = {};
  const first = (data: ArrayLike<number>) => Array.from({ length: 16 }, (_, i) => data[i]);
  const schedule = dpm.NoiseSchedule.discrete({ betas: dpm.betas('scaled_linear') });
  const runs: [string, object, object][] = [
    ['2M', {}, { steps: 9 }],
    ['3M, thresholding', { thresholding: true, thirdOrder: 'exact' }, { steps: 7, order: 3 }],
    ['2S, guidance', { guidance: { type: 'classifier-free', scale: 5 } }, { steps: 8, method: 'singlestep' }],
    ['SDE', { algorithmType: 'sde-dpmsolver++' }, { steps: 6, seed: 3 }],
    ['SDE, Philox', { algorithmType: 'sde-dpmsolver++' }, { steps: 6, seed: 3, noise: 'philox' }],
    ['adaptive', {}, { method: 'adaptive', order: 2, tEnd: 0.01, atol: 0.5, rtol: 0.5 }],
    ['noise form, Karras', { algorithmType: 'dpmsolver' }, { steps: 6, order: 2, skipType: 'karras' }],
    ['corrected', { correctX0: (x0: { data: Floats }) => x0 }, { steps: 5 }],
  ];
  for (const type of ['float32', 'float64'] as const) {
    for (const [name, options, sampling] of runs) {
      const solver = new dpm.DPMSolver(network as never, schedule, options as never);
      const { sample, intermediates } = await solver.sample(dpm.randn([2, 3, 16, 17], { seed: 1, type }), {
        ...sampling,
        intermediates: true,
      } as never);
      numbers[`${name}, ${type}`] = first(sample.data as Floats);
      results[`${name}, ${type}`] = hash([sample, ...intermediates!].map(({ data }) => data as Floats));
    }
  }
  // Large enough that WebAssembly has its tensors in a memory of their own.
  for (const type of ['float32', 'float64'] as const) {
    const options = {
      thresholding: true,
      guidance: { type: 'classifier-free', scale: 5 },
      algorithmType: 'sde-dpmsolver++',
    };
    const solver = new dpm.DPMSolver(network as never, schedule, options as never);
    const { sample } = await solver.sample(dpm.randn([2, 3, 64, 64], { seed: 1, type }), {
      steps: 6,
      seed: 3,
    } as never);
    numbers[`large, ${type}`] = first(sample.data as Floats);
    results[`large, ${type}`] = hash([sample.data as Floats]);
  }
  const half = { data: new Uint16Array(600), dims: [1, 600], type: 'float16' as const };
  dpm.convert(dpm.randn([1, 600], { seed: 2 }).data as Float32Array, half.data);
  const steady = (x: typeof half) => ({ ...x, data: x.data.slice() });
  const fp16 = await new dpm.DPMSolver(steady as never, schedule).sample(half, { steps: 6 });
  results['2M, float16'] = hash([fp16.sample.data as unknown as Uint16Array]);

  for (const name of [
    'DPMSolverMultistepScheduler',
    'UniPCMultistepScheduler',
    'DEISMultistepScheduler',
    'DDIMScheduler',
    'PNDMScheduler',
  ] as const) {
    const config = { num_train_timesteps: 1000, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
    const scheduler = dpm[name].fromConfig(config as never);
    scheduler.setTimesteps(7);
    let x: unknown = dpm.randn([1, 4, 8, 8], { seed: 4 });
    for (const t of scheduler.timesteps) x = scheduler.step(network(x as never, Number(t)) as never, t, x as never);
    numbers[name] = first((x as { data: Floats }).data);
    results[name] = hash([(x as { data: Floats }).data]);
  }
  return { addon: addonAlone(dpm), runs: results, numbers };
}

function addonAlone(dpm: Package): Record<string, string> {
  const results: Record<string, string> = {};
  const node = (lambda: number, alpha: number, sigma: number) => ({ alpha, sigma, lambda });
  const nodes = [node(-1, 0.345, 0.9386), node(-0.25, 0.614, 0.7892), node(0.5, 0.8549, 0.5188)];
  const rows = new Float64Array(2 * dpm.ROW.length);
  for (const index of [0, 1]) {
    const [d1, base, target] = nodes;
    const update = { method: 'multistep', form: 'data', order: 2, target, base, nodes: [base, d1] } as const;
    const statuses = [dpm.predictionRow(rows, index, 'noise', 'data', base), dpm.updateRow(rows, index, update)];
    if (statuses.some((status) => status !== dpm.STATUS.ok)) throw new Error(`statuses ${statuses}`);
  }
  results['a row'] = hash([rows]);
  for (const type of ['float32', 'float64'] as const) {
    const tensors = [1, 2, 3].map((seed) => dpm.randn([2, 3001], { seed, type }).data as Floats);
    results[`torch noise, ${type}`] = hash(tensors);
    for (const transform of [0, 1, 2]) {
      for (const index of [0, 1]) rows.set([transform, 0.9, 0.5, 3], index * dpm.ROW.length + dpm.ROW.transform);
      const [x, m, d1] = tensors;
      const [d0, out] = [x.slice(), x.slice()];
      const next = new Uint16Array(x.length);
      dpm.step(rows, { x, m, base: x, d1, d0, out, next }, { batch: 2 });
      results[`a step, transform ${transform}, ${type}`] = hash([d0, out, next]);
    }
  }
  return results;
}
