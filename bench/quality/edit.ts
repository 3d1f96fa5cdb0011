/**
 * How well the pipeline edits: 64 pictures of "a red circle on a blue background" become "a yellow star on a blue
 * background", with the background kept.
 *
 *     npm run bench:edit -- [--cases 64] [--steps 20] [--sheet edit.png] [--strength S] [--guidance W] ...
 *
 * The pictures are drawn by the network itself, the first seeds whose picture the judge finds right. Every edit has a seed
 * of its own, which is neither that of its picture nor one that the plain pictures have. An edit counts when
 * the judge finds the target prompt right and the background is kept: over the pixels that are background before and
 * after, the mean difference is at most 0.02 (of 1), and at least half of the old background is within 2/255 of what it
 * was. The measure for it is how many of as many pictures are right that are drawn from the target prompt alone, with as
 * many steps. Writes bench/results/edit.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sheet } from '../../lib/image/sheet.js';
import { DiffusionPipeline, type EditOptions, encodePng, type Image } from '../../lib/pipelines/index.js';
import { machine } from '../machine.js';
import { isRight, judge, nearestColor, type Verdict } from './judge.js';

const source = {
  prompt: 'a red circle on a blue background',
  shape: 'circle',
  color: 'red',
  background: 'blue',
} as const;
const target = {
  prompt: 'a yellow star on a blue background',
  shape: 'star',
  color: 'yellow',
  background: 'blue',
} as const;
const MAX_DIFFERENCE = 0.02;
const MIN_UNTOUCHED = 0.5;
/** Added to a picture's seed for its edit. */
const EDIT_SEEDS = 1_000_000;

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    ...{
      cases: { ...text, default: '64' },
      steps: { ...text, default: '20' },
      model: text,
      sheet: text,
      results: text,
    },
    ...{
      strength: text,
      guidance: text,
      freshNoise: text,
      maskThreshold: text,
      maskMargin: text,
      maskSamples: text,
      maskStrength: text,
    },
    ...{ order: text, negative: text, plainGuidance: text, lowerOrderFinal: text },
  },
});
const cases = Number(values.cases);
const steps = Number(values.steps);
const number = (value: string | undefined) => (value === undefined ? undefined : Number(value));

/** Planes of red, green and blue in [-1, 1], as the judge takes them. */
function pixels({ width, height, data }: Image): Float32Array {
  const plane = width * height;
  return Float32Array.from({ length: 3 * plane }, (_, i) => data[3 * (i % plane) + Math.floor(i / plane)] / 127.5 - 1);
}

const color = ({ data }: Image, i: number) =>
  [data[3 * i] / 255, data[3 * i + 1] / 255, data[3 * i + 2] / 255] as const;
const isBackground = (image: Image, i: number) => nearestColor(color(image, i)).color === source.background;

/** How much of the background is as it was. */
function background(before: Image, after: Image): { difference: number; untouched: number } {
  let [difference, both, same, old] = [0, 0, 0, 0];
  for (let i = 0; i < before.width * before.height; i++) {
    if (!isBackground(before, i)) continue;
    old++;
    const [a, b] = [color(before, i), color(after, i)];
    const distances = a.map((value, c) => Math.abs(value - b[c]));
    if (Math.max(...distances) < 2 / 255) same++;
    if (!isBackground(after, i)) continue;
    both++;
    difference += (distances[0] + distances[1] + distances[2]) / 3;
  }
  return { difference: both > 0 ? difference / both : 1, untouched: old > 0 ? same / old : 0 };
}

interface Case {
  seed: number;
  right: boolean;
  kept: boolean;
  difference: number;
  untouched: number;
}

async function main() {
  const pipe = await DiffusionPipeline.fromPretrained(values.model ?? `${root}/models/shapes`);
  const guidance = number(values.plainGuidance);
  const draw = async (prompt: string, seed: number) =>
    (await pipe({ prompt, count: 16, seed, steps, guidance })).images;

  const pictures: { seed: number; image: Image }[] = [];
  let seen = 0;
  for (; pictures.length < cases && seen < 8 * cases; seen += 16) {
    const drawn = await draw(source.prompt, seen);
    const right = drawn.flatMap((image, i) =>
      isRight(judge(pixels(image)), source) ? [{ seed: seen + i, image }] : [],
    );
    pictures.push(...right.slice(0, cases - pictures.length));
  }
  let plain = 0;
  for (let seed = 0; seed < cases; seed += 16) {
    const drawn = (await draw(target.prompt, seed)).slice(0, cases - seed);
    plain += drawn.filter((image) => isRight(judge(pixels(image)), target)).length;
  }

  const options: Partial<EditOptions> = {
    steps,
    negativePrompt: values.negative,
    order: number(values.order) as 1 | 2 | 3 | undefined,
    ...{ strength: number(values.strength), guidance: number(values.guidance) },
    ...{ freshNoise: number(values.freshNoise), lowerOrderFinal: number(values.lowerOrderFinal) },
    ...{ maskThreshold: number(values.maskThreshold), maskMargin: number(values.maskMargin) },
    ...{ maskSamples: number(values.maskSamples), maskStrength: values.maskStrength?.split(',').map(Number) },
  };
  const rows: Image[][] = [];
  const results: (Omit<Verdict, 'size' | 'nearest' | 'radius' | 'foreign'> & Case)[] = [];
  let nfe = 0;
  const began = performance.now();
  for (const { seed, image } of pictures) {
    const made = await pipe.edit({
      ...{ image, source: source.prompt, target: target.prompt, seed: EDIT_SEEDS + seed },
      ...options,
    });
    const [edited] = made.images;
    const verdict = judge(pixels(edited));
    const { difference, untouched } = background(image, edited);
    const right = isRight(verdict, target);
    const kept = difference <= MAX_DIFFERENCE && untouched >= MIN_UNTOUCHED;
    const { shape, color, background: ground, overlap } = verdict;
    results.push({ seed, right, kept, difference, untouched, shape, color, background: ground, overlap });
    nfe = made.nfe;
    if (rows.length < 16) rows.push([image, made.mask, edited]);
  }
  const seconds = (performance.now() - began) / 1000;
  await pipe.dispose();

  const count = (test: (one: (typeof results)[number]) => boolean) => results.filter(test).length;
  const summary = {
    cases: results.length,
    /** Pictures of the source prompt that were drawn to get so many right ones. */
    drawn: seen,
    plain,
    edited: count(({ right, kept }) => right && kept),
    right: count(({ right }) => right),
    shape: count(({ shape }) => shape === target.shape),
    colors: count((one) => one.color === target.color && one.background === target.background),
    kept: count(({ kept }) => kept),
    nfe,
    secondsEach: results.length > 0 ? seconds / results.length : null,
  };
  console.log(
    `${summary.edited} of ${summary.cases} edits are right and keep the background, ${plain} of ${cases} plain pictures ` +
      `are right: ${plain > 0 ? (summary.edited / plain).toFixed(2) : '-'} (shape ${summary.shape}, colours ` +
      `${summary.colors}, background kept ${summary.kept}; ${nfe} evaluations, ${summary.secondsEach?.toFixed(2)} s each)`,
  );
  if (values.sheet && rows.length > 0) {
    const columns = [0, 1].flatMap((half) => ['image', 'mask', 'edited'].map((name) => (half ? `${name} ` : name)));
    const pairs = rows.flatMap((row, i) => (i % 2 === 0 ? [[...row, ...(rows[i + 1] ?? [])]] : []));
    writeFileSync(values.sheet, encodePng(sheet(pairs, { scale: 3, columnNames: columns })));
  }
  if (values.results === 'none') return;
  mkdirSync(`${root}/bench/results`, { recursive: true });
  const report = {
    command: 'npm run bench:edit',
    machine: machine(),
    source,
    target,
    options,
    summary,
    results,
  };
  writeFileSync(`${root}/bench/results/edit.json`, `${JSON.stringify(report, null, 2)}\n`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
