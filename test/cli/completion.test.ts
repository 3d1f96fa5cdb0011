// The scripts for the Tab key, in the shells themselves, and the manual page, as its own checker reads it.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ALGORITHMS, METHODS } from '../../lib/solver/options.js';
import { start } from './command.js';

const test = suite('completion');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-completion-'));
test.after(() => rmSync(folder, { recursive: true }));
for (const name of ['models', 'pictures']) mkdirSync(join(folder, name));
for (const name of ['one.png', 'two pictures.png']) writeFileSync(join(folder, name), '');

const has = (shell: string) => spawnSync(shell, ['--version']).status === 0;

async function script(shell: string): Promise<string> {
  const { code, stdout, stderr } = await start(folder, ['completion', shell]).ended;
  assert.is(code, 0, stderr);
  const file = join(folder, `.script.${shell}`);
  writeFileSync(file, stdout);
  return file;
}

function ask(command: string, args: readonly string[]): string[] {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  assert.is(status, 0, stderr);
  assert.is(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

type Asker = (words: readonly string[]) => string[];

/** What follows the words, of which the last is being typed, in each shell. */
const SHELLS: Record<string, (file: string) => Asker> = {
  bash: (file) => (words) => {
    const quoted = ['dpm-solver', ...words].map((word) => `'${word}'`).join(' ');
    // compopt works during a completion alone.
    const program = `compopt() { :; }; source ${file}; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _dpm_solver`;
    return ask('bash', ['--norc', '-c', `${program}; printf '%s\\n' "\${COMPREPLY[@]}"`]);
  },
  fish: (file) => (words) => {
    const found = ask('fish', ['--no-config', '-c', `source ${file}; complete -C 'dpm-solver ${words.join(' ')}'`]);
    return found.map((line) => line.split('\t')[0].replace(/^--[\w-]+=/, ''));
  },
  zsh: (file) => (words) => {
    // An interactive shell on a terminal of its own, which tells what it would list.
    const inside = join(folder, '.inside.zsh');
    writeFileSync(
      inside,
      `PS1= PS2= RPS1=
autoload -Uz compinit && compinit -u -D
source ${file}
zstyle ':completion:*' insert-tab false
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return $?; fi
  typeset -a hits
  builtin compadd -A hits "$@"
  print -rl -- $hits
  builtin compadd "$@"
}
before() { print -r -- '<<' }
after() { print -r -- '>>' }
compprefuncs=(before) comppostfuncs=(after)
bindkey '^I' complete-word
print READY
`.replaceAll('\\$', '$'),
    );
    const outside = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'source ${inside}'
zpty -r -m z got '*READY*'
zpty -w -n z ${JSON.stringify(['dpm-solver', ...words].join(' '))}$'\t'
zpty -r -m z got '*>>*'
print -r -- "$got"
zpty -d z`;
    const lines = ask('zsh', ['-f', '-c', outside]).map((one) => one.replaceAll('\r', ''));
    const from = lines.findLastIndex((one) => one.endsWith('<<'));
    return lines.slice(from + 1, lines.lastIndexOf('>>')).filter((one) => one !== '');
  },
};

const COMMANDS = [
  'sample',
  'txt2img',
  'img2img',
  'inpaint',
  'edit',
  'decode',
  'compare',
  'calibrate',
  'bench',
  'serve',
  'worker',
  'pull',
  'info',
];

for (const [shell, askerOf] of Object.entries(SHELLS)) {
  if (!has(shell)) {
    console.log(`skipped: there is no ${shell}`);
    continue;
  }
  test(`${shell}: commands, flags, their values, files and folders`, async () => {
    const follows = askerOf(await script(shell));
    const contains = (words: readonly string[], expected: readonly string[], not: readonly string[] = []) => {
      const found = follows(words).map((one) => one.trim().replace(/[/=]$/, ''));
      for (const one of expected) assert.ok(found.includes(one), `${words.join(' ')}: ${one} in ${found.join(' ')}`);
      for (const one of not) assert.not.ok(found.includes(one), `${words.join(' ')}: no ${one} in ${found.join(' ')}`);
    };
    contains([''], [...COMMANDS, 'completion', 'help']);
    contains(['in'], ['inpaint', 'info'], ['sample']);
    contains(['help', 's'], ['sample', 'serve'], ['info']);
    contains(['completion', ''], ['bash', 'zsh', 'fish']);
    contains(['sample', '--so'], ['--solver', '--solver-type'], ['--port']);
    contains(['serve', '--po'], ['--port'], ['--solver']);
    contains(['sample', '--solver', ''], ALGORITHMS, ['one.png']);
    contains(
      ['txt2img', 'a', 'bird', '--method', 'single'],
      METHODS.filter((name) => name.startsWith('single')),
    );
    contains(['txt2img', '--scheduler', 'Euler'], ['EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler']);
    contains(['img2img', '--image', 'o'], ['one.png'], ['models']);
    contains(['txt2img', '--model', ''], ['models', 'pictures'], ['one.png']);
    assert.equal(follows(['sample', '--steps', '']), []);
  });
}

test('a shell that is not known is told of those that are', async () => {
  const { code, stderr } = await start(folder, ['completion', 'csh']).ended;
  assert.is(code, 2);
  assert.match(stderr, /^dpm-solver: Expected bash, zsh or fish for --shell but received 'csh'/);
  assert.is((await start(folder, ['completion']).ended).stderr, 'dpm-solver: A shell is missing: bash, zsh, fish\n');
});

test('the manual page is one, and has every command and flag', async () => {
  const { code, stdout, stderr } = await start(folder, ['help', '--man']).ended;
  assert.is(code, 0, stderr);
  const plain = stdout.replaceAll('\\-', '-');
  for (const command of [...COMMANDS, 'completion']) {
    assert.ok(plain.includes(`.SS "dpm-solver ${command}"`), command);
    const help = await start(folder, [command, '--help']).ended;
    const flags = [...help.stdout.matchAll(/(?<![\w-])--[a-z][a-z-]*(?==|,|\s)/g)].map(([flag]) => flag);
    for (const flag of flags.filter((one) => !one.startsWith('--no-')))
      assert.ok(plain.includes(`\\fB${flag}\\fR`), flag);
  }
  if (!has('mandoc') && spawnSync('mandoc', ['-Tlint'], { input: '' }).error) {
    console.log('skipped: there is no mandoc');
    return;
  }
  const page = join(folder, 'dpm-solver.1');
  writeFileSync(page, stdout);
  const lint = spawnSync('mandoc', ['-Tlint', '-W', 'warning', page], { encoding: 'utf8' });
  assert.equal(
    lint.stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date')),
    [],
  );
});

test.run();
