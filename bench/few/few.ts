/**
 * How few evaluations are enough:
 *
 *     npm run bench:few -- fresh [--guidance 3] [--pictures 64] [--steps 5,6] [--tables FILE]
 *     npm run bench:few -- foreign [--steps 6,8]
 *     npm run bench:few -- network [--steps 4,5,6,8,10] [--guidance 3] [--resume DIR] [--output FILE]
 *     npm run bench:few -- pictures [--guidance 1,3,8] [--steps 4,5,6,8,10] [--pictures 128] [--references 128] [--families DDIM,table] [--methods 'DDIM, axis;2M, karras'] [--tables FILE] [--no-frechet]
 *     npm run bench:few -- best
 *     npm run bench:few -- mixtures
 *     npm run bench:few -- guided
 *     npm run bench:few -- spread
 *     npm run bench:few -- variants
 *     npm run bench:few -- budgets
 *     npm run bench:few -- transfer
 *     npm run bench:few -- random [--calibrations 100]
 *
 * Results are in bench/results/few-*.json; `best` writes the tables of models/shapes that follow from bench/results/quality.json.
 * `mixtures`, `guided` and `random` take hours, `foreign` minutes: each finished part is written at once, and a
 * rerun goes on with what is missing.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.js';
import { writeBestTables } from './best.js';
import { measureBudgets } from './budgets.js';
import { type ForeignResult, measureForeign } from './foreign.js';
import { measureFresh } from './fresh.js';
import { type Cell, measureMixtures } from './mixtures.js';
import { calibrateShapes } from './network.js';
import { measurePictures, type PicturesCell } from './pictures.js';
import { type Draw, measureRandom, summaryOf } from './random.js';
import { measureSpread, type SpreadCell } from './spread.js';
import { measureSamples, measureTransfer } from './transfer.js';
import { measureVariants } from './variants.js';

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ steps: text, guidance: text, pictures: text },
    ...{
      calibrations: { ...text, default: '100' },
      resume: text,
      output: text,
      tables: text,
      families: text,
      methods: text,
      references: text,
      'no-frechet': { type: 'boolean', default: false },
    },
  },
});
const guidance = Number(values.guidance ?? 3);
const steps = values.steps?.split(',').map(Number);
const tell = (line: string) => console.log(line);

const fileOf = (name: string) => fileURLToPath(new URL(`../results/few-${name}.json`, import.meta.url));

/** Whole or not at all. */
function write(name: string, result: object): void {
  const file = fileOf(name);
  mkdirSync(fileURLToPath(new URL('../results/', import.meta.url)), { recursive: true });
  const command = `npm run bench:few -- ${process.argv.slice(2).join(' ')}`;
  // Figures with their intervals take a line.
  const json = JSON.stringify({ command, machine: machine(), ...result }, null, 1).replace(
    /\[[-\d.e+,\s]+\]/g,
    (list) => list.replace(/\s+/g, ''),
  );
  writeFileSync(`${file}.${process.pid}`, `${json}\n`);
  renameSync(`${file}.${process.pid}`, file);
}

/** What has been written before. */
function before<T>(name: string, key: string): T[] {
  const file = fileOf(name);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8'))[key] as T[]) : [];
}

const parts: Record<string, () => Promise<void>> = {
  async fresh() {
    const { tables } = values;
    const measured = await measureFresh({ guidance, pictures: Number(values.pictures ?? 64), steps, tables }, tell);
    write(`fresh-${guidance}`, measured);
  },
  async foreign() {
    const known = before<ForeignResult>('foreign', 'networks');
    await measureForeign(known, { steps }, (networks) => write('foreign', { networks }), tell);
  },
  async network() {
    const { resume, output } = values;
    write(`network-${guidance}`, await calibrateShapes(steps ?? [4, 5, 6, 8, 10], { guidance, resume, output }, tell));
  },
  async pictures() {
    const { guidance = '1,3,8', pictures = 128, references = 128, families, methods, tables } = values;
    const wanted = {
      ...{
        guidance: guidance.split(',').map(Number),
        steps: steps ?? [4, 5, 6, 8, 10],
        pictures: Number(pictures),
        references: Number(references),
      },
      ...{ families: families?.split(','), methods: methods?.split(';'), tables, frechet: !values['no-frechet'] },
    };
    const keep = (cells: readonly PicturesCell[]) => write('pictures', { cells });
    await measurePictures(wanted, keep, before<PicturesCell>('pictures', 'cells'), tell);
  },
  async best() {
    writeBestTables(tell);
  },
  async mixtures() {
    await measureMixtures(false, before<Cell>('mixtures', 'cells'), (cells) => write('mixtures', { cells }), tell);
  },
  async guided() {
    await measureMixtures(true, before<Cell>('guided', 'cells'), (cells) => write('guided', { cells }), tell);
  },
  async spread() {
    await measureSpread(before<SpreadCell>('spread', 'cells'), (cells) => write('spread', { cells }), tell);
  },
  async variants() {
    write('variants', { rows: await measureVariants(tell) });
  },
  async budgets() {
    write('budgets', await measureBudgets(tell));
  },
  async transfer() {
    const transfers = await measureTransfer(tell);
    write('transfer', { transfers, samples: [] });
    write('transfer', { transfers, samples: await measureSamples(tell) });
  },
  async random() {
    const count = Number(values.calibrations);
    await measureRandom(
      count,
      before<Draw>('random', 'draws'),
      (draws) => write('random', { summary: summaryOf(draws), draws }),
      tell,
    );
  },
};

const [part] = positionals;
if (positionals.length === 1 && Object.hasOwn(parts, part)) await parts[part]();
else {
  console.error(`Expected ${Object.keys(parts).join(', ')} but received ${positionals.join(' ') || 'nothing'}`);
  process.exitCode = 2;
}
