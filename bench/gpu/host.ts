// What a step costs the host: host.ts [FILE of rows], with the emulated card, which forgets what is queued
// (DPM_EMULATED_NULL). A prepared step by itself, and a step of runs whose network returns what it has, with 20 and with
// 1000 steps; the least of many.
import { appendFileSync, rmSync } from 'node:fs';

process.env.DPM_EMULATED_NULL = '1';
const { card } = await import('../../test/cuda/card.js');
const { folder } = await card(true);
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const { line } = await import('./rows.js');
type HostRow = import('./rows.js').HostRow;
const { DeviceTensor, prepareStep, Stream } = await import('../../lib/cuda/index.js');
const { DPMSolver, NoiseSchedule } = await import('../../lib/index.js');

const stream = new Stream();
const shape = [1, 4, 64, 64];
const least = async (count: number, f: () => unknown): Promise<number> => {
  let best = Number.POSITIVE_INFINITY;
  for (let k = 0; k < 30; k++) {
    const begin = performance.now();
    await f();
    best = Math.min(best, (1000 * (performance.now() - begin)) / count);
  }
  return best;
};
const rows = await DeviceTensor.from(new Float64Array(32), stream);
const [x, m, d0, out] = [0, 0, 0, 0].map(() => DeviceTensor.alloc(shape)) as [Tensor, Tensor, Tensor, Tensor];
type Tensor = ReturnType<typeof DeviceTensor.alloc>;
const step = prepareStep(rows, { x, m, base: x, d0, out }, { stream, batch: 1 });
const prepared = await least(1000, () => {
  for (let k = 0; k < 1000; k++) step();
});
const keep = (row: HostRow): void => {
  if (process.argv[2]) appendFileSync(process.argv[2], `${JSON.stringify(row)}\n`);
  console.log(line(row));
};
keep({ part: 'host', variant: 'a prepared step', steps: 1, start: 0, step: prepared, whole: prepared });
const solver = new DPMSolver(() => m, NoiseSchedule.linear(), { modelDevice: 'cuda', stream, checkFinite: false });
for (const steps of [20, 1000]) {
  const of = { start: Number.POSITIVE_INFINITY, advance: Number.POSITIVE_INFINITY };
  for (let k = 0; k < 30; k++) {
    const begin = performance.now();
    const run = solver.start(x, { steps });
    const started = performance.now();
    while (!run.done) run.advance(m);
    of.start = Math.min(of.start, (1000 * (started - begin)) / steps);
    of.advance = Math.min(of.advance, (1000 * (performance.now() - started)) / steps);
  }
  const whole = await least(steps, async () => (await solver.sample(x, { steps })).sample.dispose());
  keep({ part: 'host', variant: `a run of ${steps}`, steps, start: of.start, step: of.advance, whole });
}
