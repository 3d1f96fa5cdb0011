// The figures of the documentation are what bench/results/ gives, and the machinery that draws them.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { table } from '../bench/figures/data.js';
import { bars, type Plot, plot } from '../bench/figures/plot.js';
import { fill, renderAll, update } from '../bench/figures/update.js';
import { assertThrows } from './support.js';

test('every figure and table is what the results give', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  assert.equal(update(root, await renderAll(), true), { stale: [], unknown: [] }, 'run npm run figures');
});

test('a marker takes its table, whatever stood there', () => {
  const marked = (content: string) => `a\n<!-- figures:one -->\n${content}<!-- /figures -->\nb <!-- figures:two -->\n`;
  const filled = fill(marked(''), { one: '| x |' }, 'page.md');
  assert.is(filled, marked('| x |\n'));
  assert.is(fill(filled, { one: '| x |' }, 'page.md'), filled);
  assert.is(fill(marked('old\nlines\n'), { one: '| x |' }, 'page.md'), filled);
  assert.is(fill(marked('old\n'), {}, 'page.md', true), marked('old\n'));
});

test('a marker without a table, or without an end, is an error that names it', () => {
  const marker = '<!-- figures:one -->\n';
  assertThrows(() => fill(`${marker}<!-- /figures -->`, {}, 'page.md'), Error, /figures:one in page\.md/);
  assertThrows(() => fill(marker, { one: '' }, 'page.md'), Error, /<!-- \/figures --> after the marker figures:one/);
  assertThrows(() => fill(`${marker}${marker}<!-- /figures -->`, { one: '' }, 'page.md'), Error, /after the marker/);
});

test('update writes what changed, check only tells of it, and an SVG that nothing makes is told of', () => {
  const root = mkdtempSync(join(tmpdir(), 'figures-'));
  try {
    mkdirSync(join(root, 'docs/figures'), { recursive: true });
    const page = join(root, 'docs/page.md');
    writeFileSync(join(root, 'README.md'), 'nothing here\n');
    writeFileSync(page, '<!-- figures:one -->\n<!-- /figures -->\n');
    writeFileSync(join(root, 'docs/figures/old.svg'), '');
    const rendered = { svgs: { new: '<svg/>' }, tables: { one: '| x |' } };
    const found = { stale: ['docs/figures/new.svg', 'docs/page.md'], unknown: ['docs/figures/old.svg'] };
    assert.equal(update(root, rendered, true), found);
    assert.not.match(readFileSync(page, 'utf8'), 'x');
    assert.throws(() => update(root, { ...rendered, tables: {} }, false), /figures:one/);
    assert.equal(update(root, rendered, true), found, 'an error left something half-written');
    assert.equal(update(root, rendered, false), found);
    assert.match(readFileSync(page, 'utf8'), '| x |');
    assert.equal(update(root, rendered, true).stale, []);
  } finally {
    rmSync(root, { recursive: true });
  }
});

const line = (points: Plot['panels'][0]['series'][0]['points'], log = false): Plot => ({
  title: 'A < B & C',
  description: 'two "things"',
  panels: [
    {
      x: { label: 'x', domain: [0, 100] },
      y: { label: 'y', domain: log ? [0.01, 100] : [0, 10], scale: log ? 'log' : 'linear' },
      series: [{ name: 'one', points }],
    },
  ],
});

test('SVGs are well-formed, and have a title and a description', () => {
  const values = [{ y: 1, low: 0.5, high: 2 }, null];
  const drawn = [
    plot(line([{ x: 1, y: 2, low: 1, high: 3 }])),
    bars({
      title: 'A < B',
      description: 'c',
      label: 'd',
      y: { label: 'e' },
      groups: ['f', 'g'],
      series: [{ name: '<', values }],
    }),
  ];
  for (const svg of drawn) {
    assert.match(svg, /<title id="title">A &lt; B/);
    assert.match(svg, /<desc id="desc">/);
    assert.not.match(svg, /NaN|Infinity|undefined/);
    const open: string[] = [];
    for (const [, close, name, empty] of svg.matchAll(/<(\/?)([a-zA-Z]+)[^<>]*?(\/?)>/g)) {
      if (close) assert.is(open.pop(), name);
      else if (!empty) open.push(name);
    }
    assert.equal(open, []);
  }
});

/** Where the line of the plot goes. */
function path(svg: string): [number, number][] {
  const d = svg.slice(svg.indexOf('<g clip-path')).match(/class="l" stroke-width="1.8" d="([^"]*)"/)![1];
  return [...d.matchAll(/([\d.]+) ([\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
}

test('linear and logarithmic axes put points where they belong, and leave gaps for what they cannot show', () => {
  const [a, b, c] = path(plot(line([0, 5, 10].map((y) => ({ x: 10 * y, y })))));
  assert.ok(Math.abs(b[0] - (a[0] + c[0]) / 2) < 0.11 && Math.abs(b[1] - (a[1] + c[1]) / 2) < 0.11);
  assert.is(a[1] - c[1], 260);
  const logarithmic = path(
    plot(
      line(
        [0.01, 1, 100].map((y, i) => ({ x: 50 * i, y })),
        true,
      ),
    ),
  );
  assert.equal(
    logarithmic.map(([, y]) => logarithmic[0][1] - y),
    [0, 130, 260],
  );
  const gap = plot(
    line(
      [0.01, 0, Number.NaN, 100].map((y, i) => ({ x: i, y })),
      true,
    ),
  );
  assert.is(path(gap).length, 2);
  assert.match(gap, /d="M[\d.]+ [\d.]+M[\d.]+ [\d.]+"/);
});

test('tables: bars are escaped, columns of numbers stand at the right', () => {
  assert.is(table(['a', 'b'], [['x|y', 1.5]]), '| a | b |\n|---|---:|\n| x\\|y | 1.5 |');
});

test.run();
