// The pages of the documentation and what is in them: code blocks, links, headings.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A fenced block of a page. */
export interface Block {
  page: string;
  /** Of the page's blocks, from 1. */
  number: number;
  /** The page's line on which its text begins, from 1. */
  line: number;
  /** What follows the fence; '' where nothing does. */
  language: string;
  text: string;
  /** From a comment `<!-- with: name = stand-in, ... -->` right above it: which stand-in a name means. */
  with: Map<string, string>;
}

export interface Link {
  page: string;
  line: number;
  target: string;
}

/** README.md, CONTRIBUTING.md and everything in docs/, as paths in the repository. */
export function pages(root: string): string[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .map((path) => `docs/${path.replaceAll('\\', '/')}`)
    // The reference that `npm run docs:api` writes.
    .filter((path) => path.endsWith('.md') && !path.startsWith('docs/api/'));
  return ['README.md', 'CONTRIBUTING.md', ...docs.sort()];
}

export function read(root: string, page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

export function blocks(page: string, text: string): Block[] {
  const found: Block[] = [];
  const lines = text.split('\n');
  let uses = new Map<string, string>();
  for (let i = 0; i < lines.length; i++) {
    const comment = /^\s*<!-- with: (.*) -->$/.exec(lines[i]);
    if (comment) {
      uses = new Map(
        comment[1].split(',').map((pair) => pair.split('=').map((side) => side.trim()) as [string, string]),
      );
      continue;
    }
    const fence = /^(\s*)(`{3,})(\S*)/.exec(lines[i]);
    if (!fence) {
      if (lines[i].trim() !== '') uses = new Map();
      continue;
    }
    const [, indent, ticks, language] = fence;
    const begin = i + 1;
    while (++i < lines.length && lines[i].trim() !== ticks);
    if (i === lines.length) throw new Error(`${page}:${begin}: a code block without an end`);
    const body = lines.slice(begin, i).map((line) => line.slice(Math.min(indent.length, /^\s*/.exec(line)![0].length)));
    found.push({ page, number: found.length + 1, line: begin + 1, language, text: body.join('\n'), with: uses });
    uses = new Map();
  }
  return found;
}

/** The page without its code, every line where it was. */
export function prose(page: string, text: string): string[] {
  const lines = text.split('\n');
  for (const block of blocks(page, text)) {
    const count = block.text.split('\n').length;
    lines.fill('', block.line - 2, block.line + count);
  }
  return lines.map((line) => line.replace(/`[^`]*`/g, ''));
}

export function links(page: string, text: string): Link[] {
  return prose(page, text).flatMap((line, i) => {
    const found = [...line.matchAll(/\]\(([^()\s]+(?:\([^()]*\))?)\)|(?:src|href|srcset)="([^"]+)"/g)];
    return found.map((match) => ({ page, line: i + 1, target: match[1] ?? match[2] }));
  });
}

/** What `#...` may name on a page: its headings as GitHub writes them. */
export function anchors(page: string, text: string): Set<string> {
  const seen = new Map<string, number>();
  const lines = text.split('\n');
  for (const block of blocks(page, text)) {
    lines.fill('', block.line - 2, block.line + block.text.split('\n').length);
  }
  const names = lines.flatMap((line) => {
    const heading = /^#{1,6} +(.*?) *#*$/.exec(line);
    if (!heading) return [];
    const plain = heading[1].replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = plain.replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '').replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return [count === 0 ? slug : `${slug}-${count}`];
  });
  return new Set(names);
}
