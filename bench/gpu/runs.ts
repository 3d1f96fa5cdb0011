// Whole runs of DPMSolver with a network that costs next to nothing: what is left is ours.
import type { AnyRow } from './rows.js';
import { type Asked, shapesOf } from './steps.js';
import { type Clock, median } from './timing.js';
import { DeviceTensor, prepareStep } from '../../lib/cuda/index.js';
import { DPMSolver, NoiseSchedule } from '../../lib/index.js';

const SHAPES = [
  [1, 4, 64, 64],
  [16, 4, 128, 128],
  [1, 3, 1024, 1024],
];

export async function runs(clock: Clock, keep: (row: AnyRow) => void, asked: Asked): Promise<void> {
  const { stream, tiny } = clock;
  for (const shape of shapesOf(clock, SHAPES, asked)) {
    const total = shape.reduce((a, b) => a * b, 1);
    const batch = shape[0]!;
    const rows = await clock.rows(batch, { 0: 0.1, 8: 1, 13: 1 });
    const outs = [DeviceTensor.alloc(shape), DeviceTensor.alloc(shape)];
    // A step a network's turn, prepared once for each input and output that it gets.
    const prepared = [new WeakMap<DeviceTensor, () => unknown>(), new WeakMap<DeviceTensor, () => unknown>()];
    let call = 0;
    const solver = new DPMSolver(
      (x, _t, context) => {
        const which = call++ % 2;
        let queue = prepared[which]!.get(x);
        if (!queue) {
          queue = prepareStep(rows, { x, out: outs[which]! }, { stream: context.stream, batch });
          prepared[which]!.set(x, queue);
        }
        queue();
        return outs[which]!;
      },
      NoiseSchedule.linear(),
      { modelDevice: 'cuda', stream },
    );
    const onHost = new DPMSolver((x) => x, NoiseSchedule.linear(), { device: 'cuda', stream });
    const xT = DeviceTensor.alloc(shape);
    const start = clock.random(total);
    xT.copy(start, stream);
    const timed = async (f: () => Promise<unknown>): Promise<number> => {
      for (let k = 0; k < (tiny ? 1 : 3); k++) await f();
      const times: number[] = [];
      for (let k = 0; k < (tiny ? 1 : 15); k++) {
        const begin = performance.now();
        await f();
        times.push(performance.now() - begin);
      }
      return median(times);
    };
    const settings = { steps: tiny ? 3 : 20 };
    const host = { data: new Float32Array(total).fill(0.5), dims: shape };
    let hostCopies = 0;
    const eager = await timed(async () => (await solver.sample(xT, settings)).sample.dispose());
    keep({
      part: 'runs',
      shape: shape.join('x'),
      steps: settings.steps,
      eager,
      graph: await timed(async () => (await solver.sample(xT, { ...settings, graph: true })).sample.dispose()),
      step: (1000 * eager) / settings.steps,
      host: await timed(async () => {
        hostCopies = (await onHost.sample(host, settings)).transfers!.milliseconds;
      }),
      hostCopies,
    });
    solver.dispose();
    for (const tensor of [rows, xT, start, ...outs]) tensor.dispose();
  }
}
