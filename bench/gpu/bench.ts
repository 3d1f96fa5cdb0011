// How fast are the kernels on this card? npm run bench:gpu -- [--part steps] [--shape 1x4x64x64] [--quick] [--tiny] [--rows FILE]
//
// By the card's own events, against the bandwidth of a copy in the same process: the step with and without guidance and
// thresholding over many shapes (steps); every other kernel, type and kind of step over a few (kernels); whole runs of
// DPMSolver with a network that costs next to nothing (runs). What eager PyTorch takes for the same step is measured by
// eager.py. Each row is a line of JSON in FILE as soon as it is there; report.ts makes the results and the targets of it.
// Inputs rotate among as many sets as exceed the second-level cache several times, and are random. --tiny is a rehearsal:
// shapes and counts of no meaning, and on an emulated card where there is none.
import { appendFileSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    part: { type: 'string', multiple: true },
    shape: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    tiny: { type: 'boolean', default: false },
    rows: { type: 'string' },
  },
});
const { tiny, quick } = options;
const rehearsal = tiny ? await (await import('../../test/cuda/card.js')).card() : null;
process.on('exit', () => rehearsal && rmSync(rehearsal.folder, { recursive: true, force: true }));
const { cudaInfo } = await import('../../lib/cuda/index.js');
const info = cudaInfo();
if (!info.available) {
  console.error(`bench:gpu needs a CUDA card, but ${info.reason}`);
  process.exit(1);
}
const { Clock } = await import('./timing.js');
const { line } = await import('./rows.js');
type AnyRow = import('./rows.js').AnyRow;

const clock = new Clock(tiny);
console.log(`${info.devices[0]!.name}, driver for CUDA ${info.driver}: copies at ${clock.bandwidth.toFixed(2)} TB/s`);
const keep = (row: AnyRow): void => {
  if (options.rows) appendFileSync(options.rows, `${JSON.stringify(row)}\n`);
  console.log(line(row));
};
const PARTS = {
  steps: async () => (await import('./steps.js')).steps,
  kernels: async () => (await import('./kernels.js')).kernels,
  runs: async () => (await import('./runs.js')).runs,
};
for (const [name, load] of Object.entries(PARTS)) {
  if (options.part && !options.part.includes(name)) continue;
  await (await load())(clock, keep, { quick, shapes: options.shape });
}
clock.stream.dispose();
