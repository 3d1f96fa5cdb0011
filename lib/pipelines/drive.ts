// The loop around a run, with the network's and the solver's time taken apart.
import type { Tensor } from '../base/tensor.js';
import type { Run } from '../solver/run.js';
import type { Clock } from './clock.js';
import type { Evaluate } from './denoiser.js';
import type { Watch } from './watch.js';

/** What a loop calls, and who is told of it. */
export interface Work {
  network: Evaluate;
  gradient?: Evaluate;
  clock: Clock;
  signal?: AbortSignal;
  watch?: Watch;
}

export async function drive(run: Run, { network, gradient, clock, signal, watch }: Work): Promise<void> {
  while (!run.done) {
    signal?.throwIfAborted();
    const { x, t } = run;
    const start = performance.now();
    const output = await network(x, t, signal);
    const evaluated = performance.now();
    clock.network.push(evaluated - start);
    let g: Tensor | undefined;
    let ready = evaluated;
    if (gradient) {
      g = await gradient(x, t, signal);
      ready = performance.now();
      clock.classifier.push(ready - evaluated);
    }
    if (watch) {
      // What it costs to look is not the step's time.
      watch.see(x, output, run.time, t);
      ready = performance.now();
    }
    run.advance(output, g);
    clock.step.push(performance.now() - ready);
  }
}
