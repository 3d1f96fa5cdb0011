// The step with and without guidance and thresholding, float32, second order: what most runs are made of.
import type { AnyRow } from './rows.js';
import type { Clock, Tensor } from './timing.js';
import { DeviceTensor, prepareStep } from '../../lib/cuda/index.js';

export interface Asked {
  quick: boolean;
  shapes: readonly string[] | undefined;
}

const ALL = [
  ...[1, 4, 16, 64].map((batch) => [batch, 4, 64, 64]),
  ...[1, 4, 16, 64].map((batch) => [batch, 4, 128, 128]),
  [1, 3, 256, 256],
  [16, 3, 256, 256],
  [64, 3, 256, 256],
  [1, 3, 512, 512],
  [16, 3, 512, 512],
  [1, 3, 1024, 1024],
  [8, 3, 1024, 1024],
  [16, 32, 96, 96],
];
const QUICK = ['1x4x64x64', '16x3x256x256', '64x3x256x256'];
const TINY = [
  [1, 4, 8, 8],
  [2, 3, 16, 16],
];

/** What the rotating sets together exceed, and how many they are at most: small shapes measure the launch. */
const BEYOND_CACHE = 512 * 2 ** 20;
const MOST_SETS = 16;
const MUCH = 2 ** 32;

/** What a step reads and writes, beside what it takes from `make`. */
export interface Kind {
  variant: string;
  /** Of a row, by its offsets. */
  row: Record<number, number>;
  guidance?: boolean;
  threshold?: boolean;
  network?: 'float32' | 'float16' | 'bfloat16' | 'float64';
  /** Tensors beside x, m, d0 and out. */
  also?: readonly ('d1' | 'd2' | 'z' | 'philox' | 'out2')[];
  /** Begins four bytes behind where wide accesses may begin. */
  unaligned?: boolean;
  next?: 'float16';
}

export function shapesOf(clock: Clock, all: number[][], { quick, shapes }: Asked): number[][] {
  if (clock.tiny) return TINY;
  return all.filter((shape) => (shapes ? shapes : quick ? QUICK : [shape.join('x')]).includes(shape.join('x')));
}

/** One kind of step at one shape, with fresh tensors for as many sets as are needed. */
export async function measure(
  clock: Clock,
  shape: readonly number[],
  kind: Kind,
  keep: (row: AnyRow) => void,
  part: 'steps' | 'kernels',
): Promise<void> {
  const { stream, tiny } = clock;
  const { guidance = false, threshold = false, network = 'float32', also = [], unaligned = false } = kind;
  const batch = shape[0]!;
  const total = shape.reduce((a, b) => a * b, 1);
  const wide = network === 'float64';
  const state = wide ? 'float64' : 'float32';
  const one = DeviceTensor.bytesOf(state) * total;
  const outputs = DeviceTensor.bytesOf(network) * total * (guidance ? 2 : 1);
  // x, d0 and out; what else is read or written; noise that is made on the card crosses nothing.
  const bytes = one * (3 + also.filter((name) => name !== 'philox').length) + outputs + (kind.next ? 2 * total : 0);
  const sets = Math.max(1, Math.min(MOST_SETS, Math.ceil((tiny ? 1 : BEYOND_CACHE) / bytes)));
  const made: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    made.push(tensor);
    return tensor;
  };
  const rows = own(await clock.rows(batch, { 4: threshold ? 2 : 0, 5: 0.995, 6: 1, 7: 100, ...kind.row }));
  const fresh = (random: boolean): Tensor => {
    const length = unaligned ? total + 1 : total;
    const tensor = own(random ? clock.random(length, state) : DeviceTensor.alloc([length], state));
    return unaligned ? tensor.part(1, [total]) : tensor;
  };
  const queues: (() => string)[] = [];
  for (let k = 0; k < sets; k++) {
    const x = fresh(true);
    const m = own(await clock.network(guidance ? 2 * total : total, network));
    const keys = also.includes('philox')
      ? own(await DeviceTensor.from(new Uint32Array(4 * batch).fill(k + 1), stream))
      : null;
    const given = Object.fromEntries(
      also.filter((name) => name !== 'philox').map((name) => [name, fresh(name !== 'out2')]),
    );
    const next = kind.next ? own(DeviceTensor.alloc([total], kind.next)) : null;
    const buffers = { x, base: x, m, d0: fresh(false), out: fresh(false), next, noise: keys, ...given };
    queues.push(prepareStep(rows, buffers, { stream, batch, doubled: guidance, quantile: threshold }));
  }
  const kernel = queues[0]!();
  const small = bytes < 2 ** 24;
  const count = tiny ? 2 : small ? 1000 : Math.max(sets, Math.min(200, Math.ceil(MUCH / bytes)));
  const queue = (k: number): void => {
    queues[k % sets]!();
  };
  const microseconds = clock.device(queue, count);
  const terabytesPerSecond = bytes / microseconds / 1e6;
  keep({
    part,
    shape: shape.join('x'),
    variant: kind.variant,
    kernel,
    microseconds,
    graph: clock.graph(queue, tiny ? 2 : Math.min(200, Math.max(count, sets))),
    ...(small ? { call: clock.call(queues[0]!), queued: clock.queued(queues[0]!) } : {}),
    bytes,
    terabytesPerSecond,
    copy: clock.bandwidth,
    share: terabytesPerSecond / clock.bandwidth,
  });
  for (const tensor of made) tensor.dispose();
}

/** x0 = (x - sigma e) / alpha with e = u + 7.5 (c - u); second order. */
export const SECOND_ORDER = { 8: 1, 12: 0.84, 13: 0.384, 15: -0.12 };
export const PREDICTION = { 0: 1.43, 1: -1.02 };
export const GUIDED = { 0: 1.43, 1: -7.65, 2: 6.63 };

export async function steps(clock: Clock, keep: (row: AnyRow) => void, asked: Asked): Promise<void> {
  for (const shape of shapesOf(clock, ALL, asked)) {
    for (const guidance of [false, true]) {
      for (const threshold of [false, true]) {
        const variant = `${guidance ? 'guided' : 'plain'}${threshold ? '+threshold' : ''}`;
        const row = { ...(guidance ? GUIDED : PREDICTION), ...SECOND_ORDER };
        await measure(clock, shape, { variant, row, guidance, threshold, also: ['d1'] }, keep, 'steps');
      }
    }
  }
}
