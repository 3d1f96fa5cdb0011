// The model that comes with the package, by its name.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../addon/loader.js';

/**
 * The folder that a model's name or path means: that of the model which comes along for `'shapes'`, unless there is a
 * folder `shapes` here; what was given otherwise.
 *
 * @throws Error for `'shapes'` in a bundle, which has no folder of the package
 */
export function modelFolder(model: string): string {
  if (model !== 'shapes' || existsSync(model)) return model;
  const root = packageRoot();
  if (root) return join(root, 'models', 'shapes');
  throw new Error(
    "Expected a folder for the model 'shapes', which the package has in models/shapes, but this is a bundle without it: " +
      'copy that folder and name the copy, or leave dpm-solver out of the bundle, as an external package',
  );
}
