// The page's files, read once: what is asked for is looked up by its whole name, and no name reaches the file system.
import { readFileSync } from 'node:fs';

const types = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

const names = [
  'index.html',
  'page.css',
  'icon.svg',
  'page.js',
  'settings.js',
  'stream.js',
  'pane.js',
  'noise.js',
] as const;

export interface PageFile {
  path: string;
  type: string;
  body: string;
}

export function readPage(): PageFile[] {
  return names.map((name) => ({
    path: name === 'index.html' ? '/' : `/${name}`,
    type: types[name.slice(name.lastIndexOf('.') + 1) as keyof typeof types],
    body: readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8'),
  }));
}
