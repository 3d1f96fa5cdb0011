/**
 * What a pipeline of diffusers.js spends on one step besides its network, before and after:
 *
 *     npx tsx bench/diffusers-js/step.ts
 *
 * The tensors are those of test/diffusers-js/pipeline.ts, whose operators work as that package's do (a proxy, a copy and
 * a pass over the elements each). Rows: guidance and the four-step PLMS update of its PNDMScheduler, both by operators;
 * the scheduler swapped; `accelerate`. Medians, rows interleaved in one process. Writes bench/results/diffusers-js.json.
 */
import { writeFileSync } from 'node:fs';
import { type AcceleratedPipeline, accelerate } from '../../lib/diffusers-js/accelerate.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { JsPipeline, type JsScheduler, JsTensor } from '../../test/diffusers-js/pipeline.js';
import { noise } from '../../test/support.js';
import { machine } from '../machine.js';

const config = { _class_name: 'PNDMScheduler', beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 };
const STEPS = 12;

/** The operators of PNDMScheduler's step once four predictions are there: the sum of four, and the two-term update. */
class Operators {
  config = config;
  timesteps = { data: Array.from({ length: STEPS }, (_, i) => 960 - 80 * i) };
  private ets: JsTensor[] = [];
  setTimesteps() {
    this.ets = [];
  }
  step(output: JsTensor, _t: number, x: JsTensor): JsTensor {
    this.ets = [...this.ets.slice(-3), output];
    while (this.ets.length < 4) this.ets.push(output);
    const [e4, e3, e2, e1] = this.ets;
    const sum = e1
      .clone()
      .mul(55)
      .sub(e2.clone().mul(59))
      .add(e3.clone().mul(37))
      .sub(e4.clone().mul(9))
      .mul(1 / 24);
    return x.clone().mul(1.02).sub(sum.clone().mul(0.1));
  }
  addNoise(x0: JsTensor): JsTensor {
    return x0;
  }
}

const median = (list: number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** Milliseconds of each step of a run, without the time in the network. */
async function stepTimes(pipe: JsPipeline, side: number): Promise<number[]> {
  const dims = [1, 4, side, side];
  const latents = new JsTensor('float32', noise(new Float32Array(4 * side * side), 7), dims);
  const answer = new JsTensor('float32', noise(new Float32Array(8 * side * side), 8), [2, 4, side, side]);
  const times: number[] = [];
  let since = 0;
  const run = pipe.unet.run;
  const timed = {
    async run(feeds: Record<string, unknown>) {
      if (since) times.push(performance.now() - since);
      const out = await run(feeds);
      since = performance.now();
      return out;
    },
  };
  Object.assign(pipe, { unet: timed, makeImages: async () => [] });
  network.answer = answer;
  await pipe.run({ steps: STEPS, guidanceScale: 7.5, latents });
  pipe.unet.run = run;
  // The first steps fill the history and warm up.
  return times.slice(4);
}

const network: { answer?: JsTensor } = {};

async function main() {
  const results = [];
  for (const side of [64, 128]) {
    const rows: Record<string, number[]> = { operators: [], swapped: [], accelerated: [] };
    for (let round = 0; round < 7; round++) {
      for (const name of Object.keys(rows)) {
        const scheduler = name === 'operators' ? new Operators() : DPMSolverMultistepScheduler.fromConfig(config);
        const pipe = new JsPipeline(scheduler as unknown as JsScheduler);
        pipe.unet.run = async () => ({ out_sample: network.answer! });
        if (name === 'accelerated') accelerate(pipe as unknown as AcceleratedPipeline, { images: false });
        rows[name].push(...(await stepTimes(pipe, side)));
      }
    }
    const ms = Object.fromEntries(Object.entries(rows).map(([name, times]) => [name, median(times)]));
    results.push({ picture: 8 * side, ms, raw: rows });
    console.log(
      `${8 * side}^2: operators ${ms.operators.toFixed(2)} ms, scheduler swapped ${ms.swapped.toFixed(2)} ms, accelerated ${ms.accelerated.toFixed(3)} ms`,
    );
  }
  writeFileSync(
    new URL('../results/diffusers-js.json', import.meta.url),
    `${JSON.stringify({ command: 'npx tsx bench/diffusers-js/step.ts', machine: machine(), steps: STEPS, results }, null, 1)}\n`,
  );
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
