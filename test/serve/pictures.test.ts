// Runs that start from a picture, as the page sends them: a form to /api/runs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { start } from '../cli/command.js';
import { hasShapes, shapes } from '../pipelines/models.js';
import { all, json } from './client.js';

const pictures = suite('pictures');
const test = hasShapes ? pictures : pictures.skip;
if (!hasShapes) console.log('  skipped: there is no model');

const SIDE = 32;
let server: Serving;

pictures.before(async () => {
  if (hasShapes) server = await startServer({ folder: shapes, port: 0 });
});
pictures.after(() => server?.close());

/** A red disc on white, which no network has drawn. */
function disc(): Uint8Array {
  const data = new Uint8Array(3 * SIDE * SIDE).fill(255);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (Math.hypot(x - 15.5, y - 15.5) < 9) data.set([220, 20, 20], 3 * (y * SIDE + x));
    }
  }
  return data;
}
const picture = disc();
const image = () => new Blob([Buffer.from(encode({ width: SIDE, height: SIDE, channels: 3, data: picture }))]);
/** Transparent, to be made anew, in its left half. */
const leftHalf = () => {
  const data = new Uint8Array(4 * SIDE * SIDE).fill(255);
  for (let i = 0; i < SIDE * SIDE; i++) if (i % SIDE < SIDE / 2) data[4 * i + 3] = 0;
  return new Blob([Buffer.from(encode({ width: SIDE, height: SIDE, channels: 4, data }))]);
};

function send(fields: Record<string, string | Blob>, settings: object): Promise<Response> {
  const body = new FormData();
  body.set('settings', JSON.stringify(settings));
  for (const [name, value] of Object.entries(fields)) body.set(name, value);
  return fetch(new URL('/api/runs', server.url), { method: 'POST', body });
}

async function done(response: Response): Promise<{ pixels: number[]; nfe: number; text: Record<string, unknown> }> {
  const { event, data } = (await all(response)).at(-1)!;
  assert.is(event, 'done', data.error);
  const { data: pixels, text } = decode(Buffer.from(data.images[0], 'base64'));
  return { pixels: Array.from(pixels), nfe: data.nfe, text: JSON.parse(text['dpm-solver']) };
}

const drawn = { prompt: 'a red circle on a white background', steps: 4, seed: 3 };
const asked = { ...drawn, solver: 'dpmsolver++' };

test('a picture: the run begins where its strength says, and tells every step', async () => {
  const told = await all(await send({ image: image(), strength: '0.5' }, asked));
  assert.is(told.filter(({ event }) => event === 'step').length, 2);
  const pipe = await DiffusionPipeline.fromPretrained(shapes);
  const scheduler = { algorithmType: 'dpmsolver++', order: 2 } as const;
  const same = await pipe({ ...drawn, scheduler, strength: 0.5, image: { width: SIDE, height: SIDE, data: picture } });
  const { data } = decode(Buffer.from(told.at(-1)!.data.images[0], 'base64'));
  let most = 0;
  for (const [i, value] of data.entries()) most = Math.max(most, Math.abs(value - same.images[0].data[i]));
  // Within the network's rounding.
  assert.ok(most <= 1, `differs by ${most}`);
});

test('the command line makes a picture again from what its file says', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-like-'));
  try {
    for (const own of [
      {},
      { solver: 'dpmsolver++', order: 3, skipType: 'logSNR', guidance: 2, guidanceInterval: [0.1, 5] },
    ]) {
      const settings = { ...drawn, steps: 5, count: 2, negativePrompt: 'a square', ...own };
      const body = JSON.stringify(settings);
      const headers = { 'Content-Type': 'application/json' };
      const { data } = (await all(await fetch(new URL('/api/runs', server.url), { method: 'POST', headers, body }))).at(
        -1,
      )!;
      // The second one, which has the seed after.
      const file = Buffer.from(data.images[1], 'base64');
      writeFileSync(join(folder, 'server.png'), file);
      const { code, stderr } = await start(folder, [
        'txt2img',
        '--model',
        shapes,
        '--like',
        'server.png',
        '-o',
        'again.png',
      ]).ended;
      assert.is(code, 0, stderr);
      const again = readFileSync(join(folder, 'again.png'));
      const [one, other] = [decode(file), decode(again)];
      const most = Math.max(...one.data.map((value, i) => Math.abs(value - other.data[i])));
      // Within the network's rounding.
      assert.ok(most <= 1, `differs by ${most}`);
      assert.is(JSON.parse(other.text['dpm-solver']).flags.seed, '4');
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a mask: what is not transparent in it keeps its pixels', async () => {
  const { pixels } = await done(await send({ image: image(), mask: leftHalf() }, { ...asked, prompt: 'a blue star' }));
  let changed = 0;
  for (const [i, value] of pixels.entries()) {
    const left = Math.floor(i / 3) % SIDE < SIDE / 2;
    if (!left) assert.is(value, picture[i]);
    else if (Math.abs(value - picture[i]) > 8) changed++;
  }
  assert.ok(changed > 0, 'the left half was made anew');
});

test('a source: the picture is edited, as the pipeline does it', async () => {
  const target = 'a blue circle on a white background';
  const source = asked.prompt;
  const edited = await done(await send({ image: image(), source }, { ...asked, prompt: target, guidance: 3 }));
  const pipe = await DiffusionPipeline.fromPretrained(shapes);
  const own = { width: SIDE, height: SIDE, data: picture };
  const same = await pipe.edit({
    image: own,
    source,
    target,
    steps: 4,
    seed: 3,
    guidance: 3,
    order: 2,
    algorithmType: 'dpmsolver++',
  });
  assert.is(edited.nfe, same.nfe);
  let most = 0;
  for (const [i, value] of edited.pixels.entries()) most = Math.max(most, Math.abs(value - same.images[0].data[i]));
  assert.ok(most <= 2, `differs by ${most}`);
});

test('what is wrong is told before anything is run, in a sentence', async () => {
  const wrong: [Record<string, string | Blob>, object, RegExp][] = [
    [{}, asked, /^Expected one file for image but received none$/],
    [{ image: new Blob(['x']) }, asked, /^Expected a picture for image|^Reading pictures other than PNG files/],
    [{ image: image(), strength: '2' }, asked, /^Expected a number from 0 to 1 for strength but received 2$/],
    [{ image: image(), strength: 'x' }, asked, /^Expected a number from 0 to 1 for strength but received NaN$/],
    [{ image: image(), prompt: 'x' }, asked, /^There is no field 'prompt'/],
    [{ image: image() }, { ...asked, setps: 1 }, /^There is no setting 'setps'; did you mean 'steps'\?$/],
    [{ image: image(), settings: '{' }, asked, /^Expected JSON for settings but it cannot be parsed$/],
    [{ image: image(), source: asked.prompt }, asked, /^Expected a source other than the prompt/],
    [
      { image: image(), source: 'a green star' },
      { ...asked, count: 2 },
      /^Expected 1 for count with source but received 2$/,
    ],
    [
      { image: image(), source: 'a green star' },
      { ...asked, solver: 'unipc' },
      /^Expected a solver of DPM-Solver, or ddim, /,
    ],
    [
      { image: image(), source: 'a green star' },
      { ...asked, method: 'adaptive' },
      /^Expected multistep for method with source/,
    ],
    [{ image: image(), source: 'an elephant' }, asked, /^The model does not know the word/],
  ];
  for (const [fields, settings, sentence] of wrong) {
    const response = await send(fields, settings);
    assert.is(response.status, 400, String(sentence));
    assert.match((await json(response)).error, sentence);
  }
});

pictures.run();
