// The page in headless Chromium. Screenshots are kept in test/artefacts/serve.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode, encode } from 'fast-png';
import { unzipSync } from 'fflate';
import type { BrowserContext, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { hasShapes, shapes } from '../pipelines/models.js';
import { eventually, events, idle, post, until } from './client.js';

const chromium = process.env.DPM_SOLVER_CHROMIUM ?? '/usr/bin/chromium';
const page_ = suite('page');
const why = !existsSync(chromium) ? `there is no ${chromium}` : hasShapes ? '' : 'there is no model';
if (why) console.log(`  skipped: ${why}`);
const test = why ? page_.skip : page_;

const artefacts = fileURLToPath(new URL('../artefacts/serve/', import.meta.url));
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'].concat(
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
);
// What functions that run in the page find there; the types of a browser are not those of this program.
// biome-ignore lint/suspicious/noExplicitAny: see above
declare const document: any;
// biome-ignore lint/suspicious/noExplicitAny: see above
declare const getComputedStyle: (element: any) => any;
declare const innerWidth: number;

let profile: string;
let context: BrowserContext;
let server: Serving;
let page: Page;
/** What went wrong in the page: there must be nothing but answers that a test provoked. */
const problems: string[] = [];

page_.before(async () => {
  if (why) return;
  mkdirSync(artefacts, { recursive: true });
  profile = mkdtempSync(join(tmpdir(), 'dpm-solver-chromium-'));
  server = await startServer({ folder: shapes, port: 0, limits: { together: 1 } });
  const { chromium: driver } = await import('playwright-core');
  context = await driver.launchPersistentContext(profile, {
    executablePath: chromium,
    args: flags,
    viewport: { width: 1280, height: 860 },
    colorScheme: 'light',
    acceptDownloads: true,
  });
  context.setDefaultTimeout(60_000);
});
page_.after(async () => {
  await context?.close();
  await server?.close();
  if (profile) rmSync(profile, { recursive: true, force: true });
});
page_.before.each(async () => {
  if (why) return;
  problems.length = 0;
  page = await context.newPage();
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    // A run may be over when it is cancelled.
    const late = message.location().url.includes('/api/runs/');
    if (message.type() === 'error' && !late && !/status of (400|429)/.test(message.text()))
      problems.push(message.text());
  });
});
page_.after.each(async () => {
  if (why) return;
  await page.close();
  await idle(server.url);
  assert.equal(problems, [], problems.join('; '));
});

async function open(hash = ''): Promise<void> {
  await page.goto(server.url + hash);
  await page.waitForFunction(() => document.querySelector('#model')?.textContent?.startsWith('draws'));
}

/** A picture's bytes, from base64. */
const pixels = (png: string) => Array.from(decode(Buffer.from(png, 'base64')).data);
/** Runs, and waits for other pictures than there were. */
async function runAnew(): Promise<void> {
  const before = String(await pictures('a'));
  await page.click('#run');
  // In this order: a run that has just begun has no pictures, and is not done.
  await eventually(
    async () => String(await pictures('a')) !== before && (await state('a')) === 'done',
    'no other picture came',
  );
}

const state = (side: 'a' | 'b') => page.getAttribute(`.pane[data-side=${side}]`, 'data-state');
const reaches = (side: 'a' | 'b', what: string) => page.waitForSelector(`.pane[data-side=${side}][data-state=${what}]`);
const shot = (name: string) => page.screenshot({ path: join(artefacts, `${name}.png`), animations: 'disabled' });
const said = () => page.textContent('#live');
/** Empties the history. */
async function forget(): Promise<void> {
  if (!page.url().startsWith(server.url)) await page.goto(server.url);
  await page.evaluate(async () => {
    const address = '/history.js';
    const { History } = await import(address);
    await new History().clear();
  });
}

/** What axe finds wrong with the page as it stands: nothing, in every state. */
async function accessible(name: string): Promise<void> {
  // biome-ignore lint/suspicious/noExplicitAny: the script puts it there
  if (!(await page.evaluate(() => 'axe' in (globalThis as any)))) await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    // biome-ignore lint/suspicious/noExplicitAny: see above
    const { violations } = await (globalThis as any).axe.run({ runOnly: tags, resultTypes: ['violations'] });
    return violations.map((one: { id: string; nodes: { html: string }[] }) => [
      one.id,
      ...one.nodes.map(({ html }) => html.slice(0, 120)),
    ]);
  });
  assert.equal(found, [], `what axe finds: ${name}`);
}

/** What is cut off: wider than the window, out of its box, or text that does not fit. */
async function whole(name: string): Promise<void> {
  const cut = await page.evaluate(() => {
    const { scrollWidth } = document.documentElement;
    const wrong: string[] = scrollWidth > innerWidth ? [`the page: ${scrollWidth} of ${innerWidth}`] : [];
    for (const one of document.querySelectorAll('body *')) {
      const style = getComputedStyle(one);
      if (!one.checkVisibility({ visibilityProperty: true }) || one.closest('.unseen, .skip, .track, svg, template'))
        continue;
      const box = one.getBoundingClientRect();
      const frame = one.closest('.panel, dialog')?.getBoundingClientRect();
      const right = Math.min(innerWidth, frame && !one.closest('.actions') ? frame.right : innerWidth);
      const inStrip = one.closest('.runs, .scroller, .wide, pre');
      if (!inStrip && (box.right > right + 1 || box.left < -1))
        wrong.push(`out of its box: ${one.outerHTML.slice(0, 90)}`);
      const clips = ['hidden', 'clip'].includes(style.overflowX);
      if (clips && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0) {
        wrong.push(`does not fit (${one.scrollWidth} in ${one.clientWidth}): ${one.outerHTML.slice(0, 90)}`);
      }
    }
    return wrong;
  });
  assert.equal(cut, [], `cut off: ${name}`);
}

/** Bytes of the pictures that a pane shows. */
const pictures = (side: 'a' | 'b') =>
  page.$$eval(`.pane[data-side=${side}] .pictures img`, (images) =>
    images.map((image) => (image as unknown as { src: string }).src.split(',')[1]),
  );

test('shows noise, then every step, then pictures, figures and a download', async () => {
  await open();
  assert.is(await state('a'), 'empty');
  await shot('empty');
  await accessible('nothing run yet');
  await page.fill('[name="a.steps"]', '30');
  const seen = new Set<string>();
  await page.click('#run');
  await reaches('a', 'running');
  await eventually(async () => {
    for (const picture of await pictures('a')) seen.add(picture);
    if (seen.size === 8) {
      await shot('running');
      await accessible('running');
    }
    return (await state('a')) === 'done';
  }, 'the run never ended');
  // It may have ended while axe looked.
  for (const picture of await pictures('a')) seen.add(picture);
  assert.ok(seen.size >= 12, `pictures changed while they were made: ${seen.size} were seen`);
  await shot('done');
  await accessible('done');
  const figures = await page.textContent('.figures');
  for (const text of ['30', 'NFE', 'per network call', 'per solver step', '0 to 3']) assert.match(figures ?? '', text);
  assert.match((await said()) ?? '', /^Done: 4 pictures, 30 evaluations each, /);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('figcaption a >> nth=2')]);
  assert.is(download.suggestedFilename(), 'dpm-solver-2.png');
  const bytes = await (await import('node:fs/promises')).readFile(await download.path());
  const png = decode(bytes);
  assert.equal([png.width, png.height, JSON.parse(png.text['dpm-solver']).seed], [32, 32, 2]);
  // The slider goes back in time: the first prediction is another picture.
  const last = await pictures('a');
  await page.locator('.timeline input').fill('1');
  const first = await pictures('a');
  assert.is.not(first[0], last[0]);
  await page.locator('.timeline input').fill('30');
  assert.equal(await pictures('a'), last);
});

test('cancels, and keeps what is there', async () => {
  await open('#steps=200&count=16&prompt=a+red+circle');
  await page.click('#run');
  await reaches('a', 'running');
  await page.waitForSelector('.pictures img');
  await page.click('#cancel');
  await reaches('a', 'cancelled');
  assert.match((await page.textContent('.status')) ?? '', /^Cancelled after \d+ steps? and [\d.]+ s$/);
  assert.ok((await pictures('a')).length > 0);
  assert.is(await page.isVisible('#cancel'), false);
  assert.is(await page.evaluate(() => document.activeElement?.id), 'run');
  await shot('cancelled');
  await accessible('cancelled');
});

test('says how long it waits', async () => {
  const leave = new AbortController();
  const other = await post(server.url, { prompt: 'a red circle', steps: 200, count: 16 }, { signal: leave.signal });
  try {
    await until(events(other), 'step');
    await open('#steps=6&prompt=a+green+square');
    await page.click('#run');
    await reaches('a', 'queued');
    const text = () => page.textContent('.pane[data-side=a] .status');
    await eventually(async () => (await text()) !== 'Starting…', 'no place was told');
    assert.match((await text()) ?? '', /^Waiting: 1 run before this one(?:, begins in about \d+ seconds?)?$/);
    await shot('waiting');
    await whole('waiting');
    await accessible('waiting');
    await page.click('#cancel');
    await reaches('a', 'cancelled');
  } finally {
    leave.abort();
  }
});

test('compares two settings with the same noise', async () => {
  await open('#prompt=a+green+star+on+a+white+background&seed=5&count=2&steps=6&solver=dpmsolver%2B%2B');
  await page.locator('label:has(#compare)').click();
  assert.is(await page.inputValue('[name="b.solver"]'), 'ddim');
  assert.is(await page.inputValue('[name="b.steps"]'), '6');
  await page.click('#run');
  await reaches('a', 'done');
  await reaches('b', 'done');
  await shot('compare');
  await accessible('compared');
  const [a, b] = [await pictures('a'), await pictures('b')];
  assert.equal([a.length, b.length], [2, 2]);
  assert.is.not(a[0], b[0]);
  // The same settings on both sides give the same pictures.
  await page.selectOption('[name="b.solver"]', 'dpmsolver++');
  await page.click('#run');
  await reaches('b', 'queued');
  await reaches('b', 'done');
  assert.equal((await pictures('b')).map(pixels), a.map(pixels));
  // The link restores them.
  const link = page.url();
  await page.close();
  page = await context.newPage();
  await page.goto(link);
  await page.waitForSelector('.pane[data-side=b]');
  const values = await page.$$eval('[name="prompt"], [name="seed"], [name="count"], [name="b.solver"]', (controls) =>
    controls.map((control) => (control as unknown as { value: string }).value),
  );
  assert.equal(values, ['a green star on a white background', '5', '2', 'dpmsolver++']);
  // The model's own is its table for these steps.
  await page.selectOption('[name="b.solver"]', '');
  assert.is(await page.isDisabled('[name="b.skipType"]'), true);
  await page.click('#run');
  await reaches('b', 'queued');
  await reaches('b', 'done');
  assert.match((await page.textContent('.pane[data-side=b] .figures')) ?? '', /calibrated, 6 evaluations/);
  assert.match((await page.textContent('.pane[data-side=b] .summary')) ?? '', /^The model's own · 6 steps/);
});

test('works with the keyboard alone', async () => {
  await open('#solver=dpmsolver%2B%2B');
  const focused = () =>
    page.evaluate(() => {
      const element = document.activeElement;
      return element.name || element.id || element.className;
    });
  await page.keyboard.press('Tab');
  assert.is(await focused(), 'skip');
  // Every control is reached, in the order in which it stands.
  const order: string[] = [];
  for (let i = 0; i < 60 && order.at(-1) !== 'run'; i++) {
    await page.keyboard.press('Tab');
    order.push(await focused());
  }
  const names = [
    'view',
    'share',
    'prompt',
    'seed',
    'count',
    'a.solver',
    'a.order',
    'a.steps',
    'a.guidance',
    'a.thresholding',
  ];
  assert.equal(
    order.filter((name) => names.includes(name) || name === 'run'),
    [...names, 'run'],
  );
  // What has the focus can be told.
  const outline = await page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return [outlineStyle, outlineWidth];
  });
  assert.equal(outline, ['solid', '3px']);
  await page.focus('#prompt');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('a blue ring on a black background');
  await page.focus('[name="a.order"]:checked');
  await page.keyboard.press('ArrowRight');
  await page.focus('[name=view]:checked');
  await page.keyboard.press('ArrowRight');
  assert.is(await page.isVisible('fieldset.side[data-side=b]'), true);
  await page.keyboard.press('ArrowLeft');
  await page.focus('#prompt');
  await page.keyboard.press('Enter');
  await reaches('a', 'done');
  assert.match((await page.textContent('.summary')) ?? '', /^DPM-Solver\+\+ · order 3 ·/);
  await page.fill('[name="a.steps"]', '200');
  await page.focus('#prompt');
  await page.keyboard.press('Enter');
  await reaches('a', 'running');
  await page.keyboard.press('Escape');
  await reaches('a', 'cancelled');
  assert.is(await said(), 'cancelled');
});

test('fits a phone, in light and dark, and moves nothing where motion is unwanted', async () => {
  for (const [width, scheme] of [
    [320, 'light'],
    [390, 'dark'],
    [820, 'dark'],
  ] as const) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    await open('#steps=4&count=4&prompt=a+red+circle&b.solver=ddim&b.steps=4');
    await page.click('#run');
    await reaches('b', 'done');
    const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= view, `${content} pixels at a width of ${view}`);
    const wide = await page.$$eval('.panel :is(input, select, textarea, button, summary, label)', (controls) =>
      controls
        .filter((one) => {
          const around = one.closest('fieldset.side, .panel')?.getBoundingClientRect();
          // What starts and stops is at the foot of the window.
          return !one.closest('.actions') && around && one.getBoundingClientRect().right > around.right + 1;
        })
        .map((one) => one.outerHTML.slice(0, 80)),
    );
    assert.equal(wide, [], `controls that stick out at a width of ${width}`);
    const small = await page.$$eval('button:not([hidden]), select, input[type=number]', (controls) =>
      controls.map((control) => control.getBoundingClientRect().height).filter((height) => height > 0 && height < 24),
    );
    assert.equal(small, [], 'controls that a finger cannot hit');
    await page.screenshot({ path: join(artefacts, `narrow-${width}-${scheme}.png`), fullPage: true });
    const background = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    assert.is(background, scheme === 'dark' ? 'rgb(21, 21, 25)' : 'rgb(245, 244, 240)');
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  }
  await page.setViewportSize({ width: 1280, height: 860 });
  await shot('compare-dark');
  await accessible('compared, in the dark');
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: null });
});

test('cuts nothing off while it runs, and shows the figures without scrolling', async () => {
  // Many evaluations: the run is still going on when all windows have been seen, however fast the machine is.
  for (const hash of ['', '&b.solver=sde-dpmsolver%2B%2B&b.steps=200']) {
    await page.setViewportSize({ width: 1280, height: 800 });
    await open(`#steps=200&count=8&prompt=a+red+circle+on+a+blue+background${hash}`);
    await page.click('#run');
    await reaches('a', 'running');
    await page.waitForSelector('.pictures img');
    for (const [width, height] of [
      [320, 640],
      [360, 740],
      [768, 1024],
      [960, 600],
      [1280, 800],
      [1920, 1080],
      [2560, 1440],
    ]) {
      await page.setViewportSize({ width, height });
      await whole(`${hash === '' ? 'one run' : 'two runs'} at ${width} x ${height}`);
      if (width < 1280) continue;
      const low = await page.$$eval('.pane .figures', (all) => all.map((one) => one.getBoundingClientRect().bottom));
      for (const bottom of low) assert.ok(bottom <= height, `figures end at ${bottom} of ${height}`);
    }
    assert.is(await state('a'), 'running');
    await page.click('#cancel');
    await reaches('a', 'cancelled');
  }
  await page.setViewportSize({ width: 1280, height: 860 });
});

test('enlarges, copies and saves', async () => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(server.url).origin });
  await open('#steps=2&count=3&prompt=a+red+circle&seed=7&solver=dpmsolver%2B%2B');
  await page.click('#run');
  await reaches('a', 'done');
  const [, second] = await pictures('a');
  await page.click('.pictures button >> nth=1');
  await page.waitForSelector('#viewer[open]');
  await accessible('a picture enlarged');
  await whole('a picture enlarged');
  await shot('enlarged');
  const large = () =>
    page.$eval('#viewer .large img', (image) => (image as unknown as { src: string }).src.split(',')[1]);
  assert.is(await large(), second);
  assert.match((await page.textContent('#viewer .about')) ?? '', /^seed 8 · 32 × 32 · DPM-Solver\+\+ /);
  await page.click('#viewer .copy');
  await page.waitForSelector('#viewer .copy >> text=Copied');
  const copied = await page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: of a browser
    const [item] = await (globalThis as any).navigator.clipboard.read();
    return (await item.getType('image/png')).size;
  });
  assert.ok(copied > 0);
  await page.keyboard.press('ArrowRight');
  assert.is(await page.textContent('#viewer .place'), '3 of 3');
  await page.keyboard.press('ArrowRight');
  assert.is(await page.textContent('#viewer .place'), '1 of 3');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#viewer', { state: 'hidden' });
  // The focus is back where it came from.
  assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^Enlarge: /);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('.tools >> text=Save all')]);
  assert.is(download.suggestedFilename(), 'dpm-solver-7-9.zip');
  const archive = unzipSync(readFileSync(await download.path()));
  assert.equal(Object.keys(archive), ['dpm-solver-7.png', 'dpm-solver-8.png', 'dpm-solver-9.png']);
  assert.is(Buffer.from(archive['dpm-solver-8.png']).toString('base64'), second);
});

test('keeps runs in the browser: shows one again, compares any two, restores settings', async () => {
  await forget();
  const runs = [
    { prompt: 'a red circle', seed: '3', steps: '2', solver: 'ddim' },
    { prompt: 'a blue star', seed: '4', steps: '3', solver: 'dpmsolver' },
    { prompt: 'a green ring', seed: '5', steps: '4', solver: 'sde-dpmsolver++' },
  ];
  const made: string[] = [];
  for (const settings of runs) {
    await open(`#${new URLSearchParams({ ...settings, count: '1' })}`);
    await page.click('#run');
    await reaches('a', 'done');
    made.push((await pictures('a'))[0]);
    await page.waitForSelector(`.runs li:nth-child(${made.length})`);
  }
  // A window of its own, and later.
  await page.close();
  page = await context.newPage();
  page.on('pageerror', (error) => problems.push(error.message));
  await open();
  await page.waitForSelector('.runs li');
  assert.match((await page.textContent('#history .kept')) ?? '', /^3 runs, .* kept in this browser$/);
  await accessible('a history');
  /** Pixels of the first picture that a pane shows, as they are on the screen. */
  const shown = (side: string) =>
    page.$eval(`.pane[data-side=${side}][data-state=kept] img`, async (image) => {
      // biome-ignore lint/suspicious/noExplicitAny: of a browser
      const own = image as any;
      await own.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
      canvas.getContext('2d').drawImage(own, 0, 0);
      const { data } = canvas.getContext('2d').getImageData(0, 0, 32, 32);
      return Array.from(data as Uint8Array).filter((_, i) => i % 4 < 3);
    });
  // The newest is the first.
  await page.click('.runs button >> nth=1');
  await reaches('a', 'kept');
  assert.equal(await shown('a'), pixels(made[1]));
  assert.match((await page.textContent('.figures')) ?? '', /^evaluations \(NFE\)3/);
  await shot('history');
  await accessible('a run of the history');
  await page.check('.runs input >> nth=2');
  await page.check('.runs input >> nth=0');
  await reaches('b', 'kept');
  assert.equal([await shown('a'), await shown('b')], [pixels(made[0]), pixels(made[2])]);
  await shot('history-compared');
  await accessible('two runs of the history');
  await whole('two runs of the history');
  await page.click('text=Restore both');
  const values = () =>
    page.$$eval(
      '[name="view"]:checked, [name="prompt"], [name="seed"], [name$=".solver"], [name$=".steps"]',
      (controls) => controls.map((control) => (control as unknown as { value: string }).value),
    );
  assert.equal(await values(), ['compare', 'a green ring', '5', 'ddim', '2', 'sde-dpmsolver++', '4']);
  await page.click('.runs button >> nth=1');
  await page.click('text=Restore settings');
  assert.equal((await values()).slice(0, 5), ['draw', 'a blue star', '4', 'dpmsolver', '3']);
  // The same settings make the same picture again.
  await page.click('#run');
  await reaches('a', 'done');
  assert.equal(pixels((await pictures('a'))[0]), pixels(made[1]));
  await page.waitForSelector('.runs li:nth-child(4)');
  await page.click('.runs button >> nth=0');
  await page.click('text=Remove');
  await page.waitForSelector('.runs li:nth-child(4)', { state: 'detached' });
  assert.is(await state('a'), 'done');
  await page.click('#history .clear');
  assert.is((await page.$$('.runs li')).length, 3);
  await page.click('#history .clear');
  await page.waitForSelector('#history', { state: 'hidden' });
  await page.reload();
  await page.waitForSelector('.pane');
  assert.is(await page.isVisible('#history'), false);
});

test('keeps so many runs, and so many bytes: the oldest fall out', async () => {
  await open();
  const found = await page.evaluate(async () => {
    const address = '/history.js';
    const { History } = await import(address);
    const kept: unknown[] = [];
    for (const given of [
      { name: 'test', most: 3, bytes: 1e6 },
      { name: 'test', most: 100, bytes: 250 },
    ]) {
      const history = new History(given);
      await history.clear();
      for (let i = 0; i < 5; i++) {
        const out = await history.add({ i, files: [new Blob(['x'.repeat(100)])] });
        kept.push([out, history.runs.map((run: { i: number }) => run.i)]);
      }
      const again = new History(given);
      kept.push((await again.read()).map((run: { i: number }) => run.i));
    }
    return kept;
  });
  assert.equal(found, [
    ...[
      [0, [0]],
      [0, [1, 0]],
      [0, [2, 1, 0]],
      [1, [3, 2, 1]],
      [1, [4, 3, 2]],
      [4, 3, 2],
    ],
    ...[
      [0, [0]],
      [0, [1, 0]],
      [1, [2, 1]],
      [1, [3, 2]],
      [1, [4, 3]],
      [4, 3],
    ],
  ]);
});

test('starts from a picture, makes a painted part of it anew, and edits it', async () => {
  await open('#steps=3&count=1&prompt=a+blue+star+on+a+white+background&seed=1');
  const data = new Uint8Array(3 * 32 * 32).fill(255);
  for (let i = 0; i < 32 * 32; i++) if (i % 32 > 7 && i % 32 < 24) data.set([220, 20, 20], 3 * i);
  const file = Buffer.from(encode({ width: 32, height: 32, channels: 3, data }));
  const choose = (kind: string) => page.locator(`label:has([name=kind][value=${kind}])`).click();
  await choose('image');
  await shot('start-nothing');
  await accessible('no picture to start from yet');
  await page.click('#run');
  assert.is(await page.textContent('#start-hint'), 'Choose a picture to start from.');
  assert.is(await state('a'), 'empty');
  await page.setInputFiles('#file', { name: 'stripe.png', mimeType: 'image/png', buffer: file });
  await page.waitForSelector('#easel:not([hidden])');
  await page.click('#run');
  await reaches('a', 'done');
  assert.match((await page.textContent('.summary')) ?? '', / · from a picture, 80 %$/);
  await shot('from-a-picture');

  await choose('inpaint');
  await page.click('#run');
  assert.is(await page.textContent('#start-hint'), 'Paint over what is to be made anew.');
  // With the pointer over the upper left, and with the keys from the middle to the right.
  const box = (await page.locator('#mask').boundingBox())!;
  const point = (x: number, y: number) => [box.x + (box.width * x) / 32, box.y + (box.height * y) / 32] as const;
  await page.mouse.move(...point(4, 6));
  await page.mouse.down();
  await page.mouse.move(...point(12, 6));
  await page.mouse.up();
  assert.is(await page.isEnabled('#undo'), true);
  await page.focus('#mask');
  await page.keyboard.press('Space');
  for (let i = 0; i < 6; i++) await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Space');
  await shot('mask');
  await accessible('a mask');
  await whole('a mask');
  const painted = () =>
    page.$eval('#mask canvas', (canvas) => {
      // biome-ignore lint/suspicious/noExplicitAny: of a browser
      const pixels = (canvas as any).getContext('2d').getImageData(0, 0, 32, 32).data;
      return Array.from({ length: 32 * 32 }, (_, i) => pixels[4 * i + 3] > 0);
    });
  const mask = await painted();
  const at = (x: number, y: number) => mask[32 * y + x];
  assert.equal([at(4, 6), at(8, 6), at(12, 6), at(16, 16), at(21, 16)], [true, true, true, true, true]);
  assert.equal([at(8, 14), at(28, 28), at(16, 24), at(30, 16)], [false, false, false, false]);
  await page.click('#clear-mask');
  assert.not.ok((await painted()).includes(true));
  await page.click('#undo');
  assert.equal(await painted(), mask);
  await runAnew();
  const made = decode(Buffer.from((await pictures('a'))[0], 'base64')).data;
  let changed = 0;
  for (const [i, value] of data.entries()) {
    if (!mask[Math.floor(i / 3)]) assert.is(made[i], value);
    else if (Math.abs(made[i] - value) > 8) changed++;
  }
  assert.ok(changed > 0, 'what was painted was made anew');
  await shot('inpainted');

  await choose('edit');
  await page.click('#run');
  assert.is(await page.textContent('#start-hint'), 'Say what the picture shows now.');
  await page.fill('#source', 'a red square on a white background');
  await page.fill('#prompt', 'a blue square on a white background');
  await page.fill('#count', '3');
  await runAnew();
  assert.is((await pictures('a')).length, 1);
  await accessible('edited');
  await shot('edited');

  // The history has the picture and the mask, too.
  await page.click('.runs button >> nth=1');
  await page.click('text=Restore settings');
  await page.waitForSelector('#start[data-kind=inpaint] #undo');
  await eventually(async () => JSON.stringify(await painted()) === JSON.stringify(mask), 'the mask came back');
  // What was made can be started from.
  await page.click('.pictures button >> nth=0');
  await page.click('#viewer >> text=Start from this');
  await page.waitForSelector('#viewer', { state: 'hidden' });
  assert.is(await page.isVisible('#easel'), true);
  await forget();
});

test('explains every control, with a link to the documentation', async () => {
  await open('#view=grid');
  const without = await page.$$eval(
    '#form :is(input, select, textarea), fieldset.side :is(input, select)',
    (controls) =>
      controls
        .filter((control) => !control.closest('[data-field]')?.querySelector('button.help'))
        .map((control) => control.getAttribute('name') || control.id),
  );
  // Choosing a file, and what the brush is, are explained with what they are for.
  assert.equal(
    without.filter((name) => !['tool', 'brush', 'file'].includes(name)),
    [],
  );
  await page.click('[data-field=numbers] .help');
  await page.waitForSelector('#help:popover-open');
  await accessible('an explanation');
  await whole('an explanation');
  await shot('help');
  assert.match((await page.textContent('#help p')) ?? '', /^Numbers of steps, /);
  // The keyboard goes from the button into it, and Escape closes it.
  await page.keyboard.press('Escape');
  await page.waitForSelector('#help', { state: 'hidden' });
  await page.keyboard.press('Enter');
  await page.waitForSelector('#help:popover-open');
  await page.keyboard.press('Tab');
  assert.is(await page.evaluate(() => document.activeElement.getAttribute('href')), '/docs/choosing#number-of-steps');
  if (!existsSync(fileURLToPath(new URL('../../dist/serve/docs/', import.meta.url)))) return;
  await page.click('#help a');
  await page.waitForSelector('h2#number-of-steps');
  await accessible('a page of the documentation');
  await page.setViewportSize({ width: 360, height: 740 });
  await whole('a page of the documentation');
  await shot('documentation');
  await page.setViewportSize({ width: 1280, height: 860 });
});

test('draws solvers by steps, live', async () => {
  await open(
    `#${new URLSearchParams({ view: 'grid', solvers: 'sde-dpmsolver++,ddim,unipc', numbers: '2,30', prompt: 'a red circle', seed: '3', method: 'adaptive' })}`,
  );
  await accessible('an empty grid');
  await page.click('#run');
  await page.waitForSelector('td[data-state=running] img');
  await accessible('a grid that runs');
  await whole('a grid that runs');
  await page.waitForSelector('#cancel', { state: 'hidden' });
  // What one solver cannot do is told in its place, and keeps nobody from theirs.
  assert.is(await page.textContent('.grid .status'), 'Done, 4 of 6 made, 2 refused');
  assert.match((await page.textContent('td[data-state=failed]')) ?? '', /^refused: .*adaptive/);
  await accessible('a grid that is done');
  await shot('grid');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('.grid .tools button')]);
  const names = Object.keys(unzipSync(readFileSync(await download.path())));
  assert.equal(names, ['unipc-2-3.png', 'unipc-30-3.png', 'ddim-2-3.png', 'ddim-30-3.png']);
  const alts = await page.$$eval('.grid td img', (images) => images.map((image) => image.getAttribute('alt')));
  assert.match(alts[0] ?? '', /^UniPC, 2 steps, 2 evaluations in /);
  await page.click('.grid td button >> nth=3');
  await page.click('#viewer >> text=Use these settings');
  const values = await page.$$eval('[name="view"]:checked, [name="a.solver"], [name="a.steps"], [name="seed"]', (all) =>
    all.map((one) => (one as unknown as { value: string }).value),
  );
  assert.equal(values, ['draw', '3', 'ddim', '30']);
  for (const [width, height] of [
    [320, 640],
    [768, 1024],
    [1920, 1080],
  ]) {
    await page.locator('label:has([name=view][value=grid])').click();
    await page.setViewportSize({ width, height });
    await whole(`a grid at ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 860 });
  // Cancelled, it keeps what is there.
  await page.fill('#numbers', '1, 200');
  await page.fill('#prompt', 'a blue star');
  await page.click('#run');
  await page.waitForSelector('td[data-state=running]');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#cancel', { state: 'hidden' });
  assert.match((await page.textContent('.grid .status')) ?? '', /^Cancelled, \d of 6 made/);
});

test('has colours that can be read', async () => {
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await open();
    const colours = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      return Object.fromEntries(
        [
          'paper',
          'surface',
          'sunken',
          'ink',
          'muted',
          'a',
          'a-ink',
          'b',
          'b-ink',
          'bad',
          'bad-paper',
          'strong-line',
        ].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
      );
    });
    // WCAG 2.2: 4.5 for text, 3 for the edges of controls.
    for (const [front, back, least] of [
      ['ink', 'paper', 7],
      ['ink', 'surface', 7],
      ['muted', 'paper', 4.5],
      ['muted', 'surface', 4.5],
      ['a', 'surface', 4.5],
      ['a-ink', 'a', 4.5],
      ['b-ink', 'b', 4.5],
      ['bad', 'bad-paper', 4.5],
      ['strong-line', 'surface', 3],
    ] as const) {
      const contrast = ratio(colours[front], colours[back]);
      assert.ok(contrast >= least, `${front} on ${back} in ${scheme}: ${contrast.toFixed(2)}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
});

test('shows what is wrong in the server’s own words, and no markup', async () => {
  const prompt = '<img src=x onerror=alert(1)> elephant';
  await open(
    `#${new URLSearchParams({ prompt, steps: '<b>', 'b.solver': '"><script>alert(1)</script>', seed: '-5' })}`,
  );
  assert.is(await page.inputValue('#prompt'), prompt);
  assert.is(await page.$('.panel img[src="x"]'), null);
  // A number that is none does not get into its field; one out of range is refused before anything is sent.
  await page.fill('[name="a.steps"]', '5');
  await page.fill('[name="b.steps"]', '5');
  await page.click('#run');
  assert.is(await state('a'), 'empty');
  await page.fill('#seed', '5');
  await page.click('#run');
  await reaches('a', 'failed');
  assert.match((await page.textContent('.status')) ?? '', /^The model does not know the words? .*'elephant'/);
  assert.is(await page.$('.pane img[src="x"]'), null);
  await reaches('b', 'failed');
  await shot('failed');
  await accessible('refused');
});

test('tells that the server has gone, and when it is back', async () => {
  let own = await startServer({ folder: shapes, port: 0 });
  const port = Number(new URL(own.url).port);
  try {
    await page.goto(`${own.url}#steps=200&count=16&prompt=a+red+circle`);
    await page.waitForSelector('.pane');
    await page.click('#run');
    await page.waitForSelector('.pictures img');
    // As a crash would: nothing is said.
    await page.route('**/api/status', (route) => route.abort());
    await context.setOffline(true);
    await own.close();
    await page.waitForSelector('.pane:is([data-state=gone], [data-state=failed])');
    await page.click('#run');
    await reaches('a', 'gone');
    await page.waitForSelector('#banner:not([hidden])');
    await shot('gone');
    await accessible('the server gone');
    own = await startServer({ folder: shapes, port });
    await context.setOffline(false);
    await page.unroute('**/api/status');
    await page.waitForSelector('#banner', { state: 'hidden' });
    await page.fill('[name="a.steps"]', '2');
    await page.click('#run');
    await reaches('a', 'done');
  } finally {
    await context.setOffline(false);
    await own.close();
  }
  problems.length = 0;
});

/** The contrast of two colours, as WCAG has it. */
function ratio(front: string, back: string): number {
  const luminance = (colour: string) => {
    const [r, g, b] = [1, 3, 5].map((i) => {
      const value = Number.parseInt(colour.slice(i, i + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(front), luminance(back)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

page_.run();
