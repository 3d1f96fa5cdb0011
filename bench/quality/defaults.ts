/**
 * What a call that names nothing makes of the embedded network: right pictures, as the judge sees them, and the noise that is
 * left in flat areas.
 *
 *     npm run bench:defaults -- [--pictures 512] [--steps 10,20] [--guidance 3] [--model DIR] [--table none]
 *
 * Prompts and seeds are those of bench:quality. The noise of a picture is the standard deviation, of values in [-1, 1], that
 * differences of neighbouring pixels have: the median of their sizes by 0.6745 sqrt(2), which edges do not move as long as
 * they are less than half of the picture.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { isRight, judge, randomPrompts } from './judge.js';
import { drawnPictures } from './truth.js';

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    pictures: { ...text, default: '512' },
    steps: { ...text, default: '10,20' },
    guidance: text,
    model: text,
    table: text,
  },
});
const count = Number(values.pictures);
const prompts = randomPrompts(count, 2026);
const SIDE = 32;
const AREA = SIDE * SIDE;
const VALUES = 3 * AREA;

/** The noise in the flat areas of a picture, 3 x 32 x 32. */
export function flatNoise(pixels: Float32Array): number {
  const sizes: number[] = [];
  for (let i = 0; i < pixels.length; i++) {
    if ((i + 1) % SIDE !== 0) sizes.push(Math.abs(pixels[i + 1] - pixels[i]));
    if ((i % AREA) + SIDE < AREA) sizes.push(Math.abs(pixels[i + SIDE] - pixels[i]));
  }
  sizes.sort((a, b) => a - b);
  return sizes[sizes.length >> 1] / (0.6745 * Math.SQRT2);
}

const mean = (all: readonly number[]) => all.reduce((sum, value) => sum + value, 0) / all.length;

const cut = (all: Float32Array) =>
  Array.from({ length: all.length / VALUES }, (_, k) => all.subarray(k * VALUES, (k + 1) * VALUES));

const pipe = await DiffusionPipeline.fromPretrained(
  values.model ?? fileURLToPath(new URL('../../models/shapes', import.meta.url)),
);
const drawn = mean(cut(drawnPictures(count, 2026)).map(flatNoise));
const guidance = values.guidance === undefined ? pipe.defaults.guidance : Number(values.guidance);
const asked = { guidance, ...(values.table === 'none' ? { table: 'none' as const } : {}) };
console.log(`${count} pictures, guidance ${guidance}; of drawn ones ${drawn.toFixed(4)}`);
for (const steps of values.steps.split(',').map(Number)) {
  const shown = prompts.map(({ prompt }) => prompt);
  const { sample, nfe, table } = await pipe({ prompt: shown, steps, seed: 0, batchSize: 64, ...asked });
  const pictures = cut(sample.data);
  const right = pictures.map((pixels, k) => (isRight(judge(pixels), prompts[k]) ? 1 : 0));
  const share = mean(right);
  const interval = 1.96 * Math.sqrt((share * (1 - share)) / count);
  const noise = mean(pictures.map(flatNoise));
  const percent = (value: number) => (100 * value).toFixed(1);
  console.log(
    `${nfe} evaluations${table ? ` by '${table}'` : ''}: ${percent(share)} ± ${percent(interval)}% right, noise in flat areas ${noise.toFixed(4)}`,
  );
}
await pipe.dispose();
