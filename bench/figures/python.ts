// One loop in two languages: bench/results/python.json.
import type { PythonResults } from '../python/compare.js';
import { type Rendered, results, table } from './data.js';

export function render(): Rendered {
  const { rows, threads, compiled, rounds } = results<PythonResults>('python');
  const times = (value: number) =>
    value.toPrecision(2).replace(/^(\d+(?:\.\d+)?)e\+(\d+)$/, (text) => `${Number(text)}`);
  const told = ([median, least, most]: readonly number[]) => `${times(median)} (${times(least)} to ${times(most)})`;
  const percent = (value: number) => `${(100 * value).toFixed(value < 0.095 ? 1 : 0)}%`;
  const sizes = rows.map(({ sizes: [a, b] }) => Math.abs(a / b - 1));
  return {
    svgs: {},
    tables: {
      python: table(
        [
          'threads of onnxruntime',
          'of torch',
          'pictures',
          'outside, Python to Node',
          'inside',
          'outside of the loop, Node',
          'Python',
        ],
        rows.map(
          ({ threads, spinning, torch, compiled, batch, outside, outsideRounds, inside, shareNode, sharePython }) => [
            `${threads}${threads > 1 ? (spinning ? ', spin between runs' : ', sleep') : ''}`,
            compiled ? `${torch}, compiled` : torch,
            batch,
            told([outside, ...outsideRounds]),
            inside.toFixed(2),
            percent(shareNode),
            percent(sharePython),
          ],
        ),
      ),
      'python-threads': table(
        [
          'threads of onnxruntime',
          'pictures',
          'numbers in a tensor',
          'two threads to one',
          'share of the loop, one thread',
          'two threads',
        ],
        threads.map(({ spinning, batch, elements, ratio, shares }) => [
          spinning ? 'spin between runs' : 'sleep',
          batch,
          elements,
          told(ratio),
          ...shares.map(percent),
        ]),
      ),
      'python-compiled': compiled
        .map(
          ({ batch, ratio }) =>
            `- ${batch === 1 ? 'One picture' : `${batch} pictures`}: ${told(ratio)} times as long without as with it.`,
        )
        .join('\n'),
      'python-rounds': `Fastest turns of ${rounds}, in brackets the rounds; the results of the two loops differ in size by ${percent(Math.min(...sizes))} to ${percent(Math.max(...sizes))}.`,
    },
  };
}
