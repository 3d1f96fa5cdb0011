// What runs on a card are told besides: where their network is, what their work is queued on, and whether to record it.
import type { Stream } from '../../cuda/stream.js';
import type { DeviceTensor } from '../../cuda/tensor.js';
import type { Sampler, Solver } from '../../solver/options.js';

/**
 * A network on a card: called with the state and, for each of its samples, modelTime in float32. Queues its work on
 * the stream and returns what that will have written, a tensor of the dims of x, at once; it waits for nothing and reads
 * nothing. What it returns has to stay as it is until work that is queued on the stream afterwards has read it.
 */
export type DeviceModel = (
  x: DeviceTensor,
  t: DeviceTensor,
  context: DeviceContext,
) => DeviceTensor | Promise<DeviceTensor>;

/** What a {@link DeviceModel} is told besides. */
export interface DeviceContext {
  /** What it queues its work on. */
  stream: Stream;
  /** The run's; absent where a graph is captured. */
  signal?: AbortSignal;
}

/** @internal */
export interface CardSolver extends Solver {
  /** Is the network on a card? */
  readonly onCard: boolean;
  readonly stream?: Stream;
}

/** What a graph records is called once, and sees no numbers that change from run to run. @internal */
export function checkGraph(solver: CardSolver, sampler: Sampler): void {
  const refuse = (why: string): never => {
    throw new RangeError(`Expected false for graph ${why} but received true`);
  };
  if (!solver.onCard) refuse("without modelDevice 'cuda'");
  if (sampler.method === 'adaptive') refuse("with method 'adaptive', whose course depends on numbers,");
  for (const name of ['correctX0', 'correctXt'] as const) {
    if (solver[name]) refuse(`with ${name}, which is told the time as a number,`);
  }
  if (sampler.onStep) refuse('with onStep, as nothing is told between the steps of a graph,');
  if (sampler.intermediates) refuse('with intermediates');
}
