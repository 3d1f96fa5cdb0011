// Decoding and encoding by tiles: what diffusers' enable_tiling makes of the same autoencoders, and what can be said without it.
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toPixels } from '../../lib/image/image.js';
import { Coder } from '../../lib/pipelines/coder.js';
import { DecodeError, DiffusionPipeline, type Image, type StageProgress } from '../../lib/pipelines/index.js';
import { Stage } from '../../lib/pipelines/stages.js';
import { byTiles, evenSpans } from '../../lib/pipelines/tiles.js';
import { bytesFor, cutOf, nextCut, readTiling } from '../../lib/pipelines/tiling.js';
import { Vae } from '../../lib/pipelines/vae.js';
import { assertRejects, assertThrows } from '../support.js';
import { folder, madeAt } from './exports.js';
import { changed, constant, layout, removeCopies } from './models.js';

const test = suite('tiling');
const opened: { dispose(): Promise<void> }[] = [];

test.after(async () => {
  await Promise.all(opened.map((pipe) => pipe.dispose()));
  removeCopies();
  const place = madeAt();
  if (place) rmSync(place, { recursive: true });
});

/** Autoencoders of diffusers' own, and what its `enable_tiling` makes with them; see test/fixtures/tiling.py. */
const tiling = fileURLToPath(new URL('../fixtures/models/tiling', import.meta.url));

interface Piece {
  at: number;
  bytes: number;
}
interface Case {
  width: number;
  height: number;
  /** Pixel values by which tiles and the whole differ. */
  gap: number;
  latents: Piece;
  image: Piece;
  encoded: Piece;
}

function casesOf<T = Case>(
  name: string,
): { cases: T[]; floats(piece: Piece): Float32Array; bytes(piece: Piece): Uint8Array } {
  const data = readFileSync(join(tiling, `${name}.bin`));
  const bytes = ({ at, bytes }: Piece) => new Uint8Array(data.subarray(at, at + bytes));
  return {
    cases: JSON.parse(readFileSync(join(tiling, `${name}.json`), 'utf8')),
    bytes,
    floats: (piece) => new Float32Array(bytes(piece).buffer),
  };
}

/** A pipeline with an autoencoder of diffusers' own. */
async function pipeline(autoencoder: 'kl' | 'kl-fixed'): Promise<DiffusionPipeline> {
  const folder = changed((copy) => {
    for (const part of ['vae_decoder', 'vae_encoder']) rmSync(join(copy, part), { recursive: true, force: true });
    cpSync(join(tiling, autoencoder), copy, { recursive: true });
  }, layout('sd'));
  const pipe = await DiffusionPipeline.fromPretrained(folder);
  opened.push(pipe);
  return pipe;
}

const kinds = [
  { name: 'kl', channels: 4 },
  { name: 'sixteen', channels: 16 },
] as const;

for (const { name, channels } of kinds) {
  test(`decodes as diffusers does by tiles: ${name}`, async () => {
    const { cases, floats, bytes } = casesOf(name);
    assert.ok(cases.length >= 7);
    const vae = await Vae.open(join(tiling, name), ['model.onnx'], {}, false);
    const decode = async (value: boolean, data: Float32Array, dims: number[]) =>
      (await new Coder(vae, { tiling: readTiling(value, { factor: 8, latent: true }) }).decode({ data, dims }))[0];
    try {
      for (const { width, height, latents, image, gap } of cases) {
        const dims = [1, channels, height / 8, width / 8];
        const tiled = await decode(true, floats(latents), dims);
        const whole = await decode(false, floats(latents), dims);
        const wanted = bytes(image);
        assert.equal([tiled.width, tiled.height], [width, height]);
        assert.ok(furthest(tiled.data, wanted) <= 1, `${width} x ${height}: ${furthest(tiled.data, wanted)}`);
        // The reference is one of tiles: the whole is something else wherever there is more than one.
        if (gap > 0) assert.ok(furthest(whole.data, wanted) > 20);
        else assert.equal(whole.data, tiled.data);
      }
    } finally {
      await vae.release();
    }
  });

  test(`encodes as diffusers does by tiles: ${name}`, async () => {
    const { cases, floats, bytes } = casesOf(name);
    const vae = await Vae.open(join(tiling, name), ['model.onnx'], {}, false);
    try {
      for (const { width, height, image, encoded } of cases) {
        const coder = new Coder(vae, { tiling: readTiling(true, { factor: 8, latent: true }) });
        const picture: Image = { width, height, data: bytes(image) };
        const stage = new Stage('encode', coder.piecesOf(picture), undefined);
        const latents = await coder.encode(toPixels(picture), picture, stage, 1);
        const wanted = floats(encoded);
        const deviation = Math.hypot(...wanted) / Math.sqrt(wanted.length);
        const error = Math.max(...latents.map((z, i) => Math.abs(z - wanted[i])));
        assert.ok(error < 1e-4 * deviation, `${width} x ${height}: ${error} of ${deviation}`);
      }
    } finally {
      await vae.release();
    }
  });
}

/** Folders as other exporters wrote them, where diffusers' own tiled_decode and tiled_encode go through their graphs. */
test('decodes and encodes the folders of other exporters as diffusers does by tiles', async () => {
  const { cases, floats, bytes } = casesOf<Case & { folder: string }>('exports');
  const names = new Set(cases.map((one) => one.folder));
  for (const name of ['flux-dev', 'inpaint', 'playground', 'sd1-float16', 'sd3', 'sdxl'])
    assert.ok(names.has(name), name);
  for (const name of names) {
    const pipe = await DiffusionPipeline.fromPretrained(folder(name));
    const vae = await Vae.open(folder(name), ['model.onnx'], {}, false);
    try {
      for (const { width, height, latents, image, encoded, gap } of cases.filter((one) => one.folder === name)) {
        const what = `${name} ${width} x ${height}`;
        const data = floats(latents);
        const state = { data, dims: [1, data.length / ((width * height) / 64), height / 8, width / 8] };
        const [tiled] = await pipe.decode(state, { vaeTiling: true });
        const [whole] = await pipe.decode(state, { vaeTiling: false });
        assert.ok(furthest(tiled.data, bytes(image)) <= 1, `${what}: ${furthest(tiled.data, bytes(image))}`);
        assert.ok(gap > 20 && furthest(whole.data, bytes(image)) > 20, what);
        const picture: Image = { width, height, data: bytes(image) };
        const coder = new Coder(vae, { tiling: readTiling(true, { factor: 8, latent: true }) });
        const stage = new Stage('encode', coder.piecesOf(picture), undefined);
        const made = await coder.encode(toPixels(picture), picture, stage, 1);
        const wanted = floats(encoded);
        const deviation = Math.hypot(...wanted) / Math.sqrt(wanted.length);
        const error = Math.max(...made.map((z, i) => Math.abs(z - wanted[i])));
        assert.ok(error < 1e-4 * deviation, `${what}: ${error} of ${deviation}`);
      }
    } finally {
      await Promise.all([pipe.dispose(), vae.release()]);
    }
  }
});

function furthest(a: Uint8Array, b: Uint8Array): number {
  assert.is(a.length, b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

test('tells of every tile, and how they were cut', async () => {
  const pipe = await pipeline('kl');
  const told: StageProgress[] = [];
  const tiles = { tile: 64, overlap: 0.25 };
  const { tiles: made, images } = await pipe({
    ...{ prompt: 'a cat', steps: 2, width: 128, height: 64, count: 2, batchSize: 1, vaeTiling: tiles },
    onProgress: (progress) => told.push(progress),
  });
  assert.equal([images[0].width, images[0].height], [128, 64]);
  assert.equal(made, { rows: 1, columns: 3, width: 56, height: 64, why: 'asked' });
  const stages = told.map(({ stage, done, of }) => `${stage} ${done}/${of}`);
  assert.equal(stages, [
    ...['encode 0/2', 'encode 1/2', 'encode 2/2'],
    ...Array.from({ length: 5 }, (_, i) => `step ${i}/4`),
    ...Array.from({ length: 7 }, (_, i) => `decode ${i}/6`),
  ]);
  for (const { done, of, left, seconds } of told) {
    assert.ok(seconds >= 0);
    assert.is(left === undefined, done === 0);
    if (done === of) assert.is(left, 0);
    else if (left !== undefined) assert.ok(left > 0);
  }
});

test('stops between tiles with the reason', async () => {
  const pipe = await pipeline('kl');
  const abort = new AbortController();
  const reason = new Error('enough');
  const done: number[] = [];
  const latents = { data: new Float32Array(4 * 16 * 16), dims: [1, 4, 16, 16] };
  const running = pipe.decode(latents, {
    ...{ vaeTiling: { tile: 64 }, signal: abort.signal },
    onProgress: ({ done: pieces }) => {
      done.push(pieces);
      if (pieces === 2) abort.abort(reason);
    },
  });
  assert.is(await running.catch((error) => error), reason);
  assert.equal(done, [0, 1, 2]);
});

test('takes a graph of a fixed size for larger pictures, by tiles of that size', async () => {
  const pipe = await pipeline('kl-fixed');
  const open = await pipeline('kl');
  const { cases, floats } = casesOf('kl');
  const { width, height, latents } = cases.find((one) => one.width === 104)!;
  const state = { data: floats(latents), dims: [1, 4, height / 8, width / 8] };
  const warnings: string[] = [];
  const [image] = await pipe.decode(state, { vaeTiling: false, onWarning: (message) => warnings.push(message) });
  assert.equal([image.width, image.height], [width, height]);
  assert.is(warnings.length, 1);
  assert.match(
    warnings[0],
    /^Pictures are decoded by 6 tiles of 64 x 64: .*model\.onnx was exported for that size only$/,
  );
  // What the graph of open sizes makes of the first and the last tile, where no other one is blended in.
  const [first] = await open.decode({ data: floats(latents), dims: state.dims }, { vaeTiling: { tile: 64 } });
  assert.ok(first.width === image.width);
  const one = part(floats(latents), [4, height / 8, width / 8], 0, 0, 8, 8);
  const [tile] = await open.decode({ data: one, dims: [1, 4, 8, 8] });
  // 15 rows of latents by three of 8, 13 columns by two: the next ones begin at 4 and 5.
  for (let y = 0; y < 32; y++) {
    for (let x = 0; x < 40; x++) {
      for (let c = 0; c < 3; c++) {
        const [a, b] = [image.data[3 * (y * width + x) + c], tile.data[3 * (y * 64 + x) + c]];
        assert.ok(Math.abs(a - b) <= 1);
      }
    }
  }
});

function part(data: Float32Array, [c, h, w]: number[], top: number, left: number, rows: number, columns: number) {
  return Float32Array.from({ length: c * rows * columns }, (_, i) => {
    const [plane, rest] = [Math.floor(i / (rows * columns)), i % (rows * columns)];
    return data[(plane * h + top + Math.floor(rest / columns)) * w + left + (rest % columns)];
  });
}

// Weights of the blend add up to 1 wherever tiles meet, so that what does not depend on its surroundings comes out as it was.
for (const [height, width, most, overlap] of [
  [16, 16, 16, 0.25],
  [17, 40, 8, 0.25],
  [33, 31, 8, 0.5],
  [24, 9, 8, 0],
  [65, 64, 64, 0.25],
] as const) {
  test(`puts tiles together seamlessly: ${height} x ${width} by ${most}, overlap ${overlap}`, async () => {
    const data = Float32Array.from({ length: 2 * height * width }, (_, i) => Math.sin(i));
    const cut = { rows: evenSpans(height, most, overlap), columns: evenSpans(width, most, overlap) };
    for (const [spans, length] of [
      [cut.rows, height],
      [cut.columns, width],
    ] as const) {
      assert.is(spans[0].start, 0);
      assert.is(spans.at(-1)!.start + spans.at(-1)!.length, length);
      // Of one size: none is a sliver.
      assert.is(new Set(spans.map((span) => span.length)).size, 1);
      assert.ok(spans[0].length <= most);
      for (let i = 1; i < spans.length; i++) {
        const shared = spans[i - 1].start + spans[i - 1].length - spans[i].start;
        assert.ok(shared >= Math.floor(spans[0].length * overlap), `${shared} of ${spans[0].length}`);
      }
    }
    const grown = 2;
    const whole = double({ data, dims: [2, height, width] });
    const made = await byTiles({ data, dims: [2, height, width] }, 1, grown, cut, async (tile) => double(tile));
    assert.equal(made.dims, whole.dims);
    const error = made.data.reduce((most, value, i) => Math.max(most, Math.abs(value - whole.data[i])), 0);
    assert.ok(error < 1e-6, String(error));
  });
}

function double({ data, dims: [c, h, w] }: { data: Float32Array; dims: readonly number[] }) {
  const at = (i: number) => {
    const [plane, rest] = [Math.floor(i / (4 * h * w)), i % (4 * h * w)];
    return data[(plane * h + (Math.floor(rest / (2 * w)) >> 1)) * w + ((rest % (2 * w)) >> 1)];
  };
  return { data: Float32Array.from({ length: 4 * c * h * w }, (_, i) => at(i)), dims: [c, 2 * h, 2 * w] };
}

const sd = { trained: { size: 512, widths: [128, 256, 512, 512] }, factor: 8 };
const auto = readTiling('auto', { factor: 8, latent: true });
const free = { height: undefined, width: undefined };

test("'auto' makes tiles where memory asks for them only, as few as fit", () => {
  const whole = { height: 128, width: 96, fixed: free };
  const needs = bytesFor(sd.trained, 128, 96, 8);
  assert.is(
    cutOf(sd, whole, auto, () => needs),
    undefined,
  );
  let before = 1;
  for (const share of [0.99, 0.5, 0.25, 0.1]) {
    const { cut, why } = cutOf(sd, whole, auto, () => share * needs)!;
    assert.is(why, 'memory');
    const [row, column] = [cut.rows[0].length, cut.columns[0].length];
    assert.ok(bytesFor(sd.trained, row, column, 8) <= share * needs);
    const count = cut.rows.length * cut.columns.length;
    assert.ok(count > before || share === 0.99, `${count}`);
    before = count;
  }
  // Where nothing fits, the smallest that are sensible.
  assert.is(cutOf(sd, whole, auto, () => 0)!.cut.rows[0].length <= 16, true);
  // A picture of one tile cannot be cut.
  assert.is(
    cutOf(sd, { height: 16, width: 16, fixed: free }, auto, () => 0),
    undefined,
  );
  assert.is(
    cutOf(sd, whole, readTiling(false, { factor: 8, latent: true }), () => 0),
    undefined,
  );
});

test('tiles of half the side follow on those that did not fit', () => {
  const whole = { height: 128, width: 96, fixed: free };
  const sides: number[] = [];
  for (let cut = nextCut(whole, auto, undefined); cut; cut = nextCut(whole, auto, cut.cut)) {
    sides.push(Math.max(cut.cut.rows[0].length, cut.cut.columns[0].length));
  }
  assert.ok(sides.length >= 3);
  assert.ok(sides.every((side, i) => i === 0 || side < sides[i - 1]));
  assert.ok(sides[0] <= 64 && sides.at(-1)! <= 16);
});

test("'auto' tries again by smaller tiles after an allocation that failed, and says so", async () => {
  const calls: number[] = [];
  const tooLarge = 8;
  /** Memory for tiles of 8 latents, of which the estimate knows nothing. */
  const vae = {
    ...{ factor: 8, trained: { size: 512, widths: [1] } },
    decoder: { input: () => ({ shape: [1, 4, 'h', 'w'] }), loaded: true },
    decode: async (_: Float32Array, [, h, w]: number[]) => {
      calls.push(Math.max(h, w));
      if (Math.max(h, w) > tooLarge) throw new Error('Failed to allocate memory for requested buffer of size 1');
      return { data: new Float32Array(3 * 64 * h * w).fill(1), dims: [3, 8 * h, 8 * w] };
    },
  } as unknown as Vae;
  const latents = { data: new Float32Array(2 * 4 * 20 * 20), dims: [2, 4, 20, 20] };
  const warnings: string[] = [];
  const told: string[] = [];
  const wishes = {
    warn: (message: string) => warnings.push(message),
    onProgress: ({ done, of }: StageProgress) => told.push(`${done}/${of}`),
  };
  const failed = new Coder(vae, { tiling: auto, ...wishes });
  // Below 16 latents a tile is mostly border: that is where it gives up.
  const error = await failed.decode(latents).catch((e) => e);
  assert.instance(error, DecodeError);
  assert.match(error.message, /Failed to allocate/);
  assert.ok(calls.at(-1)! <= 16 && calls.length <= 4);

  calls.length = warnings.length = told.length = 0;
  const roomy = {
    ...vae,
    decode: async (data: Float32Array, dims: number[]) => {
      if (Math.max(dims[1], dims[2]) > 16) throw new Error('std::bad_alloc');
      return vae
        .decode(
          data,
          dims.map((d, i) => (i === 0 ? d : Math.min(d, 8))),
        )
        .then(() => ({
          data: new Float32Array(3 * 64 * dims[1] * dims[2]).fill(1),
          dims: [3, 8 * dims[1], 8 * dims[2]],
        }));
    },
  } as unknown as Vae;
  const coder = new Coder(roomy, { tiling: auto, ...wishes });
  const images = await coder.decode(latents);
  assert.equal([images.length, images[0].width, images[1].data.every((v) => v === 255)], [2, 160, true]);
  assert.equal(coder.tiles, { rows: 2, columns: 2, width: 96, height: 96, why: 'memory' });
  assert.equal(warnings, ['Pictures are decoded by 4 tiles of 96 x 96: memory was short']);
  assert.equal(told, ['0/2', ...Array.from({ length: 8 }, (_, i) => `${i + 1}/8`)]);
  // Another error, or tiles that were asked for, are not tried again.
  const other = new Coder(roomy, { tiling: readTiling(false, { factor: 8, latent: true }) });
  assert.instance(await other.decode(latents).catch((e) => e), DecodeError);
});

test('an error in the decoder carries the latents', async () => {
  const pipe = await pipeline('kl');
  const dims = [1, 4, 8, 8];
  const data = new Float32Array(256).fill(1);
  const error = await pipe
    .decode(
      { data, dims },
      {
        onProgress: ({ done }) => {
          if (done === 1) throw new Error('full');
        },
      },
    )
    .catch((e) => e);
  assert.instance(error, DecodeError);
  assert.is(error.message, 'full');
  assert.equal(error.latents, { type: 'float32', data, dims });
});

test('refuses what is not vaeTiling, or not latents', async () => {
  const latent = { factor: 8, latent: true };
  assertThrows(
    () => readTiling('on', latent),
    TypeError,
    /Expected 'auto', true, false or \{ tile, overlap \} for vaeTiling/,
  );
  assertThrows(
    () => readTiling({ tile: 60 }, latent),
    RangeError,
    /Expected a multiple of 8, the pixels of a latent, for vaeTiling\.tile but received 60/,
  );
  assertThrows(() => readTiling({ tile: 16 }, latent), RangeError, /at least 32 for vaeTiling\.tile/);
  assertThrows(
    () => readTiling({ overlap: 0.6 }, latent),
    RangeError,
    /Expected a number from 0 to 0\.5 for vaeTiling\.overlap but received 0\.6/,
  );
  assertThrows(() => readTiling({ size: 64 }, latent), TypeError, /received the option 'size'/);
  const pixels = await DiffusionPipeline.fromPretrained(constant);
  opened.push(pixels);
  await assertRejects(
    pixels({ prompt: 'red', vaeTiling: true }),
    TypeError,
    /a network in pixels, which has no autoencoder/,
  );
  const pipe = await pipeline('kl');
  const data = new Float32Array(256);
  await assertRejects(
    pipe.decode({ data, dims: [1, 3, 8, 8] }),
    RangeError,
    /Expected dims \[pictures, 4, height, width\] for latents/,
  );
  await assertRejects(
    pipe.decode({ data, dims: [1, 4, 8, 9] }),
    RangeError,
    /Expected 288 numbers, as its dims say, for latents but received 256/,
  );
  await assertRejects(pipe.decode([1] as never), TypeError, /Expected \{ data, dims \} in float32 for latents/);
});

test.run();
