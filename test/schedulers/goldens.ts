// Runs of a scheduler with a fixed function as network, as test/golden has them.
import { type Scheduler, schedulerFromConfig, type StepOptions } from '../../lib/schedulers/index.js';

export type Floats = Float32Array | Float64Array;
/** Either of the two. */
export type FloatsClass = new (numbers: ArrayLike<number>) => Floats;

export interface State {
  data: Floats;
  dims: number[];
}

/** One run: the state after every step, from `begin` on. Each draw takes the next of `noise`, as diffusers draws. */
export function drive(
  s: Scheduler,
  start: ArrayLike<number>,
  dims: readonly number[],
  network: (x: Floats, t: number, i: number) => Floats,
  noise: (draw: number) => ArrayLike<number>,
  { begin = 0, Floats = Float64Array as FloatsClass, step = {} as StepOptions } = {},
): Floats[] {
  if (begin > 0) s.setBeginIndex(begin);
  let x: State = { data: new Floats(Array.from(start, (v) => v * s.initNoiseSigma)), dims: [...dims] };
  let draw = 0;
  return [...s.timesteps].slice(begin).map((t, i) => {
    const seen = s.scaleModelInput(x, t);
    const data = network(seen.data as Floats, t, begin + i);
    const wide = data.length === 2 * x.data.length ? [dims[0], 2 * dims[1], ...dims.slice(2)] : [...dims];
    x = s.step({ data, dims: wide }, t, x, {
      ...step,
      // Asked for by those that draw.
      get noise() {
        const z = noise(draw++);
        return { data: new Floats(Array.from(x.data, (_, k) => z[k % z.length])), dims: [...dims] };
      },
    }) as State;
    return x.data;
  });
}

/** What the class of diffusers that a golden names is here. */
export function classOf(name: string, config: Record<string, unknown>): Scheduler {
  return schedulerFromConfig({ ...config, _class_name: name });
}
