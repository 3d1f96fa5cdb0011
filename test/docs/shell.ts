// Shell lines of the documentation: run where that is a matter of seconds and changes nothing but its own folder,
// otherwise taken apart and checked: scripts, files, flags and environment variables have to exist.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Block } from './pages.js';

export const LANGUAGES = ['', 'sh', 'bash', 'shell', 'console'];

/** A command line as words: quotes are taken off, a comment at the end is left out. */
export function words(line: string): string[] {
  const found: string[] = [];
  for (const [whole, double, single] of line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|[^\s"']+/g)) {
    if (whole.startsWith('#')) break;
    found.push(double ?? single ?? whole);
  }
  return found;
}

/** The commands of a block: continued lines joined, `a && b` apart. */
export function commands(block: Block): { line: number; words: string[] }[] {
  const found: { line: number; words: string[] }[] = [];
  const lines = block.text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const line = block.line + i;
    let text = lines[i].replace(/^\s*\$ /, '');
    while (text.endsWith('\\') && i + 1 < lines.length) text = text.slice(0, -1) + lines[++i];
    let current: string[] = [];
    for (const word of [...words(text), '&&']) {
      if (word !== '&&') current.push(word);
      else if (current.length > 0) {
        found.push({ line, words: current });
        current = [];
      }
    }
  }
  return found;
}

/** Programs of the reader's system, whose lines can neither be run nor be checked here. */
const ELSEWHERE = new Set(['apt-get', 'apk', 'dnf', 'brew', 'xcode-select', 'docker', 'git', 'curl']);

export type Outcome = { ok: true; ran: boolean } | { ok: false; why: string };

const checked: Outcome = { ok: true, ran: false };
const wrong = (why: string): Outcome => ({ ok: false, why });

/** Runs or checks one command. `folder` is that of a project that has the package, where it may write. */
export function attempt(root: string, folder: string, all: readonly string[]): Outcome {
  const variables = all.filter((_, i) => all.slice(0, i + 1).every((before) => /^[A-Z][A-Z0-9_]*=/.test(before)));
  const [program, ...args] = all.slice(variables.length);
  const names = [
    ...variables.map((word) => word.split('=', 1)[0]),
    ...(program === 'export' ? args.map((a) => a.split('=', 1)[0]) : []),
  ];
  for (const name of names) if (!isRead(root, name)) return wrong(`nothing reads the environment variable ${name}`);
  if (program === undefined || program === 'export') return checked;
  if (program === 'npm') return npm(root, args);
  if (program === 'npx' || program === 'dpm-solver') return npx(root, folder, program === 'npx' ? args : all);
  if (program === 'node' || program === 'python' || program === 'torchrun') return script(root, args);
  if (ELSEWHERE.has(program)) return checked;
  if (program === '.ci/run') return existsSync(join(root, program)) ? checked : wrong(`${program} is missing`);
  return wrong(`nothing is known about the program ${program}: test/docs/shell.ts checks what it knows`);
}

function manifest(root: string): { scripts: Record<string, string>; name: string; peerDependencies: object } {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}

function npm(root: string, args: readonly string[]): Outcome {
  const { scripts, name, peerDependencies } = manifest(root);
  const [verb, first] = args;
  if (verb === 'ci' || verb === 'pack') return checked;
  if (verb === 'start' || verb === 'test') return scripts[verb] ? checked : wrong(`package.json has no script ${verb}`);
  if (verb === 'run') {
    if (!first || !scripts[first]) return wrong(`package.json has no script ${first}`);
    const end = args.indexOf('--');
    // The script itself tells which flags there are.
    return end < 0 ? checked : script(root, [...scripts[first].split(' ').slice(1), ...args.slice(end + 1)]);
  }
  if (verb === 'install' || verb === 'i') {
    const packages = args.slice(1).filter((word) => !word.startsWith('-'));
    const known = [name, ...Object.keys(peerDependencies)];
    const other = packages.find((word) => !known.includes(word.replace(/(.)@.*$/, '$1')) && !word.endsWith('.tgz'));
    return other ? wrong(`${other} is neither this package nor a peer of it`) : checked;
  }
  if (verb === 'audit' && (first === undefined || first === 'signatures')) return checked;
  return wrong(`nothing is known about npm ${verb}`);
}

/** `node FILE ARGS`: the file is there, and speaks of every flag. */
function script(root: string, args: readonly string[]): Outcome {
  const at = args.findIndex((word) => /\.(mjs|js|ts|py)$/.test(word));
  if (at < 0) return wrong('it names no script');
  const path = [join(root, args[at]), join(root, 'models/train', args[at])].find((one) => existsSync(one));
  if (!path) return wrong(`${args[at]} is missing`);
  const text = readFileSync(path, 'utf8');
  for (const word of args.slice(at + 1)) {
    const flag = /^--([a-z][a-z-]*)/.exec(word)?.[1];
    // As parseArgs, argparse or a comparison has it.
    if (flag !== undefined && !new RegExp(`--${flag}\\b|['"]${flag}['"]|\\b${flag}:`).test(text))
      return wrong(`${args[at]} has no flag --${flag}`);
  }
  return checked;
}

function npx(root: string, folder: string, args: readonly string[]): Outcome {
  const [program, ...rest] = args;
  if (program === 'tsx') return script(root, rest);
  if (program !== 'dpm-solver') {
    return existsSync(join(root, 'node_modules/.bin', program)) ? checked : wrong(`there is no program ${program}`);
  }
  const [command] = rest;
  const main = join(folder, 'node_modules/dpm-solver/dist/cli/main.js');
  const run = (words: readonly string[]) =>
    spawnSync(process.execPath, [main, ...words], { cwd: folder, encoding: 'utf8', timeout: 120_000 });
  const usage = run([command, '--help']);
  if (usage.status !== 0) return wrong(usage.stderr);
  // Servers and workers do not end, a hub is elsewhere, and a model or a picture of the reader's is not here.
  const serves = ['serve', 'worker', 'pull'].includes(command);
  const files = rest.filter((_, i) => ['--model', '-m', '--image', '--mask'].includes(rest[i - 1]));
  if (serves || files.some((file) => !existsSync(join(folder, file)))) {
    const known = new Set(usage.stdout.match(/(?<![\w-])--?[a-z][a-z-]*/g));
    const unknown = rest.find((word) => /^--?[a-z]/.test(word) && !known.has(word.split('=', 1)[0]));
    return unknown ? wrong(`dpm-solver ${command} has no flag ${unknown}`) : checked;
  }
  const { status, stderr } = run(rest);
  return status === 0 ? { ok: true, ran: true } : wrong(stderr);
}

/** Does the project read an environment variable? */
function isRead(root: string, name: string): boolean {
  if (['CI', 'PATH', 'CXX', 'CC', 'CXXFLAGS'].includes(name)) return true;
  // onnxruntime-node's installer reads it.
  if (name === 'ONNXRUNTIME_NODE_INSTALL') return true;
  return ['lib', 'native', 'scripts', 'test', 'CMakeLists.txt'].some((place) =>
    sources(join(root, place)).some((file) => readFileSync(file, 'utf8').includes(name)),
  );
}

function sources(path: string): string[] {
  if (!existsSync(path)) return [];
  if (!/\.[a-z]+$/.test(path)) {
    return readdirSync(path, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(ts|mjs|cpp|h|sh)$/.test(file) && !file.startsWith('docs'))
      .map((file) => join(path, file));
  }
  return [path];
}
