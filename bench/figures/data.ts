// What the modules of figures share: the results they read, and Markdown tables.
import { existsSync, readFileSync } from 'node:fs';

/** What a module draws: files for docs/figures and tables for the markers in README.md and docs/. */
export interface Rendered {
  /** By name, without `.svg`. */
  svgs: Record<string, string>;
  /** Markdown by the name that its marker has. */
  tables: Record<string, string>;
}

/** The parsed bench/results/NAME.json. */
export function results<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../results/${name}.json`, import.meta.url), 'utf8')) as T;
}

/** The same, or nothing where nothing has been measured yet. */
export function optional<T>(name: string): T | undefined {
  return existsSync(new URL(`../results/${name}.json`, import.meta.url)) ? results<T>(name) : undefined;
}

/** A Markdown table; numbers stand at the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number) => String(value).replace(/\|/g, '\\|');
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => /^[\s*<>±~-]*[\d.]|^-?$/.test(String(row[column]))),
  );
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(head.map(cell)),
    `|${right.map((numbers) => (numbers ? '---:' : '---')).join('|')}|`,
    ...rows.map((row) => line(row.map(cell))),
  ].join('\n');
}
