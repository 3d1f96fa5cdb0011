// `dpm-solver/web` in headless Chromium: networks of onnxruntime-web on the CPU (WebAssembly) and on WebGPU, where the step is a
// kernel that has the bits of the native one.
import type { BrowserContext, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Caller, callerIn, missing, openPage, Site, startChromium } from './chromium.js';
import { embedded, size } from './embedded.js';

const tests = suite('dpm-solver/web');
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? tests.skip : tests;

let site: Site;
let browser: { context: BrowserContext; close(): Promise<void> };
let page: Page;
const errors: string[] = [];

tests.before(async () => {
  if (missing) return;
  [site, browser] = await Promise.all([Site.start(), startChromium()]);
  page = await openPage(browser.context, site, errors);
});

tests.after(async () => {
  await browser?.close();
  site?.stop();
});

tests.after.each(() => {
  assert.equal(errors.splice(0), []);
});

const inPage: Caller = (name, ...args) => callerIn(page)(name, ...args);

test('WebGPU is there: everything below has run on it', async () => {
  const { device, reason } = await inPage('automatic');
  assert.equal([device, reason], ['webgpu', undefined]);
});

test('every kind of update on WebGPU has the bits of the host', async () => {
  const outcomes = await inPage('runCases', 'webgpu');
  assert.ok(outcomes.length > 20);
  for (const { what, differ, of, worst, nfe, undisposed } of outcomes) {
    assert.is(differ, 0, `${what}: ${differ} of ${of} differ, by ${worst} at most`);
    assert.is(nfe[0], nfe[1], what);
    assert.is(undisposed, 0, `${what}: states and outputs have been freed`);
  }
  const there = outcomes.filter(({ onHost }) => onHost === undefined).map(({ what }) => what);
  assert.ok(there.includes('thresholding') && there.includes('UniC') && there.includes('SDE'), there.join());
  const reasons = outcomes.flatMap(({ onHost }) => onHost ?? []);
  assert.equal(reasons.sort(), [
    ...['correctX0', "guidance 'classifier'", 'guidance that looks at the answers', "method 'adaptive'"],
  ]);
});

test('a device that binds few buffers gets several kernels a step', async () => {
  const outcomes = await inPage('withFewBuffers', 'UniC');
  assert.equal(
    outcomes.map(({ what, differ }) => [what, differ]),
    [['UniC', 0]],
  );
});

test('the way to WebNN, with WebGPU in its place, does what the host does', async () => {
  for (const only of ['guidance in an interval', 'SDE with a seed', 'thresholding']) {
    const [outcome] = await inPage('asWebNN', only);
    const { worst, size, onHost, undisposed, nfe } = outcome!;
    assert.ok(worst < 1e-5 * size, `${only}: ${worst} of ${size}`);
    assert.is(onHost, only === 'thresholding' ? only : undefined);
    assert.equal([undisposed, nfe[0]], [0, nfe[1]], only);
  }
});

test('quantiles are exact, whatever the size, the ratio and the bounds', async () => {
  const { of, differ, bounded } = await inPage('thresholds');
  assert.ok(bounded > of / 2, `${bounded} of ${of} were changed by thresholding`);
  assert.is(differ, 0, `${differ} of ${of} differ`);
});

test('networks in float16 are given halves, rounded as on the host', async () => {
  const { types, worst, differ } = await inPage('halves');
  assert.equal(types, ['float16']);
  assert.is(differ, 0);
  assert.ok(worst > 0, 'what halves leave out is seen');
});

test('runs leave no buffer behind, whether they end or are ended', async () => {
  const { before, after } = await inPage('memory', 40);
  assert.ok(before[0]! > 0 && before[1]! > 0);
  assert.equal(after, before);
});

test("noise 'philox' is drawn by the step, with the bits of the host's", async () => {
  const { of, differ, uploaded, size } = await inPage('noise');
  assert.ok(of > 130_000 && Math.abs(size - 1) < 1e-6, `${of} numbers of size ${size}`);
  assert.is(differ, 0, `${differ} of ${of} differ`);
  // Coefficients, and of each sample four words a step, whatever its size.
  for (const bytes of uploaded) assert.ok(bytes < 1000, `${bytes} bytes went there`);
});

test('mistakes are told in one sentence', async () => {
  const said = await inPage('mistakes');
  const expected: Record<string, RegExp> = {
    'not finite': /^Error: Expected finite numbers for the network output .* sample 1 at evaluation 1/,
    unchecked: /^nothing$/,
    'a plain tensor': /^TypeError: Expected a value on its device for the network output/,
    'wrong dims': /^RangeError: Expected dims \[1, 3, 8, 8\] for the network output but received \[2, 3, 8, 8\]/,
    start: /^RangeError: Expected 'cpu' or 'cuda' for modelDevice with start\(\)/,
    device: /^TypeError: Expected 'auto', 'cpu', 'wasm', 'webgpu' or 'webnn' for device but received 'cuda'/,
    graph: /^TypeError: Expected an address or a Uint8Array for graph but received 3/,
    option: /^TypeError: .*providers/,
    'no file': /^Error: Cannot fetch \/model\.onnx: the server answered 404/,
    'no graph': /^Error: Cannot load three bytes for wasm: /,
    runtime: /^TypeError: Expected the module onnxruntime-web for ort/,
    'no input': /^TypeError: Expected a tensor for the input timestep of the graph but received none/,
    'another input':
      /^TypeError: Expected inputs of the graph, which has sample, timestep and gain, but received one named 'noise'/,
    'another type': /^TypeError: Expected float32 for the input sample of the graph but received 'float64'/,
    elements: /^RangeError: Expected 432 elements for the input sample of the graph but received 384/,
    output: /^TypeError: Expected outputs of the graph, which has out, but received one named 'noise'/,
    aborted: /^RangeError: over$/,
    read: /^true$/,
    disposed: /^Error: Expected a value to read but received one that was disposed of/,
    'disposed feed': /^Error: Expected a value for the input sample of the graph but received one that was disposed of/,
    'disposed network': /^Error: The network of the graph has been disposed of/,
  };
  for (const [name, pattern] of Object.entries(expected)) assert.match(said[name] ?? 'missing', pattern, name);
  assert.equal(Object.keys(said).sort(), Object.keys(expected).sort());
});

test('the embedded network draws what it draws in Node', async () => {
  const asked = process.env.DPM_SOLVER_WEB_STEPS;
  const steps = Number(asked ?? 3);
  const { given, expected } = await embedded(steps);
  // SwiftShader takes a while for it: every night. The example (test/web/worker.test.ts) draws on it at every change.
  for (const device of asked ? (['cpu', 'webgpu'] as const) : (['cpu'] as const)) {
    // 1e-4 of the size by WebGPU at 10 steps where this was written; another processor rounds otherwise.
    const most = device === 'cpu' ? 5e-5 : 2e-4;
    const made = await inPage('denoise', device, given);
    assert.equal([made.device, made.steps.length], [device, steps]);
    const apart = size(made.sample.map((value, i) => value - expected[i]!)) / size(expected);
    console.log(`  ${device}: ${apart.toExponential(1)} of the rms from Node's CPU`);
    assert.ok(apart < most, `${device}: ${apart} of the rms`);
  }
});

tests.run();
