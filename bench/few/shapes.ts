// The network that comes with the package: its folder, its tables, and what it was trained with.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TABLES } from '../../lib/hub/needed.js';
import { type FolderScheduler, readScheduler } from '../../lib/schedulers/network.js';

export const FOLDER = fileURLToPath(new URL('../../models/shapes', import.meta.url));
export const TABLES_FILE = `${FOLDER}/${TABLES}`;

/** Its schedule and what it predicts, by the folder's own file. */
export function training(): FolderScheduler['training'] {
  const config = JSON.parse(readFileSync(`${FOLDER}/scheduler/scheduler_config.json`, 'utf8'));
  return readScheduler(config, 'scheduler_config.json').training;
}
