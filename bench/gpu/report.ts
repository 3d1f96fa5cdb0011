// From the rows of a benchmark to the file of results and the targets: report.ts ROWS FOLDER
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cudaInfo } from '../../lib/cuda/index.js';
import { machine } from '../machine.js';
import { type AnyRow, targets } from './rows.js';

const [from, folder] = process.argv.slice(2);
if (!from || !folder || !existsSync(from))
  throw new Error('Expected a file of rows and a folder: report.ts ROWS FOLDER');
const rows = readFileSync(from, 'utf8')
  .split('\n')
  // The last line of a process that was ended may be half a line.
  .flatMap((text): AnyRow[] => {
    try {
      return text ? [JSON.parse(text)] : [];
    } catch {
      return [];
    }
  });
const { devices, driver, runtime } = cudaInfo();
const name = devices[0]?.name ?? 'no card';
const found = targets(rows);
for (const { what, target, worst, where, met } of found) {
  const verdict = met === null ? 'not measured' : `${worst!.toFixed(2)}: ${met ? 'met' : 'MISSED'} (${where})`;
  console.log(`${what.padEnd(56)} ${String(target).padStart(5)}  ${verdict}`);
}
const report = { ...machine(), card: devices[0] ?? null, driver, runtime, targets: found, rows };
mkdirSync(folder, { recursive: true });
const file = join(folder, `gpu-${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`);
// A row a line: a megabyte of indentation is nobody's friend.
const { rows: _, ...head } = report;
const text = `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "rows": [\n${rows.map((row) => `    ${JSON.stringify(row)}`).join(',\n')}\n  ]\n}\n`;
writeFileSync(file, text);
console.log(file);
