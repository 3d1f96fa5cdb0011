// How few evaluations are enough: `npm run bench:few -- mixtures|random|network|foreign [steps] [guidance] [folder]`; results in bench/results/few-*.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { machine } from '../machine.js';
import { measureForeign } from './foreign.js';
import { measureMixtures } from './mixtures.js';
import { calibrateShapes } from './network.js';
import { measureRandom, summaryOf } from './random.js';

const PARTS = ['mixtures', 'random', 'network', 'foreign'] as const;

const [part, asked, guidance = '3', resume, output] = process.argv.slice(2);
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
  const draws = await measureRandom(Number(asked ?? 100), tell);
  const summary = summaryOf(draws);
  console.log(JSON.stringify(summary));
  write(part, { summary, draws });
} else if (part === 'foreign') {
  const steps = (asked ?? '6,8').split(',').map(Number);
  write(part, (await measureForeign(steps, {}, tell)) as object);
} else if (part === 'network') {
  const steps = (asked ?? '4,5,6,8,10').split(',').map(Number);
  write(
    `${part}-${guidance}`,
    (await calibrateShapes(steps, { guidance: Number(guidance), resume, output }, tell)) as object,
  );
} else {
  console.error(`Expected ${PARTS.join(' or ')} but received ${part}`);
  process.exitCode = 2;
}
