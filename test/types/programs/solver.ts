// What DPMSolver, its runs and the noise are typed as, without Node's types and without the browser's.
import { DPMSolver, generator, NoiseSchedule, randn, type NoiseTensor, type Sampling, type Tensor } from 'dpm-solver';
import { DeviceTensor, type Stream } from 'dpm-solver/cuda';
import { is, last } from './check.js';

const schedule = NoiseSchedule.linear();
declare const steps: number;

/** A tensor class of somebody else. */
declare class Theirs {
  constructor(type: string, data: unknown, dims: number[]);
  readonly data: Float32Array;
  readonly dims: number[];
  readonly type: 'float32';
  reshape(dims: number[]): Theirs;
}
declare const theirs: Theirs;

// Noise has the type that was asked for.
const noise = randn([1, 4], { seed: 7 });
const data: Float32Array = noise.data;
const doubled: Float64Array = randn([1, 4], { seed: 7, type: 'float64' }).data;
const either = randn([2], { seed: 1, type: steps > 3 ? 'float32' : 'float64' });
is<NoiseTensor<'float32'>>()(generator(3).randn([2] as const), true);
is<'float32' | 'float64'>()(either.type, true);
// @ts-expect-error: noise is in these two
randn([2], { seed: 1, type: 'float16' });

// A network whose parameter says nothing takes any tensor, and the sample has the class of the noise.
const any = new DPMSolver((x, t) => last(is<Tensor>()(x, true), is<number>()(t, true), x), schedule);
export const sampled: Promise<Sampling<NoiseTensor<'float32'>>> = any.sample(noise, {
  steps,
  onStep: ({ x, nfe }) => last(is<NoiseTensor<'float32'>>()(x, true), is<number>()(nfe, true)),
});
is<Promise<Sampling<Theirs>>>()(any.sample(theirs), true);
is<Promise<Sampling<Theirs>>>()(any.invert(theirs), true);
is<Theirs>()(any.addNoise(theirs, 0.5), true);

// A network whose parameter says its class is called with that, and so are all functions beside it.
const own = new DPMSolver((x: Theirs, _t) => x.reshape([1]), schedule, {
  correctX0: (x) => x.reshape([1]),
  correctXt: (x, _t, step) => last(is<number>()(step, true), x.reshape([1])),
  guidance: { type: 'classifier', scale: 2, gradient: (x) => x.reshape([1]) },
});
is<Promise<Sampling<Theirs>>>()(own.sample(theirs, { steps: 4 }), true);
// @ts-expect-error: a plain object is no tensor of that class
own.sample(noise);

// The loop turned inside out keeps the class, too.
const run = new DPMSolver(null, schedule).start(theirs, { order: 3 });
while (!run.done) run.advance(run.x.reshape([1]));
is<Theirs>()(run.x, true);
is<Theirs>()(run.result, true);

// On a card all is there.
const card = new DPMSolver(
  (x, t, { stream }) => last(is<DeviceTensor>()(x, true), is<DeviceTensor>()(t, true), is<Stream>()(stream, true), x),
  schedule,
  { modelDevice: 'cuda', modelDtype: 'bfloat16', correctX0: (x) => last(is<DeviceTensor>()(x, true), x) },
);
is<Promise<Sampling<DeviceTensor>>>()(card.sample(DeviceTensor.alloc([1]), { graph: true }), true);
is<DeviceTensor>()(card.start(DeviceTensor.alloc([1])).x, true);
export { data, doubled };
