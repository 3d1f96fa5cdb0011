/**
 * How many of 256 random prompts the embedded network gets right, by solver and number of evaluations:
 *
 *     npm run bench:accuracy [-- --prompts 256 --guidance 3]
 *
 * "Right" is the judge's word (judge.ts): shape, colour and background all as the prompt says. Every row has the same
 * prompts and the same start noise. Writes bench/results/accuracy.json.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { machine } from '../machine.js';
import { isRight, judge, randomPrompts, SHAPES } from './judge.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: { prompts: { type: 'string', default: '256' }, guidance: { type: 'string', default: '3' } },
});
const prompts = randomPrompts(Number(values.prompts), 2026);
const guidance = Number(values.guidance);

const rows: { name: string; options: Partial<GenerateOptions> }[] = [
  ...[5, 8, 10, 15, 20].map((steps) => ({
    name: `DPM-Solver++(2M), ${steps} steps`,
    options: { steps, order: 2 as const },
  })),
  ...[5, 8, 10, 15, 20, 50].map((steps) => ({ name: `DDIM, ${steps} steps`, options: { steps, order: 1 as const } })),
  {
    name: 'DPM-Solver++(2M), 20 steps, classifier guidance',
    options: { steps: 20, order: 2 as const, guidance: 0, classifierScale: 4 },
  },
];

async function main() {
  const pipe = await DiffusionPipeline.fromPretrained(`${root}/models/shapes`);
  const results = [];
  for (const { name, options } of rows) {
    const began = performance.now();
    const { sample, timings } = await pipe({ prompt: prompts.map((p) => p.prompt), seed: 0, guidance, ...options });
    const size = sample.data.length / prompts.length;
    const verdicts = prompts.map((_, i) => judge(sample.data.subarray(i * size, (i + 1) * size)));
    const share = (test: (i: number) => boolean, of = prompts.map((_, i) => i)) =>
      of.length === 0 ? null : of.filter(test).length / of.length;
    const right = share((i) => isRight(verdicts[i], prompts[i]))!;
    const colors = share(
      (i) => verdicts[i].color === prompts[i].color && verdicts[i].background === prompts[i].background,
    )!;
    const byShape = Object.fromEntries(
      SHAPES.map((shape) => [
        shape,
        share(
          (i) => verdicts[i].shape === shape,
          prompts.flatMap((p, i) => (p.shape === shape ? [i] : [])),
        ),
      ]),
    );
    results.push({ name, right, colors, byShape, networkMs: timings.networkMs, stepMs: timings.stepMs });
    const percent = (x: number | null) => (x === null ? '-' : `${(100 * x).toFixed(1)}%`).padStart(6);
    const shapes = SHAPES.map((shape) => `${shape} ${percent(byShape[shape])}`).join('  ');
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    console.log(`${name.padEnd(50)} right ${percent(right)}  colours ${percent(colors)}  ${shapes}  ${seconds} s`);
  }
  await pipe.dispose();
  const file = `${root}/bench/results/accuracy.json`;
  writeFileSync(
    file,
    `${JSON.stringify({ command: 'npm run bench:accuracy', machine: machine(), prompts: prompts.length, guidance, results }, null, 2)}\n`,
  );
  console.log(`written to bench/results/accuracy.json`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
