/**
 * Draws what bench/results/ says: docs/figures/NAME.svg, and in README.md and docs/*.md the table of each marker
 *
 *     <!-- figures:NAME -->
 *     <!-- /figures -->
 *
 * Every other module of this folder is one topic and exports `render(): Rendered`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Rendered } from './data.js';

const MACHINERY = new Set(['data.ts', 'main.ts', 'plot.ts', 'update.ts']);

/**
 * What all topics render, or some.
 *
 * @throws Error for a name that two topics use, RangeError for a topic that is not there
 */
export async function renderAll(only: readonly string[] = []): Promise<Rendered> {
  const all: Rendered = { svgs: {}, tables: {} };
  const topics = readdirSync(new URL('.', import.meta.url))
    .filter((file) => file.endsWith('.ts') && !MACHINERY.has(file))
    .sort();
  for (const name of only) {
    if (topics.includes(`${name}.ts`)) continue;
    const known = topics.map((file) => file.slice(0, -3)).join(', ');
    throw new RangeError(`Expected one of ${known} for a topic but received ${name}`);
  }
  for (const topic of topics.filter((file) => only.length === 0 || only.includes(file.slice(0, -3)))) {
    const { render } = (await import(new URL(topic, import.meta.url).href)) as { render?: () => Rendered };
    if (!render) throw new TypeError(`Expected a function render in bench/figures/${topic} but found none`);
    const rendered = render();
    for (const kind of ['svgs', 'tables'] as const) {
      for (const [name, content] of Object.entries(rendered[kind])) {
        if (Object.hasOwn(all[kind], name)) {
          throw new Error(`Expected one of ${kind} of each name but bench/figures/${topic} has a second ${name}`);
        }
        all[kind][name] = content;
      }
    }
  }
  return all;
}

/**
 * The text with every marker's content replaced.
 *
 * @param partial leaves markers without a table as they are
 * @throws Error for a marker without a table or an end
 */
export function fill(text: string, tables: Record<string, string>, file: string, partial = false): string {
  const start = /^<!-- figures:(\S+) -->$/gm;
  const end = '<!-- /figures -->';
  let filled = '';
  let from = 0;
  for (let match = start.exec(text); match; match = start.exec(text)) {
    const name = match[1];
    if (!Object.hasOwn(tables, name)) {
      if (partial) continue;
      const known = Object.keys(tables).sort().join(', ');
      throw new Error(
        `Expected a table for the marker figures:${name} in ${file} but there is none (there are ${known})`,
      );
    }
    const content = match.index + match[0].length;
    const close = text.indexOf(end, content);
    const next = text.indexOf('<!-- figures:', content);
    if (close < 0 || (next >= 0 && next < close)) {
      throw new Error(`Expected ${end} after the marker figures:${name} in ${file} but there is none`);
    }
    filled += `${text.slice(from, content)}\n${tables[name].trim()}\n`;
    from = close;
    start.lastIndex = close;
  }
  return filled + text.slice(from);
}

/**
 * Brings the files under `root` up to date with what was rendered, or with `check` leaves them alone. Nothing is written
 * where one marker is wrong.
 *
 * @returns the files that are not what they should be, relative to root; an SVG that no topic makes is one of them, and
 *   stays (with `partial`, where only some topics have been rendered, it is not looked for)
 */
export function update(
  root: string,
  { svgs, tables }: Rendered,
  check: boolean,
  partial = false,
): { stale: string[]; unknown: string[] } {
  const wanted = new Map(Object.entries(svgs).map(([name, svg]) => [`docs/figures/${name}.svg`, svg]));
  const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter((file) =>
    file.endsWith('.md'),
  );
  for (const file of pages) wanted.set(file, fill(readFileSync(join(root, file), 'utf8'), tables, file, partial));
  const figures = join(root, 'docs/figures');
  const unknown = (existsSync(figures) ? readdirSync(figures) : [])
    .map((name) => `docs/figures/${name}`)
    .filter((file) => !partial && file.endsWith('.svg') && !wanted.has(file));
  const stale = [...wanted]
    .filter(([file, text]) => !existsSync(join(root, file)) || readFileSync(join(root, file), 'utf8') !== text)
    .map(([file]) => file);
  if (!check) {
    mkdirSync(figures, { recursive: true });
    for (const file of stale) writeFileSync(join(root, file), wanted.get(file)!);
  }
  return { stale, unknown };
}
