// What the README and docs/ say: every code block is checked and run, every shell line run or checked, every link goes
// somewhere; and the examples. What is run is the packed package in an otherwise empty folder. A page that is added takes part
// by itself; test/docs has how.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as code from './docs/code.js';
import { anchors, type Block, blocks, links, pages, read } from './docs/pages.js';
import * as shell from './docs/shell.js';
import { lay } from './packed.js';
import { hasShapes } from './pipelines/models.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Code blocks that are checked but cannot be run here: `page#block`, and why. */
const NOT_RUN: Record<string, string> = {
  'docs/cuda.md#2': 'needs a card: test/engines/cuda/solver.test.ts runs the same calls on an emulated one',
  'docs/cuda.md#3': 'needs a card: test/cuda/device.test.ts runs the same calls on an emulated one',
  'docs/onnx.md#2': 'needs a graphics processor: test/engines/webgpu runs the same calls on one in software',
  'docs/web.md#1': 'needs a browser: test/web runs the same calls in one',
  'docs/serve.md#3': 'needs a server on its port: test/serve/openai.test.ts draws by the same calls',
  'docs/serve.md#4': 'needs a server on its port: test/serve/openai.test.ts draws by the same calls',
};

/** Blocks of neither code nor commands, by language. */
const DATA: Record<string, (text: string) => void> = {
  json: (text) => JSON.parse(text),
  text: () => {},
};

const all = pages(root).flatMap((page) => blocks(page, read(root, page)));
const codeBlocks = all.filter(({ language }) => code.LANGUAGES.includes(language));
const shellBlocks = all.filter(({ language }) => shell.LANGUAGES.includes(language));
/** What is wrong has to be told: of its types at lines 11 and 12, of its run whatever the line. */
const broken: Block = {
  page: 'broken.md',
  number: 1,
  line: 10,
  language: 'ts',
  text: [
    '// yours: unet (a network)',
    "const count: number = 'text';",
    'throw new Error(String(count), { cause: [unet, json] });', // json is not said to be the reader's
  ].join('\n'),
  with: new Map(),
};
const id = ({ page, number }: Block) => `${page}#${number}`;

/** What the pages tell their readers to install beside the package, and what TypeScript needs for Node. */
const BESIDE = ['onnxruntime-node', 'onnxruntime-web', 'openai', 'ai', '@ai-sdk/openai-compatible', '@types/node'];

const docs = suite('docs');
const isBuilt = existsSync(join(root, 'dist'));
const built = isBuilt ? docs : docs.skip;
let folder = '';
/** A project that has the package. */
let scratch = '';
let units: code.Unit[] = [];

docs.before(() => {
  if (!isBuilt) return;
  folder = mkdtempSync(join(tmpdir(), 'dpm-solver-docs-'));
  scratch = lay(folder, BESIDE);
  units = code.write(root, scratch, [...codeBlocks, broken]);
});

docs.after(() => {
  if (folder) rmSync(folder, { recursive: true, force: true });
});

docs('every block is code, commands or data of a kind that is checked here', () => {
  for (const block of all) {
    const { page, line, language, text } = block;
    if (codeBlocks.includes(block) || shellBlocks.includes(block)) continue;
    const check = DATA[language];
    assert.ok(check, `${page}:${line}: a block in ${language}, of which nothing is known`);
    assert.not.throws(() => check(text), undefined, `${page}:${line}`);
  }
  assert.ok(codeBlocks.length >= 5 && shellBlocks.length >= 3, 'blocks were found');
});

docs('what is not run is there, and is little', () => {
  for (const name of Object.keys(NOT_RUN))
    assert.ok(
      codeBlocks.some((block) => id(block) === name),
      name,
    );
  assert.is(Object.keys(NOT_RUN).length, 6);
});

built('code blocks compile, strictly', () => {
  const complaints = code.typecheck(units).map(({ page, line, message }) => `${page}:${line}: ${message}`);
  assert.equal(complaints, [
    "broken.md:11: Type 'string' is not assignable to type 'number'.",
    "broken.md:12: Cannot find name 'json'. Did you mean 'JSON'?",
  ]);
});

built('a code block that throws is told', async () => {
  const [failure] = await run(units.filter(({ block }) => block === broken));
  assert.match(String(failure), 'json is not defined');
});

for (const page of new Set(codeBlocks.map((block) => block.page))) {
  built(`code blocks run: ${page}`, async () => {
    const chosen = units.filter(({ block }) => block.page === page && !(id(block) in NOT_RUN));
    const failures = (await run(chosen)).flatMap((failure, i) =>
      failure === null ? [] : [`${page}:${chosen[i].block.line}: ${failure}`],
    );
    assert.equal(failures, []);
  });
}

for (const file of readdirSync(join(root, 'examples')).filter((name) => name.startsWith('loop-'))) {
  (hasShapes ? built : docs.skip)(`examples/${file} draws what its prompt says, as its first lines run it`, () => {
    const source = readFileSync(join(scratch, 'node_modules/dpm-solver/examples', file), 'utf8');
    const [node, ...args] = shell.words(/^\/\/ {5}(node .*)$/m.exec(source)![1]);
    assert.equal([node, args.length], ['node', 3], 'node, the example, a prompt and a file');
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: scratch, encoding: 'utf8' });
    assert.is(status, 0, stderr);
    const bytes = readFileSync(join(scratch, args[2]));
    const header = 'P6 32 32 255\n';
    assert.is(bytes.subarray(0, header.length).toString('latin1'), header);
    const pixels = bytes.subarray(header.length);
    assert.is(pixels.length, 3 * 32 * 32);
    let [red, blue] = [0, 0];
    for (let i = 0; i < pixels.length; i += 3) {
      const [r, g, b] = pixels.subarray(i, i + 3);
      if (r > 150 && g < 100 && b < 100) red++;
      if (b > 150 && r < 100 && g < 100) blue++;
    }
    // A large circle covers a fifth of the picture and more; edges are neither.
    assert.ok(red > 150 && blue > 350 && red + blue > 800, `${red} red and ${blue} blue pixels of 1024`);
  });
}

built('shell lines run, or say what exists', () => {
  const problems: string[] = [];
  let ran = 0;
  for (const block of shellBlocks) {
    for (const { line, words } of shell.commands(block)) {
      const outcome = shell.attempt(root, scratch, words);
      if (!outcome.ok) problems.push(`${block.page}:${line}: ${words.join(' ')}: ${outcome.why}`);
      else if (outcome.ran) ran++;
    }
  }
  assert.equal(problems, []);
  assert.ok(ran >= 2, `${ran} lines were run`);
});

built('shell lines that are wrong are told', () => {
  for (const [line, why] of [
    ['npm run nothing', 'package.json has no script nothing'],
    ['npm install other-package', 'other-package is neither'],
    ['npx dpm-solver sample --nothing', 'There is no flag --nothing'],
    ['npx dpm-solver txt2img "a castle" --model ./none --nothing', 'has no flag --nothing'],
    ['node scripts/none.mjs', 'scripts/none.mjs is missing'],
    ['node scripts/build-cuda.mjs --nothing', 'has no flag --nothing'],
    ['DPM_NOTHING=1 npm test', 'nothing reads the environment variable DPM_NOTHING'],
    ['make all', 'nothing is known about the program make'],
  ]) {
    const outcome = shell.attempt(root, scratch, shell.words(line));
    assert.not.ok(outcome.ok, line);
    if (!outcome.ok) assert.match(outcome.why, why);
  }
});

docs('every page is in the index', () => {
  const index = new Set(links('docs/README.md', read(root, 'docs/README.md')).map(({ target }) => `docs/${target}`));
  const missing = pages(root).filter(
    (page) => page.startsWith('docs/') && page !== 'docs/README.md' && !index.has(page),
  );
  assert.equal(missing, []);
});

docs('links lead to files and headings that are there', () => {
  const problems: string[] = [];
  for (const page of pages(root)) {
    for (const { line, target } of links(page, read(root, page))) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, anchor] = target.split('#', 2);
      const file = path === '' ? page : posix.join(dirname(page), path);
      if (!existsSync(join(root, file))) problems.push(`${page}:${line}: ${target}`);
      else if (anchor !== undefined && !hasAnchor(file, anchor)) problems.push(`${page}:${line}: ${target}`);
    }
  }
  assert.equal(problems, []);
});

built('the guides for those who come from elsewhere name what there is', () => {
  const declarations = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.d.ts'))
    .map((path) => readFileSync(join(root, 'dist', path), 'utf8'))
    .join('\n');
  const known = new Set(declarations.match(/[\p{L}\d_$+-]+/gu));
  // Words of the language, and what a line is about.
  for (const word of ['import', 'from', 'true', 'async', 'await', 'e', 'f', 'json', 'text', 'folder', 'changes', 'X'])
    known.add(word);
  const guides = pages(root).filter((page) => page.startsWith('docs/migrating-'));
  const unknown: string[] = [];
  for (const page of guides) {
    read(root, page)
      .split('\n')
      .forEach((line, i) => {
        if (!/^\| /.test(line)) return;
        // The last column is this package's; the others belong to the package that the reader comes from.
        const cell = line.split(/(?<!\\)\|/).at(-2)!;
        for (const [, snippet] of cell.matchAll(/`([^`]+)`/g)) {
          for (const word of snippet.replace('dpm-solver/', '').match(/[\p{L}_$][\p{L}\d_$+-]*/gu) ?? []) {
            if (!known.has(word)) unknown.push(`${page}:${i + 1}: ${word} in ${snippet}`);
          }
        }
      });
  }
  assert.ok(guides.length >= 3);
  assert.equal(unknown, []);
});

docs("the guide from diffusers has every key of the schedulers' configurations", () => {
  const source = readFileSync(join(root, 'lib/folder/scheduler-keys.ts'), 'utf8');
  const settings = /^export interface Settings \{\n([\s\S]*?)^\}/m.exec(source)![1];
  const keys = [...settings.matchAll(/^ {2}(\w+): /gm)].map(([, key]) => key);
  assert.ok(keys.length > 30);
  const guide = read(root, 'docs/migrating-from-diffusers.md');
  const missing = keys.filter((key) => !guide.includes(`\`${key}\``));
  assert.equal(missing, []);
});

/** A heading of a page, or a line of a source (`#L12`). */
function hasAnchor(file: string, anchor: string): boolean {
  if (file.endsWith('.md')) return anchors(file, read(root, file)).has(anchor);
  const line = /^L(\d+)$/.exec(anchor)?.[1];
  if (line === undefined || !statSync(join(root, file)).isFile()) return false;
  return Number(line) <= readFileSync(join(root, file), 'utf8').split('\n').length;
}

/** Imports the modules one after the other in a process of their own: for each null, or what it threw. */
function run(chosen: readonly code.Unit[]): Promise<(string | null)[]> {
  const child = join(scratch, 'run.mjs');
  writeFileSync(
    child,
    `const results = [];
for (const url of process.argv.slice(2)) {
  try {
    await import(url);
    results.push(null);
  } catch (error) {
    results.push(String(error?.stack ?? error));
  }
}
process.send(results, () => process.exit(0));
`,
  );
  return new Promise((done, failed) => {
    const args = [child, ...chosen.map(({ module }) => pathToFileURL(module).href)];
    const process_ = spawn(process.execPath, args, {
      cwd: scratch,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, FIXTURES: join(root, 'test/fixtures/models') },
    });
    const timer = setTimeout(() => process_.kill('SIGKILL'), 120_000);
    let output = '';
    let results: (string | null)[] | undefined;
    process_.stdout!.on('data', (data) => (output += data));
    process_.stderr!.on('data', (data) => (output += data));
    process_.on('message', (message) => (results = message as (string | null)[]));
    process_.on('close', (status, signal) => {
      clearTimeout(timer);
      if (results) done(results);
      else failed(new Error(`ended with ${signal ?? status} before all blocks were run:\n${output}`));
    });
  });
}

docs.run();
