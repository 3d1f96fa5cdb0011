// A headless Chromium with WebGPU on the graphics processor in software that it brings (SwiftShader), and the files of a page.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { wasmFile } from '../addon/wasm/support.js';

export const CHROMIUM = process.env.DPM_SOLVER_CHROMIUM || '/usr/bin/chromium';
export const root = fileURLToPath(new URL('../..', import.meta.url));
const bundle = join(root, 'dist/web.js');

/** Why nothing can be tried here; empty where it can. */
export const missing = !wasmFile
  ? 'prebuilds/wasm/dpm-solver.wasm is not built (npm run build:wasm, which needs clang)'
  : !existsSync(bundle) || !readFileSync(bundle, 'utf8').includes('AGFzbQ')
    ? 'dist/web.js is without it (npm run build:ts)'
    : existsSync(CHROMIUM)
      ? ''
      : `there is no ${CHROMIUM}`;

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.css': 'text/css',
};

/** Where addresses lead. */
const FOLDERS: readonly (readonly [prefix: string, folder: string])[] = [
  ['/dpm-solver/', 'dist/'],
  ['/onnxruntime-web/', 'node_modules/onnxruntime-web/dist/'],
  ['/models/', 'models/'],
  ['/examples/', 'examples/'],
];

/** Serves the files that a page is made of, as a web server would: compressed. Counts what it has sent. */
export class Site {
  /** Of each address: bytes of the answer's body, as they were sent. */
  readonly sent = new Map<string, number>();
  /** Files that are not in the package. */
  readonly own = new Map<string, string | Uint8Array>();
  readonly #server: Server;
  readonly #compressed = new Map<string, Buffer>();

  private constructor() {
    this.#server = createServer(({ url = '/' }, response) => {
      const { pathname } = new URL(url, 'http://page');
      const body = this.#body(pathname);
      if (!body) {
        response.statusCode = 404;
        response.end();
        return;
      }
      response.setHeader(
        'content-type',
        TYPES[extname(pathname)] ?? (pathname === '/' ? TYPES['.html'] : 'application/octet-stream'),
      );
      response.setHeader('content-encoding', 'gzip');
      this.sent.set(pathname, (this.sent.get(pathname) ?? 0) + body.length);
      response.end(body);
    });
  }

  static async start(): Promise<Site> {
    const site = new Site();
    site.own.set('/', '<!doctype html><link rel="icon" href="data:,"><title>dpm-solver</title>');
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL('./page.ts', import.meta.url))],
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      logLevel: 'error',
    });
    site.own.set('/page.js', outputFiles[0]!.text);
    await new Promise<void>((resolve) => site.#server.listen(0, '127.0.0.1', resolve));
    return site;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #body(pathname: string): Buffer | undefined {
    const known = this.#compressed.get(pathname);
    if (known) return known;
    const [prefix, folder] = FOLDERS.find(([one]) => pathname.startsWith(one)) ?? ['', ''];
    const file = prefix ? join(root, folder, pathname.slice(prefix.length)) : '';
    const data = this.own.get(pathname) ?? (file && existsSync(file) ? readFileSync(file) : undefined);
    if (data === undefined) return undefined;
    const body = gzipSync(data, { level: 6 });
    this.#compressed.set(pathname, body);
    return body;
  }
}

/** A browser whose WebGPU is SwiftShader's. */
export async function startChromium(): Promise<{ context: BrowserContext; close(): Promise<void> }> {
  const profile = mkdtempSync(join(tmpdir(), 'dpm-solver-chromium-'));
  const flags = ['--headless', '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking'];
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: [
      ...flags,
      ...['--disable-component-update', '--disable-sync'],
      ...['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'],
    ],
  });
  context.setDefaultTimeout(300_000);
  return {
    context,
    close: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** A page that has the package, onnxruntime-web and test/web/page.ts. */
export async function openPage(context: BrowserContext, site: Site, errors: string[]): Promise<Page> {
  const page = await context.newPage();
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(site.address);
  await page.evaluate(async () => {
    const [dpm, ort, own] = ['/dpm-solver/web.js', '/onnxruntime-web/ort.jspi.bundle.min.mjs', '/page.js'];
    const [solver, runtime, tests] = await Promise.all([import(dpm), import(ort), import(own)]);
    runtime.env.wasm.wasmPaths = '/onnxruntime-web/';
    solver.setOnnxRuntime(runtime);
    Object.assign(globalThis, { dpm: solver, ort: runtime, tests });
  });
  return page;
}

type InPage = typeof import('./page.js');
/** Calls a function of test/web/page.ts in a page. */
export type Caller = <K extends keyof InPage>(name: K, ...args: unknown[]) => Promise<Awaited<ReturnType<InPage[K]>>>;

export function callerIn(page: Page): Caller {
  return (name, ...args) =>
    page.evaluate(
      ([which, rest]) => {
        const { tests, dpm } = globalThis as unknown as {
          tests: Record<string, (...all: unknown[]) => never>;
          dpm: object;
        };
        return tests[which as string]!(dpm, ...(rest as unknown[]));
      },
      [name, args] as const,
    ) as never;
}
