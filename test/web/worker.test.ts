// Networks in a worker that is replaced when its graphics processor is lost, and the example whose page draws by one.
import { mkdirSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { BrowserContext, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from '../../lib/index.js';
import { OrtNetwork, type OrtTensor } from '../../lib/onnx/index.js';
import { openTokenizer } from '../../lib/pipelines/tokenizer.js';
import { missing, root, Site, startChromium } from './chromium.js';

const tests = suite('networks in a worker');
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? tests.skip : tests;
const artefacts = fileURLToPath(new URL('../artefacts/web/', import.meta.url));

let browser: { context: BrowserContext; close(): Promise<void> };
tests.before(async () => {
  if (missing) return;
  mkdirSync(artefacts, { recursive: true });
  browser = await startChromium();
});
tests.after(async () => {
  await browser?.close();
});

const WORKER = `
import * as dpm from '/dpm-solver/web.js';
import * as tests from '/page.js';
import * as ort from '/onnxruntime-web/ort.jspi.bundle.min.mjs';
ort.env.wasm.wasmPaths = '/onnxruntime-web/';
dpm.setOnnxRuntime(ort);
const which = Number(self.name);
dpm.answerCalls({ run: (options, context) => tests.runInWorker(dpm, ort, { ...options, which }, context) });
`;

test('a worker whose graphics processor is lost is replaced, and its call made again', async () => {
  const site = await Site.start();
  try {
    site.own.set('/worker.js', WORKER);
    const page = await browser.context.newPage();
    await page.goto(site.address);
    const found = await page.evaluate(async () => {
      const [dpm, own] = ['/dpm-solver/web.js', '/page.js'];
      const tests: typeof import('./page.js') = await import(own);
      return tests.losses(await import(dpm));
    });
    const { whole, lost, after } = found as unknown as Record<string, { which: number; data: number[] }>;
    assert.is(whole!.which, 1);
    assert.is(lost!.which, 2);
    assert.equal(lost!.data, whole!.data, 'the same as without a loss');
    assert.match(
      String(found.twice),
      /^Error: A worker was replaced twice during run, as its graphics processor was lost/,
    );
    assert.is(after!.which, 4);
    assert.equal(after!.data, whole!.data);
    assert.equal(found.said.slice(0, 6), ['1.1', '1.2', '1.3', '1.4', '1.1', '1.2']);
    assert.equal(found.said.slice(-4), ['2.1', '2.2', '2.3', '2.4']);
    assert.equal(found.started, [1, 2, 3, 4]);
    assert.is(found.unknown, "TypeError: Expected a call of this worker but received 'fly'");
    assert.match(String(found.wrong), /^RangeError: Expected .* for steps but received 0/);
    assert.is(found.aborted, 'RangeError: enough');
    assert.is(found.ended, 'Error: The NetworkWorker was disposed of during the call');
    assert.match(
      String(found.late),
      /^Error: Expected a NetworkWorker for a call but received one that was disposed of/,
    );
    await page.close();
  } finally {
    site.stop();
  }
});

/** What the example draws, computed in Node: pixels of four bytes. */
async function expectedPixels(prompt: string, steps: number): Promise<Uint8ClampedArray> {
  const folder = join(root, 'models/shapes');
  const tokenizer = openTokenizer(folder);
  const ids = Int32Array.from(['', prompt].flatMap((one) => tokenizer.encode(one)));
  const encoder = await OrtNetwork.open(join(folder, 'text_encoder/model.onnx'));
  const { last_hidden_state: states } = await encoder.run({ input_ids: { data: ids, dims: [2, tokenizer.length] } });
  const unet = await OrtNetwork.open(join(folder, 'unet/model.onnx'));
  const solver = new DPMSolver(
    async (sample: Tensor, t) => {
      const timestep = { data: Float32Array.of(t), dims: [1] };
      const feeds = { sample: sample as OrtTensor, timestep, encoder_hidden_states: states as OrtTensor };
      return (await unet.run(feeds)).out_sample as unknown as Tensor;
    },
    NoiseSchedule.discrete({ betas: betas('linear', 1000, { start: 0.0001, end: 0.02 }) }),
    { modelType: 'v', guidance: { type: 'classifier-free', scale: 3 }, thresholding: true },
  );
  const { sample } = await solver.sample(randn([1, 3, 32, 32], { seed: 0 }) as Tensor, { steps });
  await Promise.all([encoder.dispose(), unet.dispose()]);
  const data = sample.data as Float32Array;
  const pixels = new Uint8ClampedArray(4 * 1024).fill(255);
  for (let i = 0; i < 1024; i++) for (let c = 0; c < 3; c++) pixels[4 * i + c] = 127.5 * (data[c * 1024 + i]! + 1);
  return pixels;
}

/** Draws, and says what the page says and shows. */
async function draw(page: Page, address: string, device: string, steps: number) {
  await page.goto(`${address}/?device=${device}`);
  await page.fill('[name=steps]', String(steps));
  await page.click('[type=submit]');
  await page.waitForFunction("document.querySelector('form').ariaBusy === 'false'");
  const said = await page.textContent('[role=status]');
  const pixels: number[] = await page.evaluate(
    "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 32, 32).data]",
  );
  return { said, pixels };
}

test('the example draws in the page what Node draws, offline, under 15 MB', async () => {
  const { serve } = (await import(pathToFileURL(join(root, 'examples/web/serve.mjs')).href)) as {
    serve(port: number, onSent: (path: string, bytes: number) => void): Promise<Server>;
  };
  let sent = 0;
  const server = await serve(0, (_, bytes) => {
    sent += bytes;
  });
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const page = await browser.context.newPage();
  const problems: string[] = [];
  const elsewhere: string[] = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith('data:')) elsewhere.push(request.url());
  });
  try {
    const prompt = 'a large red circle on a blue background';
    for (const [device, steps, where, most] of [
      ['auto', 2, /^Drawn by WebGPU in 2 evaluations/, 15e6],
      ['cpu', 10, /^Drawn by WebAssembly \(as asked for\) in 10 evaluations/, 15e6],
    ] as const) {
      sent = 0;
      const { said, pixels } = await draw(page, address, device, steps);
      assert.match(String(said), where);
      assert.ok(sent < most, `${sent} bytes for ${device}`);
      console.log(`  ${device}: ${(sent / 1e6).toFixed(2)} MB transferred`);
      const expected = await expectedPixels(prompt, steps);
      const worst = Math.max(...pixels.map((value, i) => Math.abs(value - expected[i]!)));
      assert.ok(worst <= 1, `${device}: a pixel is ${worst} levels from Node's`);
    }
    await page.screenshot({ path: join(artefacts, 'example.png') });
    await page.fill('[name=prompt]', 'a red elephant');
    await page.click('[type=submit]');
    await page.waitForFunction("document.querySelector('form').ariaBusy === 'false'");
    assert.match(String(await page.textContent('[role=status]')), /does not know the word 'elephant'/);
    assert.equal(problems, []);
    assert.equal(elsewhere, []);
  } finally {
    await page.close();
    server.close();
    server.closeAllConnections();
  }
});

tests.run();
