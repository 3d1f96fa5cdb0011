// From how many bytes on it is worth writing around the caches: bench/results/stores.json.
import type { StoresResults, StoresRow } from '../step/stores.js';
import { type Rendered, results, table } from './data.js';

export function render(): Rendered {
  const { rows, processes } = results<StoresResults>('stores');
  const told = ([median, least, most]: readonly number[]) =>
    `${median.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
  const size = (bytes: number) => (bytes < 2 ** 20 ? `${bytes / 2 ** 10} KB` : `${bytes / 2 ** 20} MB`);
  const sizes = [...new Set(rows.map(({ elements }) => elements))];
  const of = (elements: number, cold: boolean) =>
    rows.find((row: StoresRow) => row.elements === elements && row.cold === cold)!.ratios;
  return {
    svgs: {},
    tables: {
      stores: table(
        ['an operand', 'the write alone', 'and one read of it', 'the same, caches cold', 'after a pass that reads'],
        sizes.map((elements) => [
          size(4 * elements),
          told(of(elements, false).write),
          told(of(elements, false).read),
          told(of(elements, true).read),
          told(of(elements, false).looked),
        ]),
      ),
      'stores-processes': `Medians of ${processes} processes, with the least and the most of them.`,
    },
  };
}
