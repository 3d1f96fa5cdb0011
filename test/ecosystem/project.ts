// A small project as its owner has it: a folder of its own with the packed package in node_modules. What it prints is held
// to what this checkout computes.
import { type SpawnSyncReturns, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { assertSameElsewhere } from '../addon/wasm/support.js';
import type { Results } from '../addon/wasm/scenario.js';
import { npm, ok, root, run } from '../packed.js';

export interface Expected {
  backend: 'native' | 'wasm';
  /** How often the process says that WebAssembly is used, 0 where nothing is said. */
  warnings?: number;
  /** Of the JavaScript engine: whole runs then have the same bits, too. */
  engine?: 'this Node' | 'another';
  env?: Record<string, string>;
  /** What the warning says, where it is not that of a bundle. */
  says?: RegExp;
}

export interface Report {
  backend: string;
  runs: Results;
}

/** What a page does, in words, and what opens it. */
export interface Looked {
  readonly what: string;
  open(address: string): Promise<void>;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** What is missing on this machine, so that a check cannot be made. */
export class Missing extends Error {}

export class Project {
  readonly folder: string;
  /** Where this is run. */
  readonly checkout = root;
  readonly #apart: string;
  readonly #expected: Results;
  #count = 0;

  constructor(
    readonly name: string,
    /** Where it may write; its own folder is in it. */
    apart: string,
    readonly tarball: string,
    expected: Results,
  ) {
    this.#apart = apart;
    this.#expected = expected;
    this.folder = join(apart, 'project');
  }

  /** The project's files, without its packages. */
  copy(scenario: string): void {
    mkdirSync(this.folder, { recursive: true });
    cpSync(new URL('shared/', import.meta.url), this.folder, { recursive: true });
    writeFileSync(join(this.folder, 'scenario.mjs'), scenario);
    cpSync(new URL(`${this.name}/`, import.meta.url), this.folder, {
      recursive: true,
      filter: (path) => !path.endsWith('check.ts'),
    });
  }

  /** Its packages, and the packed one among them, by npm. */
  install(): void {
    const flags = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock', '--force'];
    ok(npm(['install', ...flags, this.tarball], this.folder));
  }

  /** Names the packed package among the project's dependencies, for a package manager that is not npm. */
  add(): void {
    const file = join(this.folder, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...manifest, dependencies: { 'dpm-solver': `file:${this.tarball}` } }));
  }

  /** A file of the package manager that the project names, which npm fetches into a folder of its own. */
  manager(name: string, file: string): string {
    const { packageManager } = JSON.parse(readFileSync(join(this.folder, 'package.json'), 'utf8'));
    const folder = join(this.#apart, 'manager');
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    const version = packageManager.split('@').at(-1);
    ok(
      npm(['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', `${name}@${version}`], folder),
    );
    return join(folder, 'node_modules', name, file);
  }

  /** onnxruntime-node from this checkout, whose 100 MB need not be fetched again: a copy, as some tools follow no links. */
  onnxruntime(): void {
    const others = /[/\\](?:win32|darwin|linux[/\\]arm64)(?:[/\\]|$)|_providers_(?:cuda|tensorrt)/;
    for (const name of ['onnxruntime-node', 'onnxruntime-common']) {
      const [from, to] = [root, this.folder].map((folder) => join(folder, 'node_modules', name));
      if (!existsSync(to))
        cpSync(from, to, { recursive: true, filter: (path) => !others.test(path.slice(from.length)) });
    }
  }

  /** Runs a command in the project and gives what it printed. */
  run(command: string, args: string[], env: Record<string, string> = {}, cwd = this.folder): SpawnSyncReturns<string> {
    const done = run(command, args, cwd, { NO_COLOR: '1', ...env });
    ok(done);
    return done;
  }

  node(args: string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
    return this.run(process.execPath, args, env);
  }

  /** A command of a package of the project. */
  bin(name: string, args: string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
    return this.run(join(this.folder, 'node_modules/.bin', name), args, env);
  }

  /** Holds what a program printed to what is computed here. */
  reports({ stdout, stderr }: { stdout: string; stderr: string }, expected: Expected): void {
    const report = JSON.parse(stdout.trim().split('\n').at(-1)!) as Report;
    assert.is(report.backend, expected.backend);
    this.same(report.runs, expected.engine);
    const said = stderr.split('\n').filter((line) => line.includes('DPM_SOLVER_WASM'));
    assert.is(said.length, expected.warnings ?? 0, stderr);
    const advice = /import 'dpm-solver\/[\w-]+' in the program, or leave dpm-solver out of the bundle/;
    for (const line of said) assert.match(line, expected.says ?? advice);
    // There is no folder where anything could be built.
    if (!expected.says) assert.not.match(stderr, /\bcd |cmake/);
  }

  same(runs: Results, engine: Expected['engine'] = 'this Node'): void {
    if (engine === 'this Node') assert.equal(runs, this.#expected);
    else assertSameElsewhere(runs, this.#expected);
  }

  /** A bundle, run where nothing else is: by Node, by another command, or by itself where that is ''. */
  bundle(name: string, from: string, file: string, expected: Expected, command = process.execPath): void {
    const away = join(this.#apart, `away-${this.#count++}`);
    cpSync(join(this.folder, from), away, { recursive: true });
    // What a bundler has written of the folder where it ran leads nowhere any more: only the command stays.
    const dpm = join(this.folder, 'node_modules/dpm-solver');
    renameSync(dpm, `${dpm}.away`);
    try {
      const [program, ...args] = command ? [command, file] : [join(away, file)];
      this.reports(this.run(program, args, expected.env, away), expected);
    } finally {
      renameSync(`${dpm}.away`, dpm);
    }
    this.log(name, expected.backend, sizeOf(away));
  }

  /** A program that has the project's packages beside it. */
  program(name: string, command: string, args: string[], expected: Expected): void {
    this.reports(this.run(command, args, expected.env), expected);
    this.log(name, expected.backend);
  }

  /** A picture of the packed model: a red circle is in the middle. */
  picture(command: string, args: string[]): void {
    this.onnxruntime();
    const { stdout } = this.run(command, args);
    this.isRedCircle(JSON.parse(stdout.trim().split('\n').at(-1)!));
    this.log('a picture', 'native');
  }

  isRedCircle({ width, height, middle }: { width: number; height: number; middle: number[] }): void {
    assert.equal([width, height], [32, 32]);
    const [red, green, blue] = middle;
    assert.ok(red > 150 && green < 100 && blue < 100, String(middle));
  }

  /** What a page does, and how it is looked at. */
  readonly #run: Looked = { what: 'wasm, in Chromium', open: (address) => this.open(address) };

  /** A page in headless Chromium: a script by itself, or a whole page, from a folder. */
  async page(name: string, from: string, file: string, { what, open } = this.#run): Promise<void> {
    const folder = join(this.folder, from);
    const html = file.endsWith('.html')
      ? readFileSync(join(folder, file))
      : `<script type="module" src="/${file}"></script>`;
    const server = createServer(({ url = '/' }, response) => {
      const path = join(folder, new URL(url, 'http://localhost').pathname);
      const found = url !== '/' && existsSync(path);
      response.statusCode = url === '/' || found ? 200 : 404;
      response.setHeader(
        'content-type',
        url === '/' ? 'text/html' : (TYPES[extname(path)] ?? 'application/octet-stream'),
      );
      response.end(url === '/' ? html : found ? readFileSync(path) : '');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await open(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    } finally {
      server.close();
    }
    this.log(name, what, sizeOf(folder));
  }

  /** A page of a server that is started by Node and prints its address. */
  async served(
    name: string,
    args: string[],
    then: (address: string) => Promise<void> = async () => {},
    { what, open } = this.#run,
  ): Promise<void> {
    const child = spawn(process.execPath, args, { cwd: this.folder, env: { ...process.env, NO_COLOR: '1' } });
    let printed = '';
    try {
      const address = await new Promise<string>((resolve, reject) => {
        const hear = (chunk: Buffer) => {
          printed += chunk;
          const found = /http:\/\/(?:localhost|127\.0\.0\.1):\d+/.exec(printed);
          if (found) resolve(found[0]);
        };
        child.stdout.on('data', hear);
        child.stderr.on('data', hear);
        child.once('exit', () => reject(new Error(`the server ended: ${printed}`)));
      });
      await then(address);
      await open(address);
    } finally {
      child.kill('SIGKILL');
    }
    this.log(name, what);
  }

  /** Opens a page and holds what it leaves in `globalThis.result` to what is computed here. */
  async open(address: string): Promise<void> {
    const executablePath = process.env.DPM_SOLVER_CHROMIUM || '/usr/bin/chromium';
    if (!existsSync(executablePath)) throw new Missing(`there is no ${executablePath}`);
    const { chromium } = await import('playwright-core');
    const args = [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
    ];
    const browser = await chromium.launch({ executablePath, args });
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(120_000);
      const problems: string[] = [];
      page.on('pageerror', (error) => problems.push(error.message));
      await page.goto(address);
      await page.waitForFunction('globalThis.result').catch((error) => {
        throw new Error([error.message, ...problems].join('\n'));
      });
      const report = (await page.evaluate('globalThis.result')) as Report;
      assert.equal(problems, []);
      assert.is(report.backend, 'wasm');
      this.same(report.runs, 'another');
    } finally {
      await browser.close();
    }
  }

  log(name: string, what: string, bytes?: number): void {
    const size = bytes === undefined ? '' : `, ${(bytes / 1e6).toFixed(2)} MB`;
    console.log(`  ${this.name}, ${name}: ${what}${size}`);
  }
}

/** Bytes of all files in a folder. */
export function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => statSync(join(folder, path)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
}
