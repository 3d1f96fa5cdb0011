// The documentation as pages that `dpm-solver serve` shows: docs/*.md, the README and the changelog, to dist/serve/docs. Links
// among them, and their figures, lead there; those to sources, which a reader of the page may not have, become plain text.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import MarkdownIt from 'markdown-it';

/** A heading's anchor, as GitHub has it. */
function slugOf(text, seen) {
  const slug = text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');
  const count = seen.get(slug) ?? 0;
  seen.set(slug, count + 1);
  return count === 0 ? slug : `${slug}-${count}`;
}

/** Where a file of the checkout is served; nothing for those that are not. */
function addressOf(file) {
  if (file === 'README.md') return '/docs/readme';
  if (file === 'CHANGELOG.md') return '/docs/changelog';
  if (file === 'docs/README.md') return '/docs/';
  const page = /^docs\/([\w-]+)\.md$/.exec(file)?.[1];
  if (page) return `/docs/${page}`;
  return /^docs\/figures\/[\w-]+\.(svg|png)$/.test(file) ? `/${file}` : undefined;
}

function render(file, text) {
  const markdown = new MarkdownIt({ html: true, linkify: false });
  const seen = new Map();
  const resolve = (target) => {
    if (/^[a-z]+:/i.test(target)) return target;
    const [path, anchor] = target.split('#', 2);
    const address = path === '' ? '' : addressOf(posix.join(posix.dirname(file), path));
    return address === undefined ? undefined : address + (anchor === undefined ? '' : `#${anchor}`);
  };
  const tokens = markdown.parse(text, {});
  let title = '';
  const visit = (token) => {
    if (token.type === 'image') token.attrSet('src', resolve(token.attrGet('src')) ?? '');
    // A policy without inline styles is the server's.
    const align = /text-align:(\w+)/.exec(token.attrGet('style') ?? '')?.[1];
    if (align) token.attrs = [['class', align]];
    // Links do not nest, so what closes one is the next to do so.
    for (const [i, child] of (token.children ?? []).entries()) {
      if (child.type === 'link_open') {
        const address = resolve(child.attrGet('href'));
        if (address !== undefined) child.attrSet('href', address);
        else {
          const close = token.children.slice(i).find(({ type }) => type === 'link_close');
          for (const part of [child, close]) Object.assign(part, { tag: 'span', attrs: null });
        }
      }
      visit(child);
    }
  };
  for (const [i, token] of tokens.entries()) {
    visit(token);
    if (token.type !== 'heading_open') continue;
    const plain = tokens[i + 1].children.map(({ content }) => content).join('');
    title ||= plain;
    token.attrSet('id', slugOf(plain, seen));
  }
  let tables = 0;
  // What is wider than the window scrolls by itself, and can be reached by keys.
  const body = markdown.renderer
    .render(tokens, markdown.options, {})
    .replaceAll('<table>', () => `<div class="wide" tabindex="0" role="region" aria-label="Table ${++tables}"><table>`)
    // A header without a name is none.
    .replace(/<th( class="\w+")?><\/th>/g, '<td></td>')
    .replaceAll('</table>', '</table></div>')
    .replaceAll('<pre>', '<pre tabindex="0">');
  return `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${markdown.utils.escapeHtml(title)} · dpm-solver</title>
  <link rel="icon" href="/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/tokens.css">
  <link rel="stylesheet" href="/docs.css">
</head>
<body>
  <header><a href="/"><img src="/icon.svg" alt="" width="24" height="24">dpm-solver</a><nav aria-label="Documentation"><a href="/docs/">All pages</a> <a href="/docs/readme">README</a> <a href="/docs/changelog">Changelog</a></nav></header>
  <main>
${body}  </main>
</body>
</html>
`;
}

/** Writes all pages of the checkout at `root` into `out`. */
export function renderDocs(root, out) {
  mkdirSync(out, { recursive: true });
  const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  for (const file of ['README.md', 'CHANGELOG.md', ...pages.map((name) => `docs/${name}`)]) {
    const name = addressOf(file).replace(/^\/docs\//, '') || 'index';
    writeFileSync(join(out, `${name}.html`), render(file, readFileSync(join(root, file), 'utf8')));
  }
}
