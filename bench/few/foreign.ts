// Networks as somebody else might bring them: a function, NoiseSchedule.edm(), x0 as its output, and of each sample a condition
// of its own. Six calibrated evaluations are held against what the best classic solver does with eight.
import { readFileSync } from 'node:fs';
import { calibrate } from '../../lib/calibrate/index.js';
import type { CalibratedModel, CalibrateOptions } from '../../lib/calibrate/index.js';
import type { CalibrationReport } from '../../lib/calibrate/report.js';
import { generator, NoiseSchedule } from '../../lib/index.js';
import { Conditioner } from '../../lib/pipelines/conditioner.js';
import { Denoiser } from '../../lib/pipelines/denoiser.js';
import { timeOfSigma } from '../../lib/schedule/sigmas.js';
import { Mixture, normal, uniform } from '../error/mixture.js';
import { randomPrompts } from '../quality/judge.js';
import { FOLDER, training } from './shapes.js';

const SCHEDULE = NoiseSchedule.edm();
const CONDITIONS = 6;

/** A network, where its samples start, and what its pictures are clipped to. */
interface Foreign {
  model: CalibratedModel;
  dims: readonly number[];
  /** The start of sample i. */
  sample(i: number): Float32Array;
  range?: CalibrateOptions['range'];
  release?(): Promise<void>;
}

/** Sample s has the condition s modulo their number, which leaves a mixture of its own. */
function exact(side: number, mixtures: readonly Mixture[]): Foreign {
  const size = side * side;
  const model: CalibratedModel = (x, sigma, { samples }) => {
    const data = x.data as Float32Array;
    const out = new Float32Array(data.length);
    const own = new Float64Array(size);
    samples.forEach((s, i) => {
      const at = Float64Array.from(data.subarray(i * size, (i + 1) * size));
      mixtures[s % mixtures.length].denoise(at, { alpha: 1, sigma }, own);
      out.set(own, i * size);
    });
    return { data: out, dims: x.dims };
  };
  const sample = (i: number) => {
    const draw = normal(7000 + i);
    return Float32Array.from({ length: size }, () => SCHEDULE.T * draw());
  };
  return { model, dims: [1, side, side], sample };
}

/** Pictures are smooth fields around one of twelve places, of which a condition leaves three. */
function fields(): Foreign {
  const [side, places, left, deviation] = [128, 12, 3, 0.08];
  const size = side * side;
  /** A few waves, from -1 to 1 or so. */
  const all = Array.from({ length: places }, (_, place) => {
    const draw = normal(500 + place);
    const waves = Array.from({ length: 8 }, () => [draw(), draw(), draw(), 6 * draw()]);
    return Float64Array.from({ length: size }, (_, i) => {
      const [x, y] = [(i % side) / side, Math.floor(i / side) / side];
      return 0.4 * waves.reduce((sum, [a, u, v, phase]) => sum + a * Math.cos(4 * (u * x + v * y) + phase), 0);
    });
  });
  const random = uniform(9);
  const mixtures = Array.from({ length: CONDITIONS }, () => {
    const means = new Float64Array(left * size);
    for (let k = 0; k < left; k++) means.set(all[Math.floor(places * random())], k * size);
    return new Mixture(
      size,
      new Float64Array(left).fill(1 / left),
      means,
      new Float64Array(left * size).fill(deviation ** 2),
    );
  });
  return exact(side, mixtures);
}

/**
 * Like photographs: variances that fall with the frequency by a power of 1.6 to 2.4, eight kinds of picture for each condition. The
 * numbers are those of an orthonormal basis of waves, in which distances are what they are between pixels.
 */
function spectra(): Foreign {
  const [side, kinds, unit] = [32, 8, 0.125];
  const size = side * side;
  const [random, draw] = [uniform(1), normal(78)];
  const mixtures = Array.from({ length: CONDITIONS }, () => {
    const means = new Float64Array(kinds * size);
    const variances = new Float64Array(kinds * size);
    for (let k = 0; k < kinds; k++) {
      const power = 1.6 + 0.8 * random();
      const own = variances.subarray(k * size, (k + 1) * size);
      for (let i = 0; i < size; i++) {
        const frequency = Math.hypot(i % side, Math.floor(i / side)) + 1;
        own[i] = frequency ** -power * Math.exp(0.5 * draw());
      }
      const scale = (unit * size) / own.reduce((a, b) => a + b, 0);
      for (let i = 0; i < size; i++) {
        own[i] *= scale;
        means[k * size + i] = Math.sqrt(own[i]) * draw();
      }
    }
    return new Mixture(size, new Float64Array(kinds).fill(1 / kinds), means, variances);
  });
  return exact(side, mixtures);
}

/** The network of the package with a prompt for each sample, asked as one that takes x / alpha and sigma / alpha. */
async function shapes(): Promise<Foreign> {
  const dims = [3, 32, 32] as const;
  const { schedule } = training();
  const [names, prompts] = [['model.onnx'], randomPrompts(160, 4711).map(({ prompt }) => prompt)];
  const index = JSON.parse(readFileSync(`${FOLDER}/model_index.json`, 'utf8'));
  const denoiser = await Denoiser.open(FOLDER, 'unet', names, { threads: 1 });
  const found = Conditioner.find(FOLDER, index, names);
  const conditioner = await Conditioner.open(FOLDER, index, found, denoiser, names, { threads: 1 });
  const encoded = await conditioner.encode(
    prompts,
    [],
    { width: 32, height: 32 },
    { overlong: 'refuse', warn: undefined },
  );
  await conditioner.release();
  const prepared = new Map<string, ReturnType<Denoiser['prepare']>>();
  const model: CalibratedModel = async (x, sigma, { samples }) => {
    const key = samples.join();
    const network =
      prepared.get(key) ??
      denoiser.prepare(
        samples.map((s) => encoded.for(prompts[s % prompts.length])),
        dims,
      );
    prepared.set(key, network);
    // EDM goes on to a twentieth of the noise that this network has seen.
    const least = Math.exp(-schedule.lambda(schedule.epsilon));
    const t = timeOfSigma(schedule, Math.max(sigma, least), 'sigma');
    const node = schedule.node(t);
    const data = Float32Array.from(x.data as Float32Array, (value) => node.alpha * value);
    const v = (await network({ type: 'float32', data, dims: x.dims }, schedule.modelTime(t))).data as Float32Array;
    return { type: 'float32', data: data.map((value, i) => node.alpha * value - node.sigma * v[i]), dims: x.dims };
  };
  const sample = (i: number) =>
    (generator(57_000 + i).randn([1, ...dims]).data as Float32Array).map((value) => SCHEDULE.T * value);
  return { model, dims, sample, range: [-1, 1], release: () => denoiser.release() };
}

const NETWORKS: Record<string, () => Foreign | Promise<Foreign>> = { shapes, spectra, fields };

/** Of one network. */
export interface ForeignResult {
  network: string;
  dims: readonly number[];
  samples: number;
  heldOut: number;
  budget: number;
  teacherEvaluations: number;
  report: CalibrationReport[];
}

/**
 * @param known made before, which are not made again
 * @param keep told all after each
 */
export async function measureForeign(
  known: readonly ForeignResult[],
  { steps = [6, 8], samples = 32, heldOut = 128, budget = 5000 },
  keep: (networks: readonly ForeignResult[]) => void,
  tell: (line: string) => void,
): Promise<void> {
  const results = [...known];
  for (const [network, open] of Object.entries(NETWORKS)) {
    if (results.some((one) => one.network === network)) continue;
    const { model, dims, sample, range, release } = await open();
    const { report, teacherEvaluations } = await calibrate(model, SCHEDULE, {
      ...{ modelType: 'x_start', steps, samples, heldOut, budget: { evaluations: budget } },
      ...(range ? { range } : {}),
      sample: (i) => ({ type: 'float32', data: sample(i), dims: [1, ...dims] }),
    });
    await release?.();
    for (const { steps, kept, heldOut, start, classic, classicName, wins, evaluations } of report) {
      tell(
        `${network}, ${steps}: ${kept}, ${heldOut.toFixed(4)} (${start}) against ${classic.toFixed(4)} (${classicName}), wins ${wins}; ${JSON.stringify(evaluations)}`,
      );
    }
    results.push({ network, dims, samples, heldOut, budget, teacherEvaluations, report });
    keep(results);
  }
}
