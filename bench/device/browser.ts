// The embedded network in headless Chromium, by onnxruntime-web: on WebGPU, and by WebAssembly with the step on the host.
import { callerIn, missing, openPage, Site, startChromium } from '../../test/web/chromium.js';
import { embedded, size } from '../../test/web/embedded.js';

/** What a page did on a device. */
export interface BrowserRow {
  readonly device: 'webgpu' | 'wasm';
  /** From Node's CPU, by its size. */
  readonly apart: number;
  readonly numbers: number;
  readonly calls: number;
  /** Absent where nothing crosses. */
  readonly transfers?: { readonly uploaded: number; readonly downloaded: number };
  readonly outsideMs: number;
  /** Of the page's timers, in milliseconds. */
  readonly late: { readonly median: number; readonly most: number };
}

/** Draws on both, or says why that cannot be. */
export async function browserRows(steps: number): Promise<BrowserRow[] | string> {
  if (missing) return missing;
  const { given, expected } = await embedded(steps);
  const [site, browser] = await Promise.all([Site.start(), startChromium()]);
  try {
    const errors: string[] = [];
    const inPage = callerIn(await openPage(browser.context, site, errors));
    const rows: BrowserRow[] = [];
    for (const device of ['webgpu', 'cpu'] as const) {
      const { sample, calls, transfers, outside, late } = await inPage('denoise', device, given, true);
      if (errors.length > 0) throw new Error(errors.join('\n'));
      const sorted = late.toSorted((a, b) => a - b);
      rows.push({
        device: device === 'cpu' ? 'wasm' : device,
        ...{ apart: size(sample.map((value, i) => value - expected[i]!)) / size(expected), numbers: sample.length },
        ...{ calls, outsideMs: outside, ...(transfers ? { transfers } : {}) },
        late: { median: sorted[sorted.length >> 1] ?? 0, most: sorted.at(-1) ?? 0 },
      });
    }
    return rows;
  } finally {
    await browser.close();
    site.stop();
  }
}
