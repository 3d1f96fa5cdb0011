// Flags that nobody typed: from the environment and from files, what comes before what, and what is refused.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArgsDef } from 'citty';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configFlags, configPath } from '../../lib/cli/config.js';
import { readText } from '../../lib/image/png-text.js';
import { constant } from '../pipelines/models.js';
import { start } from './command.js';

const test = suite('flags from files');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-config-'));
const before = { ...process.env };
test.after(() => rmSync(folder, { recursive: true }));
test.after.each(() => {
  process.env = { ...before };
});

const text: ArgsDef[string] = { type: 'string' };
const truth: ArgsDef[string] = { type: 'boolean' };
const commands: Record<string, ArgsDef> = {
  draw: {
    prompts: { type: 'positional' },
    model: text,
    steps: text,
    table: text,
    json: truth,
    like: text,
    config: text,
  },
  serve: { model: text, models: text, 'time-limit': text, table: truth, json: truth, config: text },
};

function flags(command: string, config: unknown, raw: string[] = []): string[] {
  const file = join(folder, 'own.json');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  return configFlags(command, ['--config', file, ...raw], commands);
}

test('what is said to all, then to the command, then by the environment', () => {
  const config = { model: 'a', steps: 20, json: true, draw: { steps: 30, json: false }, serve: { 'time-limit': 9 } };
  assert.equal(flags('draw', config), ['--model=a', '--steps=30', '--no-json']);
  assert.equal(flags('serve', config), ['--model=a', '--json', '--time-limit=9']);
  Object.assign(process.env, {
    DPM_SOLVER_DRAW_STEPS: '-4',
    DPM_SOLVER_DRAW_JSON: 'true',
    DPM_SOLVER_SERVE_TIME_LIMIT: '3',
  });
  assert.equal(flags('draw', config), ['--model=a', '--steps=-4', '--json']);
  assert.equal(flags('serve', config), ['--model=a', '--json', '--time-limit=3']);
});

test('lists, models by name, and a name that is a switch here and has a value there', () => {
  assert.equal(flags('draw', { table: 'none', steps: [5, 6] }), ['--table=none', '--steps=5,6']);
  assert.equal(flags('serve', { table: 'none' }), []);
  assert.equal(flags('serve', { table: true, models: { a: 'x', b: 'y' } }), ['--table', '--models=a=x,b=y']);
  assert.equal(flags('serve', { model: 'a' }, ['--models', 'b=c']), []);
});

const mistakes: [what: string, config: unknown, message: RegExp][] = [
  ['a misspelt name', { stpes: 1 }, /^There is no option 'stpes' in .*own\.json; did you mean 'steps'\?$/],
  ['one of another command', { serve: { steps: 1 } }, /^There is no option 'steps' for serve in /],
  ['one in a part that is not read now', { serve: { jsno: true } }, /'jsno' for serve in .*; did you mean 'json'\?$/],
  ['what names files itself', { like: 'a.png' }, /^There is no option 'like' in /],
  ['a file in a file', { draw: { config: 'a' } }, /^There is no option 'config' for draw in /],
  ['a prompt', { draw: { prompts: 'red' } }, /^There is no option 'prompts' for draw in /],
  ['a word for a switch', { json: 'yes' }, /^Expected true or false for json in .* but received "yes"$/],
  ['a switch for a word', { draw: { steps: true } }, /^Expected a string or a number for steps for draw in .* true$/],
  ['nothing', { model: null }, /^Expected a string or a number for model in .* null$/],
  ['no object', [1], /^Expected an object of options in .*own\.json$/],
  ['a part that is none', { draw: 3 }, /^Expected an object of options in .*own\.json for draw$/],
  ['no JSON', '{', /^The configuration .*own\.json cannot be read: /],
  ['names of objects', JSON.parse('{"__proto__": 1}'), /^There is no option '__proto__' in /],
];
for (const [what, config, message] of mistakes) {
  test(`refuses ${what}`, () => {
    assert.throws(() => flags('draw', config), message);
  });
}

test('knows which file is meant', () => {
  const own = (env: Record<string, string>, given?: string) => {
    process.env = { ...before, DPM_SOLVER_CONFIG: undefined, XDG_CONFIG_HOME: '/x', ...env } as NodeJS.ProcessEnv;
    for (const [name, value] of Object.entries(process.env)) if (value === undefined) delete process.env[name];
    if (!('DPM_SOLVER_CONFIG' in env)) delete process.env.DPM_SOLVER_CONFIG;
    return configPath('serve', given)?.path;
  };
  assert.is(own({}), join('/x', 'dpm-solver', 'config.json'));
  assert.is(own({ DPM_SOLVER_CONFIG: 'a' }), 'a');
  assert.is(own({ DPM_SOLVER_CONFIG: 'a', DPM_SOLVER_SERVE_CONFIG: 'b' }), 'b');
  assert.is(own({ DPM_SOLVER_CONFIG: 'a' }, 'c'), 'c');
  assert.is(own({ DPM_SOLVER_CONFIG: '' }), undefined);
  assert.is(own({ DPM_SOLVER_CONFIG: 'a' }, ''), undefined);
  // One that somebody named has to be there.
  process.env = { ...before, DPM_SOLVER_CONFIG: join(folder, 'none.json') };
  assert.throws(() => configFlags('draw', [], commands), /none\.json cannot be read: it does not exist$/);
  process.env = { ...before, XDG_CONFIG_HOME: folder };
  delete process.env.DPM_SOLVER_CONFIG;
  assert.equal(configFlags('draw', [], commands), []);
});

test('commands draw by it, a picture says what was drawn by, and flags come first', async () => {
  mkdirSync(join(folder, 'dpm-solver'), { recursive: true });
  const path = join(folder, 'dpm-solver', 'config.json');
  writeFileSync(
    path,
    JSON.stringify({ model: constant, json: true, sample: { steps: 3, count: 1, seed: 5, negative: 'blue' } }),
  );
  const run = async (...args: string[]) => {
    const env: Record<string, string> = { XDG_CONFIG_HOME: folder, APPDATA: folder };
    const { code, stdout, stderr } = await start(folder, args, { env, without: ['DPM_SOLVER_CONFIG'] }).ended;
    assert.is(code, 0, stderr);
    return stdout;
  };
  const { steps, seeds, negativePrompt } = JSON.parse(await run('sample', 'red', '-o', 'a.png'));
  assert.equal([steps, seeds, negativePrompt], [3, [5], 'blue']);
  const { flags } = JSON.parse(readText(readFileSync(join(folder, 'a.png'))).get('dpm-solver')!);
  assert.equal(flags, { steps: '3', count: '1', seed: '5', negative: 'blue' });
  writeFileSync(path, JSON.stringify({ model: constant, json: true, sample: { steps: 9, seed: 8, count: 2 } }));
  const again = JSON.parse(await run('sample', '--like', 'a.png', '--steps', '2', '-o', 'b.png'));
  assert.equal([again.steps, again.seeds, again.negativePrompt], [2, [5], 'blue']);
  assert.equal(JSON.parse(await run('info')).config, { read: path, place: path });
  assert.match(await run('info', '--no-json', '--config', ''), /^config +none$/m);
});

test.run();
