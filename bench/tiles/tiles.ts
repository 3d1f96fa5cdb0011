/**
 * How a picture that is decoded by tiles differs from the whole one:
 *
 *     npm run bench:tiles
 *
 * Pictures of the model that comes with the package, laid together, go through the encoder of bench/tiles/autoencoder, which
 * bench/tiles/train.py trained, and back whole, by diffusers' tiles and by even ones with more overlap. Writes
 * docs/figures/tiles.png and bench/results/tiles.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { toPixels } from '../../lib/image/image.js';
import { sheet } from '../../lib/image/sheet.js';
import { Coder } from '../../lib/pipelines/coder.js';
import { DiffusionPipeline, encodePng, type Image, type VaeTiling } from '../../lib/pipelines/index.js';
import { Stage } from '../../lib/pipelines/stages.js';
import { readTiling } from '../../lib/pipelines/tiling.js';
import { Vae } from '../../lib/pipelines/vae.js';
import { machine } from '../machine.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: `${root}/models/shapes` },
    autoencoder: { type: 'string', default: `${root}/bench/tiles/autoencoder` },
    figures: { type: 'string', default: `${root}/docs/figures` },
    results: { type: 'string', default: `${root}/bench/results/tiles.json` },
  },
});
/** Pixels of the picture's side, which is no multiple of a tile's. */
const SIDE = 256;
/** Differences are shown so many times as large. */
const TIMES = 4;

const prompts = [
  'a red circle on a blue background',
  'a large yellow star on a purple background',
  'a white ring on a black background',
  'a small green cross on a white background',
];
const ways: [name: string, tiling: VaeTiling][] = [
  ['true', true],
  ['{ overlap: 0.5 }', { overlap: 0.5 }],
];

export interface TilesResults {
  side: number;
  rows: {
    name: string;
    /** As the result tells. */
    tiles: number;
    /** Pixels of the largest. */
    width: number;
    /** Levels of 255: the mean, what one number in a hundred is above, and the largest. */
    mean: number;
    most: number;
    largest: number;
  }[];
}

/** One picture of four. */
async function draw(): Promise<Image> {
  const pipe = await DiffusionPipeline.fromPretrained(values.model);
  const { images } = await pipe({ prompt: prompts, seed: 1, steps: 15 });
  await pipe.dispose();
  const half = SIDE / 2;
  const parts = images.map(({ data, width, height }, i) =>
    sharp(data, { raw: { width, height, channels: 3 } })
      .resize(half, half, { kernel: 'cubic' })
      .png()
      .toBuffer()
      .then((input) => ({ input, left: (i % 2) * half, top: i < 2 ? 0 : half })),
  );
  const empty = { width: SIDE, height: SIDE, channels: 3 as const, background: 'black' };
  const data = await sharp({ create: empty })
    .composite(await Promise.all(parts))
    .removeAlpha()
    .raw()
    .toBuffer();
  return { width: SIDE, height: SIDE, data: new Uint8Array(data) };
}

/** Grey where pictures are the same, lighter where the first has more. */
function apart(a: Image, b: Image): Image {
  const data = new Uint8ClampedArray(a.data.length);
  for (const i of data.keys()) data[i] = 128 + TIMES * (a.data[i] - b.data[i]);
  return { ...a, data: new Uint8Array(data.buffer) };
}

async function main() {
  const vae = await Vae.open(values.autoencoder, ['model.onnx'], {}, false);
  const coderOf = (tiling: VaeTiling) =>
    new Coder(vae, { tiling: readTiling(tiling, { factor: vae.factor, latent: true }) });
  const picture = await draw();
  const whole = coderOf(false);
  const stage = new Stage('encode', 1, undefined);
  const latents = await whole.encode(toPixels(picture), picture, stage, 1);
  const side = SIDE / vae.factor;
  const state = { data: latents, dims: [1, latents.length / side ** 2, side, side] };
  const [one] = await whole.decode(state);
  const rows: TilesResults['rows'] = [];
  const shown: [name: string, image: Image][] = [
    ['the picture', picture],
    ['decoded whole', one],
  ];
  for (const [name, tiling] of ways) {
    const coder = coderOf(tiling);
    const [tiled] = await coder.decode(state);
    const levels = tiled.data.map((value, i) => Math.abs(value - one.data[i])).sort();
    const { rows: down, columns, width } = coder.tiles!;
    rows.push({
      ...{ name, tiles: down * columns, width, mean: levels.reduce((a, b) => a + b, 0) / levels.length },
      ...{ most: levels[Math.floor(0.99 * levels.length)], largest: levels[levels.length - 1] },
    });
    shown.push([shown.length === 2 ? 'tiles' : 'half overlap', tiled], [`apart, x ${TIMES}`, apart(tiled, one)]);
  }
  await vae.release();
  mkdirSync(values.figures, { recursive: true });
  const columnNames = shown.map(([name]) => name);
  writeFileSync(`${values.figures}/tiles.png`, encodePng(sheet([shown.map(([, image]) => image)], { columnNames })));
  const results: TilesResults & { machine: object } = { machine: machine(), side: SIDE, rows };
  writeFileSync(values.results, `${JSON.stringify(results, null, 2)}\n`);
  console.table(rows);
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
