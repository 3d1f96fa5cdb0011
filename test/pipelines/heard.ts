// What networks are told as their timestep, listened to where graphs are bound.
import { Graph } from '../../lib/onnx/graph.js';

let told: number[] = [];

/** What networks were told since this was asked last. */
export function heard(): number[] {
  const all = told;
  told = [];
  return all;
}

/**
 * Listens from now on, for the rest of the process.
 *
 * @param answering whether networks are run, too: what they answer changes nothing of what most solvers tell them
 */
export function listen(answering: boolean): void {
  const { bind } = Graph.prototype;
  Graph.prototype.bind = function (feeds, outputs) {
    const binding = bind.call(this, feeds, outputs);
    if (!('timestep' in feeds)) return binding;
    const { run } = binding;
    binding.run = async (...rest) => {
      told.push(Number(binding.feeds.timestep.data[0]));
      if (answering) await run.apply(binding, rest);
    };
    return binding;
  };
}

/**
 * Asks graphs from now on, for the rest of the process, once for each text and for each size of other inputs: what a text or
 * a picture is encoded as, where nobody looks at it.
 */
export function askOnce(): void {
  const { call } = Graph.prototype;
  const answers = new Map<string, ReturnType<typeof call>>();
  Graph.prototype.call = function (feeds, ...rest) {
    const words = Object.values(feeds).map(({ type, data, dims }) => [dims.join(), /^int/.test(type) && data.join()]);
    const key = `${this.path} ${words.join(' ')}`;
    const answer = answers.get(key) ?? call.call(this, feeds, ...rest);
    answers.set(key, answer);
    return answer;
  };
}
