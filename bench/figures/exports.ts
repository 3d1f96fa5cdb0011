// Pipelines on the folders that other tools wrote, against diffusers.
import type { ExportResults } from '../exports/exports.js';
import { optional, type Rendered, table } from './data.js';

/** What each folder is, and what wrote it; test/fixtures/exports.py makes them. */
const FOLDERS: Record<string, [kind: string, exporter: string]> = {
  sd1: ['Stable Diffusion 1', 'Optimum'],
  'sd1-converter': ['Stable Diffusion 1', "diffusers' converter"],
  'sd1-torch': ['Stable Diffusion 1', "torch's exporter"],
  'sd1-float16': ['Stable Diffusion 1, float16', "Optimum, onnxruntime's float16 converter"],
  'sd1-dpm-karras': ["Stable Diffusion 1, saved with DPM-Solver and Karras' sigmas", 'Optimum'],
  'sd1-lcm': ['Stable Diffusion 1 with the LCM scheduler', 'Optimum'],
  inpaint: ['Stable Diffusion 1 inpainting, 9 channels', 'Optimum'],
  lcm: ['LCM with `timestep_cond`', 'Optimum'],
  sdxl: ['Stable Diffusion XL', 'Optimum'],
  'sdxl-refiner': ['Stable Diffusion XL refiner', 'Optimum'],
  'sdxl-turbo': ['Stable Diffusion XL Turbo', 'Optimum'],
  playground: ['Playground v2.5 (EDM)', 'Optimum'],
  sd3: ['Stable Diffusion 3', 'Optimum'],
  'flux-dev': ['Flux dev', 'Optimum'],
  'flux-schnell': ['Flux schnell', 'Optimum'],
};

export function render(): Rendered {
  const found = optional<ExportResults>('exports');
  if (!found) return { svgs: {}, tables: {} };
  const order = Object.keys(FOLDERS);
  const rows = [...found.rows].sort((a, b) => order.indexOf(a.folder) - order.indexOf(b.folder));
  return {
    svgs: {},
    tables: {
      exports: table(
        ['folder', 'written by', 'call', 'calls', 'latents, in their deviations', 'pixels, in levels'],
        rows.map(({ folder, kind, calls, latents, worst, pixels }) => {
          const known = FOLDERS[folder];
          if (!known) throw new Error(`Expected the kind of ${folder} in bench/figures/exports.ts but it has none`);
          return [known[0], known[1], kind, calls, `${latents.toExponential(1)} (${worst})`, pixels ?? '-'];
        }),
      ),
    },
  };
}
