// `dpm-solver/web` in a bundle: its page runs a network in Chromium, on WebGPU in software and by WebAssembly.
import { cpSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from '../../lib/index.js';
import { CHROMIUM, startChromium } from '../web/chromium.js';
import { productGraph } from '../web/product.js';
import { type Looked, Missing, type Project } from './project.js';

const seed = 5;
const options = { algorithmType: 'sde-dpmsolver++', thresholding: true } as const;
const steps = { steps: 4, seed: 3, noise: 'philox' } as const;

/** What the page imports beside the package: onnxruntime-web from this checkout, as far as it is used, and its run. */
export function webPage(project: Project): void {
  const used =
    /^[/\\]?(?:package\.json|types\.d\.ts|dist(?:[/\\](?:ort\.jspi|ort-wasm-simd-threaded\.jspi)[^/\\]*)?)?$/;
  const [from, to] = [project.checkout, project.folder].map((folder) => join(folder, 'node_modules/onnxruntime-web'));
  cpSync(from!, to!, { recursive: true, filter: (path) => used.test(path.slice(from!.length)) });
  const values = { graph: [...productGraph('float32')], options, seed, steps };
  const lines = Object.entries(values).map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};\n`);
  writeFileSync(join(project.folder, 'web-run.mjs'), lines.join(''));
}

/** Opens the page, which a bundler has made or serves, and holds what it computes to the host's. */
async function open(address: string): Promise<void> {
  if (!existsSync(CHROMIUM)) throw new Missing(`there is no ${CHROMIUM}`);
  const dims = [2, 3, 8, 8];
  const gain = randn(dims, { seed: seed + 1 }).data;
  const product = (x: Tensor) =>
    ({ ...x, data: (x.data as Float32Array).map((value, i) => Math.fround(value * gain[i]!)) }) as Tensor;
  const solver = new DPMSolver(product, NoiseSchedule.discrete({ betas: betas('linear', 1000) }), options);
  const { sample } = await solver.sample(randn(dims, { seed }) as Tensor, steps);
  const expected = [...(sample.data as Float32Array)];
  const { context, close } = await startChromium();
  try {
    const page = await context.newPage();
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(error.message));
    await page.goto(address);
    await page.waitForFunction('globalThis.result').catch((error) => {
      throw new Error([error.message, ...problems].join('\n'));
    });
    const made = (await page.evaluate('globalThis.result')) as Record<string, { device: string; sample: number[] }>;
    assert.equal(problems, []);
    assert.equal(made, { webgpu: { device: 'webgpu', sample: expected }, cpu: { device: 'cpu', sample: expected } });
  } finally {
    await close();
  }
}

/** How the page is looked at. */
export const network: Looked = { what: 'WebGPU and WebAssembly, in Chromium', open };
