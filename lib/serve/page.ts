// The page's files, read once: what is asked for is looked up by its whole name, and no name reaches the file system.
import { readFileSync } from 'node:fs';

const types = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
  png: 'image/png',
};

const names = [
  'index.html',
  'tokens.css',
  'base.css',
  'docs.css',
  'choices.css',
  'panel.css',
  'stage.css',
  'grid.css',
  'history.css',
  'dialogs.css',
  'icon.svg',
  'page.js',
  'settings.js',
  'stream.js',
  'pane.js',
  'noise.js',
  'parts.js',
  'files.js',
  'viewer.js',
  'history.js',
  'start.js',
  'help.js',
  'grid.js',
  'surprise.js',
  'brush.js',
  'strip.js',
] as const;

/** What a file is sent as, by the end of its name. */
export function typeOf(name: string): string {
  return types[name.slice(name.lastIndexOf('.') + 1) as keyof typeof types];
}

export interface PageFile {
  path: string;
  type: string;
  body: string;
}

export function readPage(): PageFile[] {
  const own = names.map((name) => ({
    path: name === 'index.html' ? '/' : `/${name}`,
    type: typeOf(name),
    body: readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8'),
  }));
  // What several pictures are saved with.
  const archive = readFileSync(new URL(import.meta.resolve('fflate/browser')), 'utf8');
  return [...own, { path: '/fflate.js', type: types.js, body: archive }];
}
