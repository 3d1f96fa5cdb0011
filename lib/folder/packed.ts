// The model that comes with the package, by its name.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The folder that a model's name or path means: that of the model which comes along for `'shapes'`, unless there is a
 * folder `shapes` here; what was given otherwise.
 */
export function modelFolder(model: string): string {
  if (model !== 'shapes' || existsSync(model)) return model;
  return fileURLToPath(new URL('../../models/shapes', import.meta.url));
}
