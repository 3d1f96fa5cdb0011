// Pictures decoded by tiles, against the whole: bench/results/tiles.json.
import type { TilesResults } from '../tiles/tiles.js';
import { optional, type Rendered, table } from './data.js';

export function render(): Rendered {
  const found = optional<TilesResults>('tiles');
  if (!found) return { svgs: {}, tables: {} };
  return {
    svgs: {},
    tables: {
      tiles: table(
        ['', 'tiles', 'pixels of a tile', 'mean difference', 'one in a hundred above', 'largest'],
        found.rows.map(({ name, tiles, width, mean, most, largest }) => [
          `\`${name}\``,
          tiles,
          `${width}²`,
          mean.toFixed(1),
          most,
          largest,
        ]),
      ),
    },
  };
}
