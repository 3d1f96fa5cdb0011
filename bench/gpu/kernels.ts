// Every other kernel, type and kind of step, over shapes of three sizes.
import type { AnyRow } from './rows.js';
import { type Asked, GUIDED, type Kind, measure, PREDICTION, SECOND_ORDER, shapesOf } from './steps.js';
import type { Clock, Tensor } from './timing.js';
import { DeviceTensor, deviceErrorNorm, deviceNoise, errorNormSpace } from '../../lib/cuda/index.js';
import { guideSpace, queueGuide } from '../../lib/cuda/step.js';

const SHAPES = [
  [1, 4, 64, 64],
  [16, 3, 256, 256],
  [64, 3, 256, 256],
];

const FIRST = { 8: 1, 12: 0.84, 13: 0.384 };
const second = { ...PREDICTION, ...SECOND_ORDER };
const KINDS: Kind[] = [
  ...(['float16', 'bfloat16'] as const).flatMap((network): Kind[] => [
    { variant: `${network}`, row: second, network, also: ['d1'] },
    {
      variant: `${network} guided`,
      row: { ...GUIDED, ...SECOND_ORDER },
      guidance: true,
      network,
      also: ['d1'],
      next: network === 'float16' ? network : undefined,
    },
    { variant: `${network}+threshold`, row: second, threshold: true, network, also: ['d1'] },
  ]),
  { variant: 'first order', row: { ...PREDICTION, ...FIRST } },
  { variant: 'third order', row: { ...second, 16: 0.03 }, also: ['d1', 'd2'] },
  { variant: 'stochastic, z given', row: { ...second, 18: 0.4 }, also: ['d1', 'z'] },
  { variant: 'stochastic, Philox', row: { ...second, 18: 0.4 }, also: ['d1', 'philox'] },
  { variant: 'second sum', row: { ...second, 19: 0.8, 20: 0.3, 22: -0.1 }, also: ['d1', 'out2'] },
  { variant: 'unaligned', row: second, also: ['d1'], unaligned: true },
  { variant: 'unaligned+threshold', row: second, also: ['d1'], unaligned: true, threshold: true },
  { variant: 'float64', row: second, also: ['d1'], network: 'float64' },
  { variant: 'float64+threshold', row: second, also: ['d1'], network: 'float64', threshold: true },
];

/** What weighs the answers before a step (native/step/guidance.h), and how many tensors it reads: x and both of them, or those. */
const GUIDES = [
  { variant: 'CFG-Zero*', kind: 1, rescale: 0, reads: 3 },
  { variant: 'APG', kind: 2, rescale: 0, reads: 3 },
  { variant: 'rescaled', kind: 0, rescale: 0.7, reads: 2 },
  { variant: 'CFG-Zero*, rescaled', kind: 1, rescale: 0.7, reads: 6 },
];

export async function kernels(clock: Clock, keep: (row: AnyRow) => void, asked: Asked): Promise<void> {
  const { stream, tiny } = clock;
  keep({
    part: 'kernels',
    shape: '1',
    variant: 'nothing',
    kernel: 'idle',
    microseconds: clock.device(() => clock.nothing(), tiny ? 2 : 1000),
    graph: clock.graph(() => clock.nothing(), tiny ? 4 : 200),
    call: clock.call(() => clock.nothing()),
    queued: clock.queued(() => clock.nothing()),
    ...share(0, 1, clock),
  });
  // An emulated card takes seconds for what a card does in no time.
  for (const shape of shapesOf(clock, SHAPES, asked).slice(0, tiny ? 1 : undefined)) {
    for (const kind of KINDS) await measure(clock, shape, kind, keep, 'kernels');
    const total = shape.reduce((a, b) => a * b, 1);
    const batch = shape[0]!;
    const count = tiny ? 2 : 50;
    for (const type of ['float32', 'float64'] as const) {
      const made: Tensor[] = [];
      const own = (tensor: Tensor): Tensor => {
        made.push(tensor);
        return tensor;
      };
      const [low, high, previous] = [0, 0, 0].map(() => own(clock.random(total, type))) as [Tensor, Tensor, Tensor];
      const noise = () => deviceNoise(low, [{ seedLow: 1, seedHigh: 2, stream: 3 }], 0, stream);
      const time = clock.device(noise, count);
      keep({
        ...named(shape, `noise ${type}`, 'noise'),
        microseconds: time,
        graph: clock.graph(noise, count),
        ...share(low.bytes, time, clock),
      });
      const out = own(DeviceTensor.alloc([batch], 'float64'));
      const partial = own(DeviceTensor.alloc([errorNormSpace(batch, total / batch)], 'float64'));
      const error = () => deviceErrorNorm({ low, high, previous, out, partial }, { stream, atol: 0.0078, rtol: 0.05 });
      const taken = clock.device(error, count);
      keep({
        ...named(shape, `error ${type}`, 'error'),
        microseconds: taken,
        graph: clock.graph(error, count),
        ...share(3 * low.bytes, taken, clock),
      });
      for (const tensor of made) tensor.dispose();
    }
    const rows = await clock.rows(batch, { ...GUIDED, ...SECOND_ORDER });
    const [x, u, m] = [0, 0, 0].map(() => clock.random(total)) as [Tensor, Tensor, Tensor];
    const work = DeviceTensor.alloc([guideSpace(batch, total / batch)], 'float64');
    for (const { variant, kind, rescale, reads } of GUIDES) {
      // Kind, scale, eta, norm, rescaling, added to the unconditional answer, then the row's prediction and what is looked at.
      const parameters = Float64Array.of(
        kind,
        3,
        0.5,
        10,
        rescale,
        0,
        PREDICTION[0],
        PREDICTION[1],
        PREDICTION[0],
        PREDICTION[1],
      );
      const told = await DeviceTensor.from(parameters, stream);
      const guide = () =>
        queueGuide(stream, {
          ...{
            rows: rows.pointer,
            guide: told.pointer,
            parameters,
            x: x.pointer,
            u: u.pointer,
            m: m.pointer,
            kept: null,
          },
          ...{ work: work.pointer, batch, n: total / batch, type: 'float32' },
        });
      const time = clock.device(guide, count);
      keep({
        ...named(shape, `guide: ${variant}`, 'guide'),
        microseconds: time,
        graph: clock.graph(guide, count),
        ...share(reads * x.bytes, time, clock),
      });
      told.dispose();
    }
    for (const tensor of [rows, x, u, m, work]) tensor.dispose();
  }
}

const named = (shape: readonly number[], variant: string, kernel: string) => ({
  part: 'kernels' as const,
  shape: shape.join('x'),
  variant,
  kernel,
});

function share(bytes: number, microseconds: number, { bandwidth }: Clock) {
  const terabytesPerSecond = bytes / microseconds / 1e6;
  return { bytes, terabytesPerSecond, copy: bandwidth, share: terabytesPerSecond / bandwidth };
}
