// How few evaluations are enough: `npm run bench:few -- mixtures|random`; results in bench/results/few-*.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { machine } from '../machine.js';
import { measureMixtures } from './mixtures.js';
import { measureRandom, summaryOf } from './random.js';

const PARTS = ['mixtures', 'random'] as const;

const [part, count = '100'] = process.argv.slice(2);
const folder = new URL('../results/', import.meta.url);

function write(name: string, result: unknown): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    new URL(`few-${name}.json`, folder),
    `${JSON.stringify({ machine: machine(), ...(result as object) }, null, 1)}\n`,
  );
}

const tell = (line: string) => console.log(line);
if (part === 'mixtures') {
  write(part, { cells: await measureMixtures(tell) });
} else if (part === 'random') {
  const draws = await measureRandom(Number(count), tell);
  const summary = summaryOf(draws);
  console.log(JSON.stringify(summary));
  write(part, { summary, draws });
} else {
  console.error(`Expected ${PARTS.join(' or ')} but received ${part}`);
  process.exitCode = 2;
}
