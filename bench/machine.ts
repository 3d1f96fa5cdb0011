// What every result file says of where its figures come from.
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { info } from '../lib/native.js';

export function machine() {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return {
    date: new Date().toISOString().slice(0, 10),
    version,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    simd: info().simd,
  };
}
