/**
 * Parts of this package that a library could do: what it would bring, and where it differs.
 *
 *     npm run bench:parts [-- --keep FOLDER]
 *
 * Installs each candidate, in the version named here, into a folder of its own (--keep leaves it there), counts packages and
 * bytes, bundles what would be used of it as a browser gets it, and does the same work with both. Counts alone, which are the
 * same on every machine, but for how long an import takes: the library's process and an empty one take turns, and the medians
 * are divided. Writes bench/results/parts.json.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { encode } from 'fast-png';
import { nearest } from '../../lib/base/text.js';
import { encodePng, readPng } from '../../lib/image/file.js';
import { median } from '../../lib/pipelines/clock.js';
import { machine } from '../machine.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({ options: { keep: { type: 'string' } } });
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'dpm-solver-parts-'));

interface Candidate {
  part: string;
  /** Its file here, and what of it is used. */
  ours: { file: string; names: string };
  library: string;
  version: string;
  /** What would be used of it. */
  names: string;
  /** Does the same work with both. */
  compare?(load: Load): Promise<string>;
}
/** The library, from where it was installed. */
type Load = <T>() => Promise<T>;

const CANDIDATES: Candidate[] = [
  {
    part: 'edit distance',
    ours: { file: 'lib/base/text.ts', names: 'nearest' },
    library: 'fastest-levenshtein',
    version: '1.0.16',
    names: 'distance',
    compare: async (load) => {
      const { distance } = await load<{ distance(a: string, b: string): number }>();
      return typos(distance);
    },
  },
  {
    part: 'edit distance, with swaps',
    ours: { file: 'lib/base/text.ts', names: 'nearest' },
    library: 'damerau-levenshtein',
    version: '1.0.8',
    names: 'default as d',
    compare: async (load) => {
      const { default: d } = await load<{ default(a: string, b: string): { steps: number } }>();
      return typos((a, b) => d(a, b).steps);
    },
  },
  {
    part: 'server-sent events of the page',
    ours: { file: 'lib/serve/page/stream.js', names: 'run' },
    library: 'eventsource-parser',
    version: '4.1.3',
    names: 'createParser',
    compare: streams,
  },
  {
    part: 'plots of the documentation',
    ours: { file: 'bench/figures/plot.ts', names: 'plot' },
    library: '@observablehq/plot',
    version: '0.6.17',
    names: 'plot',
  },
  {
    part: 'plots of the documentation',
    ours: { file: 'bench/figures/plot.ts', names: 'plot' },
    library: 'vega',
    version: '6.4.0',
    names: 'View, parse',
  },
  {
    part: 'Node-API for WebAssembly',
    ours: { file: 'lib/addon/wasm/napi.ts', names: 'instantiate' },
    library: '@emnapi/core',
    version: '1.11.3',
    names: 'instantiateNapiModuleSync',
  },
];

/** Options of every call with one letter left out, doubled, replaced or swapped: how often is the same one meant? */
function typos(distance: (a: string, b: string) => number): string {
  const source = readFileSync(join(root, 'lib/pipelines/options.ts'), 'utf8');
  const names = [...new Set([...source.matchAll(/^ {2}(?:readonly )?(\w{4,})\?:/gm)].map(([, name]) => name!))];
  // As lib/base/text.ts has it.
  const theirs = (word: string) => {
    let best: string | undefined;
    let least = Math.floor(word.length / 3) + 1;
    for (const name of names) {
      const apart = distance(word.toLowerCase(), name.toLowerCase());
      if (apart < least) [best, least] = [name, apart];
    }
    return best;
  };
  let [all, same, right, theirsRight] = [0, 0, 0, 0];
  for (const name of names) {
    for (let i = 0; i < name.length; i++) {
      const [before, letter, after] = [name.slice(0, i), name[i]!, name.slice(i + 1)];
      const words = [before + after, before + letter + letter + after, `${before}z${after}`];
      if (after) words.push(before + after[0] + letter + after.slice(1));
      for (const word of words) {
        all++;
        const [a, b] = [nearest(word, names), theirs(word)];
        if (a === b) same++;
        if (a === name) right++;
        if (b === name) theirsRight++;
      }
    }
  }
  return `${names.length} options with one slip each, ${all} words: ${right} understood here, ${theirsRight} there, ${same} alike`;
}

/** A run's events, in pieces cut anywhere. */
async function streams(load: Load): Promise<string> {
  interface Parser {
    feed(text: string): void;
  }
  const { createParser } = await load<{
    createParser(callbacks: { onEvent(event: { event?: string; data: string }): void }): Parser;
  }>();
  const sent = Array.from(
    { length: 20 },
    (_, i) => `event: step\ndata: ${JSON.stringify({ step: i, text: 'é\\n: 猫' })}\n\n`,
  );
  const bytes = new TextEncoder().encode(`${sent.join('')}event: done\ndata: {}\n\n`);
  // The page has no types.
  const stream: string = new URL('../../lib/serve/page/stream.js', import.meta.url).href;
  const { run: events } = (await import(stream)) as { run(settings: object): AsyncIterable<unknown> };
  const original = globalThis.fetch;
  let [cuts, same] = [0, 0];
  try {
    for (let cut = 1; cut < bytes.length; cut++) {
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)];
      globalThis.fetch = async () => new Response(new Blob(pieces).stream());
      const ours: unknown[] = [];
      for await (const event of events({})) ours.push(event);
      const theirs: unknown[] = [];
      const parser = createParser({ onEvent: ({ event, data }) => theirs.push([event, JSON.parse(data)]) });
      const decoder = new TextDecoder();
      for (const piece of pieces) parser.feed(decoder.decode(piece, { stream: true }));
      cuts++;
      if (JSON.stringify(ours) === JSON.stringify(theirs)) same++;
    }
  } finally {
    globalThis.fetch = original;
  }
  return `21 events cut at each of ${cuts} bytes: the same ${same} times`;
}

/** Minified, as one file for a browser. */
async function bundled(code: string, resolveDir: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir, loader: 'ts' },
    ...{ bundle: true, minify: true, write: false, format: 'esm', platform: 'browser', logLevel: 'error' },
    external: ['node:*'],
  });
  return outputFiles[0]!.contents.length;
}

function sizeOf(place: string): { packages: number; bytes: number } {
  const files = readdirSync(place, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const packages = paths.filter((path) => /node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+[\\/]package\.json$/.test(path));
  return { packages: packages.length, bytes: paths.reduce((sum, path) => sum + statSync(path).size, 0) };
}

/** How many times as long as an empty process one takes that imports the library. */
function importing(entry: string): number {
  const took = (code: string) => {
    const started = performance.now();
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return performance.now() - started;
  };
  const [empty, full]: [number[], number[]] = [[], []];
  for (let i = 0; i < 9; i++) {
    empty.push(took(''));
    full.push(took(`await import(${JSON.stringify(pathToFileURL(entry).href)})`));
  }
  return median(full) / median(empty);
}

const rows = [];
for (const { part, ours, library, version, names, compare } of CANDIDATES) {
  const place = join(folder, library.replaceAll('/', '_'));
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), '{ "private": true, "type": "module" }\n');
  const npm = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', `${library}@${version}`];
  execFileSync('npm', npm, { cwd: place, shell: process.platform === 'win32' });
  // Resolved as a module is, not as require() does.
  const entry = join(place, 'load.mjs');
  const byDefault = names.startsWith('default') ? `export { default } from '${library}';\n` : '';
  writeFileSync(entry, `export * from '${library}';\n${byDefault}`);
  const load: Load = async <T>() => (await import(pathToFileURL(entry).href)) as T;
  const row = {
    part,
    library,
    version,
    lines: readFileSync(join(root, ours.file), 'utf8').split('\n').length - 1,
    file: ours.file,
    ownBytes: await bundled(`export { ${ours.names} } from './${ours.file}';`, root),
    ...sizeOf(join(place, 'node_modules')),
    libraryBytes: await bundled(`export { ${names} } from '${library}';`, place),
    importRatio: importing(entry),
    compared: await compare?.(load),
  };
  rows.push(row);
  console.log(JSON.stringify(row));
}
/** A picture of the documentation, written by both in turns: bytes, and how many times as long fast-png takes. */
function written(name: string) {
  const picture = readPng(join(root, 'docs/figures', name));
  const ours = () => encodePng(picture);
  const theirs = () => encode({ ...picture, channels: 3, depth: 8 });
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < 7; i++) {
    for (const [which, write] of [ours, theirs].entries()) {
      const started = performance.now();
      write();
      times[which]!.push(performance.now() - started);
    }
  }
  return { name, bytes: ours().length, libraryBytes: theirs().length, time: median(times[1]) / median(times[0]) };
}

const pictures = ['sheet.png', 'serve.png', 'tiles.png'].map(written);
console.log(JSON.stringify(pictures));
const result = { machine: machine(), rows, pictures };
writeFileSync(join(root, 'bench/results/parts.json'), `${JSON.stringify(result, null, 2)}\n`);
if (!values.keep) rmSync(folder, { recursive: true });
