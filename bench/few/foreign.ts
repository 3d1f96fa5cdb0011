// A network as somebody else might bring it: a function over one channel of 128 x 128, NoiseSchedule.edm(), x0 as its output, and
// of each sample a condition of its own. Here it is exact: pictures are smooth fields around one of several places, of which
// the condition leaves three.
import { calibrate } from '../../lib/calibrate/index.js';
import type { CalibratedModel } from '../../lib/calibrate/index.js';
import { NoiseSchedule } from '../../lib/index.js';
import { Mixture, normal, uniform } from '../error/mixture.js';

const SIDE = 128;
const SIZE = SIDE * SIDE;
const [FIELDS, CONDITIONS, LEFT] = [12, 6, 3];
const DEVIATION = 0.08;

/** A field of a few waves, from -1 to 1 or so. */
function field(seed: number): Float64Array {
  const draw = normal(seed);
  const waves = Array.from({ length: 8 }, () => [draw(), draw(), draw(), 6 * draw()]);
  return Float64Array.from({ length: SIZE }, (_, i) => {
    const [x, y] = [(i % SIDE) / SIDE, Math.floor(i / SIDE) / SIDE];
    return 0.4 * waves.reduce((sum, [a, u, v, phase]) => sum + a * Math.cos(4 * (u * x + v * y) + phase), 0);
  });
}

function conditions(): Mixture[] {
  const fields = Array.from({ length: FIELDS }, (_, k) => field(500 + k));
  const random = uniform(9);
  return Array.from({ length: CONDITIONS }, () => {
    const means = new Float64Array(LEFT * SIZE);
    for (let k = 0; k < LEFT; k++) means.set(fields[Math.floor(FIELDS * random())], k * SIZE);
    return new Mixture(
      SIZE,
      new Float64Array(LEFT).fill(1 / LEFT),
      means,
      new Float64Array(LEFT * SIZE).fill(DEVIATION ** 2),
    );
  });
}

export async function measureForeign(
  steps: readonly number[],
  { samples = 32, heldOut = 64, budget = 5000 }: { samples?: number; heldOut?: number; budget?: number },
  tell: (line: string) => void,
): Promise<object> {
  const schedule = NoiseSchedule.edm();
  const mixtures = conditions();
  const model: CalibratedModel = (x, t, { samples: which }) => {
    const data = x.data as Float32Array;
    const out = new Float32Array(data.length);
    const node = schedule.node(t);
    which.forEach((s, i) => {
      const own = new Float64Array(SIZE);
      mixtures[s % CONDITIONS].denoise(Float64Array.from(data.subarray(i * SIZE, (i + 1) * SIZE)), node, own);
      out.set(own, i * SIZE);
    });
    return { data: out, dims: x.dims };
  };
  const began = performance.now();
  const { report, teacherEvaluations } = await calibrate(model, schedule, {
    ...{ modelType: 'x_start', steps: [...steps], samples, heldOut, budget: { evaluations: budget } },
    sample: (i) => {
      const draw = normal(7000 + i);
      return { data: Float32Array.from({ length: SIZE }, () => 80 * draw()), dims: [1, 1, SIDE, SIDE] };
    },
  });
  for (const one of report) {
    tell(
      `${one.steps}: ${one.kept}, ${one.heldOut.toFixed(4)} (${one.start}) against ${one.classic.toFixed(4)} (${one.classicName}), wins ${one.wins}; ${JSON.stringify(one.evaluations)}`,
    );
  }
  return { samples, heldOut, budget, teacherEvaluations, seconds: (performance.now() - began) / 1000, report };
}
