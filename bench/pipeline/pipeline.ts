/**
 * Where the time of a sampling run goes: the network, the solver's step, and the rest.
 *
 *     npm run bench:pipeline [-- --rounds 9 --steps 20 --batch 16 --threads 1]
 *
 * Every solver makes the same pictures with as many evaluations, in turns, so that what slows the machine down slows all
 * of them down; figures are medians over the rounds with quartiles, and the comparison with DDIM is made within each
 * round. The loop is all between the encoded prompts and the finished sample: start noise, buffers, steps, the bytes of
 * the pictures. Loading, encoding the prompts and PNG are told apart. Of the tiny graphs of test/fixtures, whose networks
 * do next to nothing, what is left is what a call and a step cost by themselves. Writes bench/results/pipeline.json.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DiffusionPipeline, encodePng, type GenerateOptions } from '../../lib/pipelines/index.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { machine } from '../machine.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    rounds: { ...text, default: '9' },
    steps: { ...text, default: '20' },
    batch: { ...text, default: '16' },
    threads: { ...text, default: '1' },
    results: { ...text, default: `${root}/bench/results/pipeline.json` },
  },
});
const rounds = Number(values.rounds);
const steps = Number(values.steps);
const batch = Number(values.batch);

type Options = Partial<GenerateOptions>;

function solvers(pipe: DiffusionPipeline): { name: string; options: () => Options }[] {
  // At a flow's end alpha is 0, where a noise form has no value.
  const flow = pipe.schedulerConfig._class_name === 'FlowMatchEulerDiscreteScheduler';
  const all: { name: string; options: () => Options }[] = [
    { name: 'DDIM', options: () => ({ order: 1 }) },
    { name: 'DPM-Solver++(2M)', options: () => ({ order: 2 }) },
    { name: 'DPM-Solver++(3M)', options: () => ({ order: 3 }) },
    { name: 'DPM-Solver++(2S)', options: () => ({ order: 2, method: 'singlestep' }) },
    { name: 'DPM-Solver-3', options: () => ({ order: 3, method: 'singlestep', algorithmType: 'dpmsolver' }) },
    { name: 'DPM-Solver++(2M), thresholding', options: () => ({ order: 2, thresholding: true }) },
    {
      name: 'DPMSolverMultistepScheduler',
      options: () => ({ scheduler: DPMSolverMultistepScheduler.fromConfig(pipe.schedulerConfig) }),
    },
  ];
  return flow ? all.filter(({ name }) => name !== 'DPM-Solver-3') : all;
}

interface Spread {
  median: number;
  low: number;
  high: number;
}

/** Median and quartiles. */
function spread(numbers: readonly number[]): Spread {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (share: number) => {
    const place = share * (sorted.length - 1);
    const low = Math.floor(place);
    return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (place - low);
  };
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

/** Milliseconds of one run: `loop` is network, solver and rest together. */
interface Run {
  network: number;
  solver: number;
  rest: number;
  loop: number;
  encode: number;
  vae: number;
}

async function measure(name: string, folder: string, prompt: string, count: number) {
  const loadStarted = performance.now();
  const pipe = await DiffusionPipeline.fromPretrained(folder, { networkThreads: Number(values.threads) });
  const loadMs = performance.now() - loadStarted;
  const ask = { prompt, count, seed: 0, steps, batchSize: count };
  const all = solvers(pipe);
  const runs = new Map<string, Run[]>(all.map((one) => [one.name, []]));
  let nfe = 0;
  let pngMs = 0;
  // The first round warms up and does not count.
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < all.length; i++) {
      const solver = all[(i + round) % all.length];
      const { timings, images, nfe: made } = await pipe({ ...ask, ...solver.options() });
      if (made !== steps) throw new Error(`${solver.name} made ${made} evaluations instead of ${steps}`);
      nfe = made;
      const { networkTotalMs: network, stepTotalMs: step, encodeMs: encode, vaeMs: vae = 0, totalMs } = timings;
      const loop = totalMs - encode - vae;
      if (round > 0) {
        runs.get(solver.name)!.push({ network, solver: step, rest: loop - network - step, loop, encode, vae });
      } else {
        const started = performance.now();
        for (const image of images) encodePng(image);
        pngMs = performance.now() - started;
      }
    }
  }
  await pipe.dispose();
  const base = runs.get('DDIM') as Run[];
  const rows = all.map((solver) => {
    const own = runs.get(solver.name) as Run[];
    const of = (part: (run: Run) => number) => spread(own.map(part));
    const besides = (run: Run) => run.solver + run.rest;
    return {
      name: solver.name,
      network: of((run) => run.network),
      solver: of((run) => run.solver),
      rest: of((run) => run.rest),
      loop: of((run) => run.loop),
      encode: of((run) => run.encode),
      vae: of((run) => run.vae),
      /** Share of the loop that is not the network. */
      share: of((run) => besides(run) / run.loop),
      /** The whole loop's time by DDIM's of the same round; and how much longer by evaluation, in milliseconds. */
      toDdim: spread(own.map((run, i) => run.loop / base[i].loop)),
      moreThanDdim: spread(own.map((run, i) => (besides(run) - besides(base[i])) / nfe)),
      raw: own,
    };
  });
  for (const row of rows) {
    const ms = ({ median }: Spread) => median.toFixed(2).padStart(9);
    console.log(
      `${name.padEnd(16)} ${String(count).padStart(2)} pictures  ${row.name.padEnd(32)} network ${ms(row.network)}  solver ${ms(row.solver)}  ` +
        `rest ${ms(row.rest)}  not network ${(100 * row.share.median).toFixed(2)}%  loop / DDIM's ${row.toDdim.median.toFixed(3)}`,
    );
  }
  return { name, pictures: count, evaluations: nfe, loadMs, pngMs, rows };
}

async function main() {
  const results: Awaited<ReturnType<typeof measure>>[] = [];
  const measured = async (...what: Parameters<typeof measure>) => {
    results.push(await measure(...what));
    // After each, so that what was measured stays where a run is stopped.
    const how = { rounds, steps, batch, networkThreads: Number(values.threads) };
    const report = { command: 'npm run bench:pipeline', machine: machine(), ...how, results };
    writeFileSync(values.results, `${JSON.stringify(report, null, 2)}\n`);
  };
  const prompt = 'a red circle on a blue background';
  await measured('shapes', `${root}/models/shapes`, prompt, batch);
  for (const layout of ['sd', 'sdxl', 'sd3']) {
    await measured(layout, `${root}/test/fixtures/models/${layout}`, 'red', batch);
  }
  await measured('shapes', `${root}/models/shapes`, prompt, 1);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
