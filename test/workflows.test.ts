// The workflows cannot be run here. What can be checked is: they parse, what they call exists, with arguments that it
// takes, and the scripts in them are shell.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDocument } from 'yaml';
import { PLATFORMS } from '../scripts/platforms.mjs';

interface Step {
  name?: string;
  if?: string;
  run?: string;
  uses?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
}
interface Job {
  needs?: string | string[];
  'runs-on'?: string;
  container?: string | { image: string };
  'timeout-minutes'?: number;
  strategy?: { matrix: Record<string, unknown[]> & { include?: Record<string, unknown>[] } };
  permissions?: Record<string, string>;
  uses?: string;
  steps?: Step[];
}
interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  jobs: Record<string, Job>;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, '.github/workflows');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => `test/${file.replaceAll('\\', '/')}`);
const test = suite('workflows');

const names = readdirSync(folder);
const workflows = new Map(
  names.map((name) => {
    const document = parseDocument(readFileSync(join(folder, name), 'utf8'), { strict: true, uniqueKeys: true });
    return [name, { document, workflow: document.toJS() as Workflow }] as const;
  }),
);
const jobs = [...workflows].flatMap(([file, { workflow }]) =>
  Object.entries(workflow.jobs).map(([name, job]) => ({ where: `${file}, ${name}`, job })),
);

/** Each way in which a job is run: a value for every key of its matrix. */
function variants({ strategy }: Job): Record<string, unknown>[] {
  if (!strategy) return [{}];
  const { include = [], exclude: _, ...axes } = strategy.matrix;
  const all = Object.entries(axes).reduce<Record<string, unknown>[]>(
    (some, [key, values]) => some.flatMap((one) => values.map((value) => ({ ...one, [key]: value }))),
    [{}],
  );
  return Object.keys(axes).length > 0 ? all : include;
}

/** A script with the values of a matrix in it; what else stands in ${{ }} stays. */
function filled(script: string, values: Record<string, unknown>): string {
  return script.replace(/\$\{\{ matrix\.(\w+) \}\}/g, (_, key: string) => String(values[key]));
}

const commands = jobs.flatMap(({ where, job }) =>
  (job.steps ?? []).flatMap(({ run }) =>
    run === undefined ? [] : variants(job).map((values) => ({ where, script: filled(run, values) })),
  ),
);

test('parse, without a key twice', () => {
  assert.ok(names.length >= 3);
  for (const [name, { document }] of workflows) {
    assert.equal([...document.errors, ...document.warnings].map(String), [], name);
  }
});

test('ask for no more than they need, and do not run for ever', () => {
  for (const [name, { workflow }] of workflows) assert.equal(workflow.permissions, { contents: 'read' }, name);
  for (const { where, job } of jobs) {
    if (job.uses) continue;
    assert.ok(where === 'release.yml, publish' || job['timeout-minutes']! <= 120, where);
    if (where !== 'release.yml, publish') assert.is(job.permissions, undefined, where);
  }
});

test('have jobs that exist before them, and images that their runners still have', () => {
  for (const [name, { workflow }] of workflows) {
    for (const { needs, uses } of Object.values(workflow.jobs)) {
      for (const other of [needs ?? []].flat()) assert.ok(other in workflow.jobs, `${name}: ${other}`);
      if (uses) {
        const called = workflows.get(uses.replace('./.github/workflows/', ''));
        assert.ok(called && 'workflow_call' in called.workflow.on, `${name}: ${uses}`);
      }
    }
  }
  for (const { where, job } of jobs) {
    for (const values of variants(job)) {
      // https://github.com/actions/runner-images: macOS 13 went in December 2025, macOS 14 in November 2026.
      if (job['runs-on'] === undefined) assert.ok(job.uses, where);
      else
        assert.match(
          filled(job['runs-on'], values),
          /^(ubuntu-2[24]\.04|ubuntu-2[24]\.04-arm|macos-15(-intel)?|windows-2022|windows-11-arm)$/,
        );
    }
    for (const { uses } of job.steps ?? []) {
      // The first majors that run on Node 24: GitHub's runners have no Node 20 any more.
      const own =
        /^actions\/(checkout|setup-node|cache)@v5$|^actions\/upload-artifact@v6$|^actions\/download-artifact@v7$/;
      if (uses) assert.match(uses, own, where);
    }
  }
});

test('build for every platform that a release has', () => {
  const { native } = workflows.get('build.yml')!.workflow.jobs;
  const made = variants(native).map(({ name }) => name);
  assert.equal(made.sort(), PLATFORMS.map(({ name }) => name).sort());
});

test('fuzz, sanitize and soak every night', () => {
  const night = commands.filter(({ where }) => where.startsWith('nightly.yml')).map(({ script }) => script);
  const wanted = ['test:sanitize -- address', 'test:sanitize -- thread', 'test:sanitize -- valgrind'];
  wanted.push('fuzz -- native', 'fuzz -- napi', 'soak', 'test:ecosystem');
  for (const command of wanted)
    assert.ok(
      night.some((script) => script.includes(`npm run ${command}`)),
      command,
    );
  const seconds = night.flatMap((script) => /fuzz -- \w+ (\d+)/.exec(script)?.[1] ?? []).map(Number);
  assert.ok(seconds.length >= 2 && seconds.every((count) => count >= 600), String(seconds));
  assert.ok('schedule' in workflows.get('nightly.yml')!.workflow.on);
});

test('use keys of their matrix only', () => {
  for (const { where, job } of jobs) {
    const { include = [], exclude = [], ...axes } = job.strategy?.matrix ?? {};
    const keys = new Set([...Object.keys(axes), ...(include as object[]).flatMap((one) => Object.keys(one))]);
    for (const one of exclude as object[]) for (const key of Object.keys(one)) assert.ok(keys.has(key), where);
    for (const [, key] of JSON.stringify(job).matchAll(/matrix\.(\w+)/g)) assert.ok(keys.has(key), `${where}: ${key}`);
  }
});

test('run scripts that are shell, and commands that exist, with arguments that they take', () => {
  let checked = 0;
  for (const { where, script } of commands) {
    const at = `${where}: ${script}`;
    const plain = script.replace(/\$\{\{[^}]*\}\}/g, 'X');
    if (process.platform !== 'win32') {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: plain, encoding: 'utf8' });
      assert.is(status, 0, `${at}: ${stderr}`);
    }
    for (const [, name, rest] of plain.matchAll(/npm run (?:--silent )?([\w:-]+)(?: -- ([^\n&'|]*))?/g)) {
      assert.ok(name in scripts, at);
      const words = (rest ?? '').trim().split(/\s+/).filter(Boolean);
      if (name === 'prebuild') {
        assert.is(words[0], '--only', at);
        for (const part of words[1].split(',')) assert.ok(['host', 'arm64', 'musl', 'cuda', 'wasm'].includes(part), at);
      } else if (name === 'test:sanitize') {
        assert.ok(words.length === 1 && ['address', 'thread', 'valgrind'].includes(words[0]), at);
      } else if (name === 'fuzz') assert.match(words.join(' '), /^(native|napi) \d+$/, at);
      else if (name === 'soak') assert.match(words.join(' '), /^--result [\w.]+$/, at);
      else assert.equal(words, [], at);
      checked++;
    }
    for (const [, list] of plain.matchAll(/npx tsx test\/run\.ts ([^\n'&]+)/g)) {
      for (const filter of list.trim().split(/\s+/)) {
        assert.ok(
          tests.some((file) => file.includes(filter)),
          `${at}: no test has ${filter} in its path`,
        );
      }
      checked++;
    }
    for (const [, file] of plain.matchAll(/(?:node|bash|^) ?((?:scripts|\.ci)\/[\w./-]+)/gm)) {
      assert.ok(existsSync(join(root, file)), `${at}: ${file}`);
      if (file === '.ci/run' && process.platform !== 'win32') accessSync(join(root, file), constants.X_OK);
      checked++;
    }
    if (/\bnpm test\b/.test(plain)) assert.ok('test' in scripts, at);
  }
  assert.ok(checked >= 15, `${checked} commands were looked at`);
});

test('publish with provenance, what every job before has built, after its signatures were checked', () => {
  const { publish } = workflows.get('release.yml')!.workflow.jobs;
  assert.equal(publish.permissions, { contents: 'read', 'id-token': 'write' });
  const order = publish.steps!.map(({ run, uses }) => run ?? uses ?? '');
  const place = (what: RegExp) => {
    const at = order.findIndex((step) => what.test(step));
    assert.ok(at >= 0, String(what));
    return at;
  };
  const last = place(/^npm publish .*--provenance/);
  assert.is(last, order.length - 1);
  assert.ok(place(/^npm audit signatures$/) < last);
  assert.ok(place(/download-artifact/) < place(/prebuild\.mjs --check/));
  // Every job that makes a part of the package hands it on under a name that is fetched here.
  const kept = jobs.flatMap(({ job }) => job.steps ?? []).filter(({ uses }) => uses?.includes('upload-artifact'));
  const parts = kept.map(({ with: options }) => String(options?.name)).filter((name) => name.startsWith('prebuild-'));
  assert.equal(parts.length, 3, 'native, wasm and cuda');
  const fetched = publish.steps!.find(({ uses }) => uses?.includes('download-artifact'))!.with;
  assert.is(fetched?.pattern, 'prebuild-*');
});

test.run();
