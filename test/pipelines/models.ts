// Model directories for the tests: the committed ones, and copies with something wrong.
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Predicts a picture of one colour whatever it sees; see test/fixtures/graphs.py. */
export const constant = fileURLToPath(new URL('../fixtures/models/constant', import.meta.url));
/** Linear networks in the layouts of exports; see test/fixtures/pipelines.py. */
export const layout = (name: 'sd' | 'sdxl' | 'sd3' | 'flux'): string =>
  fileURLToPath(new URL(`../fixtures/models/${name}`, import.meta.url));
/** The pipeline that comes with the package. */
export const shapes = fileURLToPath(new URL('../../models/shapes', import.meta.url));
export const hasShapes = existsSync(shapes);

const copies: string[] = [];

/** A copy of the constant model, or another one, changed by `change`; see {@link removeCopies}. */
export function changed(change: (folder: string) => void, model = constant): string {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-model-'));
  copies.push(folder);
  cpSync(model, folder, { recursive: true });
  change(folder);
  return folder;
}

/** A copy of Stable Diffusion's layout with a network of nine channels, which takes the mask and the masked picture. */
export const inpainting = (): string =>
  changed((folder) => {
    for (const file of ['model.onnx', 'config.json']) {
      cpSync(join(folder, 'inpainting', file), join(folder, 'unet', file));
    }
    rmSync(join(folder, 'inpainting'), { recursive: true });
  }, layout('sd'));

export function removeCopies(): void {
  for (const folder of copies.splice(0)) rmSync(folder, { recursive: true });
}
