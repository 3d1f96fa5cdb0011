// The documentation that the page links to: what scripts/render-docs.mjs made of it, and its figures. A name that is asked for is
// looked up in a list that is made when the server starts, so that none reaches the file system.
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type App, notAllowed, refuse } from './answers.js';
import { typeOf } from './page.js';

const folder = (path: string): URL => new URL(`../../${path}/`, import.meta.url);

/** Files by the address they are served at. */
function list(): Map<string, URL> {
  const files = new Map<string, URL>();
  for (const [from, address] of [
    ['dist/serve/docs', '/docs/'],
    ['docs/figures', '/docs/figures/'],
  ] as const) {
    const own = folder(from);
    // Sources that were never built have no pages.
    if (!existsSync(own)) continue;
    for (const name of readdirSync(own)) {
      if (!/\.(html|svg|png)$/.test(name)) continue;
      const shown = name === 'index.html' ? '' : name.replace(/\.html$/, '');
      files.set(address + shown, new URL(name, own));
    }
  }
  return files;
}

export function docsRoutes(app: App): void {
  const files = list();
  app.get('/docs', (c) => c.redirect('/docs/', 301));
  app.get('/docs/*', async (c) => {
    const file = files.get(c.req.path);
    if (!file) return refuse(c, 404, 'There is no page of the documentation at this address; /docs/ has all of them');
    return c.body(new Uint8Array(await readFile(file)), 200, { 'Content-Type': typeOf(file.pathname) });
  });
  app.all('/docs/*', (c) => notAllowed(c, 'GET'));
}
