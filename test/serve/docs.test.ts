// The documentation as the server shows it: every link that it and the page have leads somewhere.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Hono } from 'hono';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { App } from '../../lib/serve/answers.js';
import { docsRoutes } from '../../lib/serve/docs.js';
import { readPage } from '../../lib/serve/page.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const docs = suite('documentation served');
// `npm test` runs on a checkout where `npm ci` has built dist; someone at work on lib may be without.
const test = existsSync(`${root}dist/serve/docs`) ? docs : docs.skip;

const app: App = new Hono();
docsRoutes(app);
const files = new Set(readPage().map(({ path }) => path));

test('all pages are there, and all links and figures on them', async () => {
  const pages = new Map<string, string>();
  const wanted: [from: string, target: string][] = [['the page', '/docs/']];
  for (const [, target] of readFileSync(`${root}lib/serve/page/help.js`, 'utf8').matchAll(/'([\w-]+#[\w-]+)'/g)) {
    wanted.push(['help.js', `/docs/${target}`]);
  }
  assert.ok(wanted.length > 15, 'the page explains its controls');
  const problems: string[] = [];
  for (const [from, target] of wanted) {
    const [path, anchor] = target.split('#');
    if (!pages.has(path)) {
      const response = await app.request(path);
      const body = response.status === 200 ? await response.text() : '';
      pages.set(path, body);
      if (response.headers.get('content-type')?.startsWith('text/html')) {
        assert.not.match(body, /<script|style="/, `${path}: the server's policy forbids it`);
        for (const [, link] of body.matchAll(/ (?:href|src)="([^"]*)"/g)) {
          if (/^https?:/.test(link) || files.has(link)) continue;
          wanted.push([path, link.startsWith('#') ? path + link : link]);
        }
      }
    }
    const body = pages.get(path)!;
    if (body === '') problems.push(`${from}: ${target} is not there`);
    else if (anchor && !body.includes(` id="${anchor}"`)) problems.push(`${from}: ${target} has no such heading`);
  }
  assert.equal(problems, []);
  for (const page of ['/docs/', '/docs/serve', '/docs/choosing', '/docs/readme', '/docs/changelog']) {
    assert.ok(pages.has(page), `${page} can be reached from the first one`);
  }
});

test('nothing else is there', async () => {
  for (const path of [
    '/docs/none',
    '/docs/../package.json',
    '/docs/serve.md',
    '/docs/figures/',
    '/docs/%2e%2e/app.js',
  ]) {
    assert.is((await app.request(path)).status, 404, path);
  }
  assert.is((await app.request('/docs/serve', { method: 'POST' })).status, 405);
  const response = await app.request('/docs');
  assert.equal([response.status, response.headers.get('location')], [301, '/docs/']);
});

docs.run();
