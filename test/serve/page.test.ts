// The page in headless Chromium. Screenshots are kept in test/artefacts/serve.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode } from 'fast-png';
import type { BrowserContext, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { hasShapes, shapes } from '../pipelines/models.js';
import { eventually, idle } from './client.js';

const chromium = process.env.DPM_SOLVER_CHROMIUM ?? '/usr/bin/chromium';
const page_ = suite('page');
const why = !existsSync(chromium) ? `there is no ${chromium}` : hasShapes ? '' : 'there is no model';
if (why) console.log(`  skipped: ${why}`);
const test = why ? page_.skip : page_;

const artefacts = fileURLToPath(new URL('../artefacts/serve/', import.meta.url));
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
    if (message.type() === 'error' && !/status of (400|429)/.test(message.text())) problems.push(message.text());
  });
});
page_.after.each(async () => {
  if (why) return;
  await page.close();
  await idle(server.url);
  assert.equal(problems, []);
});

async function open(hash = ''): Promise<void> {
  await page.goto(server.url + hash);
  await page.waitForFunction(() => document.querySelector('#model')?.textContent?.startsWith('draws'));
}

const state = (side: 'a' | 'b') => page.getAttribute(`.pane[data-side=${side}]`, 'data-state');
const reaches = (side: 'a' | 'b', what: string) => page.waitForSelector(`.pane[data-side=${side}][data-state=${what}]`);
const shot = (name: string) => page.screenshot({ path: join(artefacts, `${name}.png`), animations: 'disabled' });
const said = () => page.textContent('#live');
/** Bytes of the pictures that a pane shows. */
const pictures = (side: 'a' | 'b') =>
  page.$$eval(`.pane[data-side=${side}] .pictures img`, (images) =>
    images.map((image) => (image as unknown as { src: string }).src.split(',')[1]),
  );

test('shows noise, then every step, then pictures, figures and a download', async () => {
  await open();
  assert.is(await state('a'), 'empty');
  await shot('empty');
  await page.fill('[name="a.steps"]', '30');
  const seen = new Set<string>();
  await page.click('#run');
  await reaches('a', 'running');
  await eventually(async () => {
    for (const picture of await pictures('a')) seen.add(picture);
    if (seen.size === 8) await shot('running');
    return (await state('a')) === 'done';
  }, 'the run never ended');
  assert.ok(seen.size >= 12, `pictures changed while they were made: ${seen.size} were seen`);
  await shot('done');
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
  const [a, b] = [await pictures('a'), await pictures('b')];
  assert.equal([a.length, b.length], [2, 2]);
  assert.is.not(a[0], b[0]);
  // The same settings on both sides give the same pictures.
  await page.selectOption('[name="b.solver"]', 'dpmsolver++');
  await page.click('#run');
  await reaches('b', 'queued');
  await reaches('b', 'done');
  const pixels = (png: string) => Array.from(decode(Buffer.from(png, 'base64')).data);
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
      return element.id || element.name || element.className;
    });
  await page.keyboard.press('Tab');
  assert.is(await focused(), 'skip');
  // Every control is reached, in the order in which it stands.
  const order: string[] = [];
  for (let i = 0; i < 40 && order.at(-1) !== 'share'; i++) {
    await page.keyboard.press('Tab');
    order.push(await focused());
  }
  const names = [
    'prompt',
    'seed',
    'count',
    'compare',
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
  await page.focus('#compare');
  await page.keyboard.press('Space');
  await page.keyboard.press('Space');
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
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: null });
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
