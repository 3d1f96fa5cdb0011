/**
 * Parts of this package that a library could do: what it would bring, and where it differs.
 *
 *     npm run bench:parts [-- --keep FOLDER --python PYTHON --only LIBRARY,...]
 *
 * Installs each candidate, in the version named here, into a folder of its own (--keep leaves it there), counts packages and
 * bytes, bundles what would be used of it as a browser gets it, and does the same work with both. Counts alone, which are the
 * same on every machine, but for how long an import and a call take: the library's process and an empty one take turns, both calls
 * take turns in this process, and the medians are divided. With a PYTHON that has Pillow, pictures of other sizes are held to
 * what that makes of the same ones. Writes bench/results/parts.json; --only measures these anew, and keeps the others as they are there.
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
import { type Image, stretch } from '../../lib/image/image.js';
import { drawText, TEXT_HEIGHT, textWidth } from '../../lib/image/text.js';
import { median } from '../../lib/pipelines/clock.js';
import { machine } from '../machine.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: { keep: { type: 'string' }, python: { type: 'string' }, only: { type: 'string' } },
});
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'dpm-solver-parts-'));

interface Candidate {
  part: string;
  /** Its file here, and what of it is used. */
  ours: { file: string; names: string };
  library: string;
  version: string;
  /** What would be used of it. */
  names: string;
  /** Compiled for a machine, or for Node alone: no browser gets it. */
  noBundle?: boolean;
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
  {
    part: 'pictures of other sizes',
    ours: { file: 'lib/image/image.ts', names: 'stretch' },
    library: 'sharp',
    version: '0.35.5',
    names: 'default',
    noBundle: true,
    compare: async (load) => {
      const { default: sharp } = await load<{ default(data: Uint8Array, options: object): Sharp }>();
      return resized(async ({ data, ...raw }, { width, height }) => {
        const options = { raw: { ...raw, channels: 3 } };
        const made = sharp(data, options).resize(width, height, {
          fit: 'fill',
          kernel: 'linear',
          fastShrinkOnLoad: false,
        });
        return new Uint8Array(await made.raw().toBuffer());
      });
    },
  },
  {
    part: 'pictures of other sizes',
    ours: { file: 'lib/image/image.ts', names: 'stretch' },
    library: 'pica',
    version: '10.0.3',
    names: 'default',
    compare: async (load) => {
      const { default: Pica } = await load<{ default: new (options: object) => Pica }>();
      const pica = new Pica({ features: ['js', 'wasm'] });
      return resized(async ({ width, height, data }, to) => {
        const src = new Uint8Array(4 * width * height).fill(255);
        for (let i = 0; i < width * height; i++) src.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
        // It has no linear one; this is the nearest.
        const sizes = { src, width, height, toWidth: to.width, toHeight: to.height };
        const rgba = await pica.resizeBuffer({ ...sizes, filter: 'hamming' });
        return rgba.filter((_, i) => i % 4 < 3);
      });
    },
  },
  {
    part: 'pictures of other sizes, and letters',
    ours: { file: 'lib/image/text.ts', names: 'drawText' },
    library: '@napi-rs/canvas',
    version: '1.1.1',
    names: 'createCanvas',
    noBundle: true,
    compare: letters,
  },
];

interface Sharp {
  resize(width: number, height: number, options: object): Sharp;
  raw(): Sharp;
  toBuffer(): Promise<Uint8Array>;
}
interface Pica {
  resizeBuffer(options: object): Promise<Uint8Array>;
}
type Size = Pick<Image, 'width' | 'height'>;

/** Parts of the page's own picture as previews are, from so large to so large, by both and by Pillow. */
const RESIZED: readonly (readonly [from: Size, to: Size])[] = [
  [
    { width: 64, height: 64 },
    { width: 512, height: 512 },
  ],
  [
    { width: 96, height: 64 },
    { width: 768, height: 512 },
  ],
  [
    { width: 32, height: 32 },
    { width: 50, height: 70 },
  ],
];

async function resized(theirs: (image: Image, to: Size) => Promise<Uint8Array>): Promise<string> {
  const picture = readPng(join(root, 'docs/figures/sheet.png'));
  let [most, toPillow, theirsToPillow] = [0, 0, 0];
  const times: [number[], number[]] = [[], []];
  for (const [from, to] of RESIZED) {
    const image: Image = { ...from, data: new Uint8Array(3 * from.width * from.height) };
    for (let y = 0; y < from.height; y++) {
      const start = 3 * ((y + 120) * picture.width + 120);
      image.data.set(picture.data.subarray(start, start + 3 * from.width), 3 * y * from.width);
    }
    const own = stretch(image, to).data;
    const other = await theirs(image, to);
    if (own.length !== other.length) throw new Error(`${own.length} bytes here, ${other.length} there`);
    const apart = (a: Uint8Array, b: Uint8Array) =>
      a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
    most = Math.max(most, apart(own, other));
    if (values.python) {
      const pillow = byPillow(values.python, image, to);
      toPillow = Math.max(toPillow, apart(own, pillow));
      theirsToPillow = Math.max(theirsToPillow, apart(other, pillow));
    }
    for (let i = 0; i < 15; i++) {
      for (const [which, make] of [() => void stretch(image, to), () => theirs(image, to)].entries()) {
        const started = performance.now();
        await make();
        if (from === RESIZED[0]![0]) times[which]!.push(performance.now() - started);
      }
    }
  }
  const pillow = values.python ? `; to Pillow's bilinear at most ${toPillow} here and ${theirsToPillow} there` : '';
  const time = (median(times[0]) / median(times[1])).toPrecision(2);
  return `${RESIZED.length} previews enlarged: bytes apart by at most ${most}${pillow}; 64² to 512² takes ${time} times as long here`;
}

/** BILINEAR, which between pixels is linear. */
function byPillow(python: string, { width, height, data }: Image, to: Size): Uint8Array {
  const program = [
    'import sys',
    'from PIL import Image',
    'w, h, a, b = map(int, sys.argv[1:])',
    "image = Image.frombytes('RGB', (w, h), sys.stdin.buffer.read())",
    'sys.stdout.buffer.write(image.resize((a, b), Image.BILINEAR).tobytes())',
  ].join('\n');
  const sizes = [width, height, to.width, to.height].map(String);
  return new Uint8Array(execFileSync(python, ['-c', program, ...sizes], { input: data, maxBuffer: 2 ** 26 }));
}

/** A label on a sheet, by both in turns. */
async function letters(load: Load): Promise<string> {
  interface Context {
    font: string;
    fillText(text: string, x: number, y: number): void;
    getImageData(x: number, y: number, width: number, height: number): { data: Uint8ClampedArray };
  }
  const canvas = await load<{
    createCanvas(width: number, height: number): { getContext(kind: '2d'): Context };
    GlobalFonts: { families: unknown[] };
  }>();
  const text = 'DPM-SOLVER++ 20 STEPS, GUIDANCE 7.5';
  const [width, height] = [2 * textWidth(text), 2 * TEXT_HEIGHT];
  const ours = () => drawText({ width, height, data: new Uint8Array(3 * width * height).fill(255) }, text, 0, 0, 2);
  const theirs = () => {
    const context = canvas.createCanvas(width, height).getContext('2d');
    context.font = '14px sans-serif';
    context.fillText(text, 0, height - 2);
    return context.getImageData(0, 0, width, height).data;
  };
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < 101; i++) {
    for (const [which, draw] of [ours, theirs].entries()) {
      const started = performance.now();
      draw();
      times[which]!.push(performance.now() - started);
    }
  }
  const inked = theirs().some((value) => value > 0);
  const time = (median(times[0]) / median(times[1])).toPrecision(2);
  return `a label of ${text.length} letters takes ${time} times as long here; the library has no font of its own, finds ${canvas.GlobalFonts.families.length} families on this machine and ${inked ? 'draws by them' : 'draws nothing'}`;
}

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

/** The library alone in a folder of its own, and a module that gives what it exports. */
function installed(library: string, version: string, names: string): { place: string; entry: string } {
  const place = join(folder, library.replaceAll('/', '_'));
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), '{ "private": true, "type": "module" }\n');
  const npm = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', `${library}@${version}`];
  execFileSync('npm', npm, { cwd: place, shell: process.platform === 'win32' });
  // Resolved as a module is, not as require() does.
  const entry = join(place, 'load.mjs');
  const byDefault = names.startsWith('default') ? `export { default } from '${library}';\n` : '';
  writeFileSync(entry, `export * from '${library}';\n${byDefault}`);
  return { place, entry };
}

const only = values.only?.split(',');
const file = join(root, 'bench/results/parts.json');
const before = only ? JSON.parse(readFileSync(file, 'utf8')) : {};
/** Measured now, or as it was. */
async function each<Row extends { library: string }, From extends { library: string }>(
  list: readonly From[],
  old: readonly Row[] | undefined,
  measure: (one: From) => Promise<Row>,
): Promise<Row[]> {
  const made: Row[] = [];
  for (const one of list) {
    const kept = only && !only.includes(one.library) && old?.find((row) => row.library === one.library);
    made.push(kept || (await measure(one)));
    if (!kept) console.log(JSON.stringify(made.at(-1)));
  }
  return made;
}

const rows = await each(CANDIDATES, before.rows, async ({ part, ours, library, version, names, noBundle, compare }) => {
  const { place, entry } = installed(library, version, names);
  const load: Load = async <T>() => (await import(pathToFileURL(entry).href)) as T;
  return {
    part,
    library,
    version,
    lines: readFileSync(join(root, ours.file), 'utf8').split('\n').length - 1,
    file: ours.file,
    ownBytes: await bundled(`export { ${ours.names} } from './${ours.file}';`, root),
    ...sizeOf(join(place, 'node_modules')),
    libraryBytes: noBundle ? null : await bundled(`export { ${names} } from '${library}';`, place),
    importRatio: importing(entry),
    compared: await compare?.(load),
  };
});

/** What is used, and what else does the same. */
const CHOSEN: readonly { part: string; library: string; version: string; used?: true }[] = [
  { part: 'flags and help', library: 'citty', version: '0.2.2', used: true },
  { part: 'flags and help', library: 'commander', version: '15.1.0' },
  { part: 'flags and help', library: 'cac', version: '7.1.0' },
  { part: 'flags and help', library: 'yargs', version: '18.2.0' },
  { part: 'progress', library: 'cli-progress', version: '3.12.0', used: true },
  { part: 'progress', library: 'ora', version: '9.4.1' },
  { part: 'progress', library: 'listr2', version: '11.4.0' },
];
const chosen = await each(CHOSEN, before.chosen, async (one) => {
  const { place, entry } = installed(one.library, one.version, '');
  return { ...one, ...sizeOf(join(place, 'node_modules')), importRatio: importing(entry) };
});

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

const pictures = only && before.pictures ? before.pictures : ['sheet.png', 'serve.png', 'tiles.png'].map(written);
console.log(JSON.stringify(pictures));
const result = { machine: machine(), rows, chosen, pictures };
writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
if (!values.keep) rmSync(folder, { recursive: true });
