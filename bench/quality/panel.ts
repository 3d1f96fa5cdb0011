/**
 * Two labelled sheets: what each solver makes of the same prompt and start noise at guidance 8 and 15 evaluations, and
 * the way from noise to data form, from singlestep to multistep, and to thresholding.
 *
 *     npm run bench:panel
 *
 * Writes docs/figures/quality-panel.png and quality-ablation.png, and bench/results/panel.json: the weights, and by how
 * much pictures differ that are the same by theory (DDIM, and DPM-Solver and DPM-Solver++ of order 1).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { toImages } from '../../lib/image/image.js';
import { sheet } from '../../lib/image/sheet.js';
import { encodePng, type Image } from '../../lib/pipelines/index.js';
import { DDIMScheduler } from '../../lib/schedulers/index.js';
import { machine } from '../machine.js';
import { Evaluator, hashModel, SHAPE, VALUES } from './evaluator.js';
import type { Prompt } from './judge.js';
import { DEIS_1, type Loop, type Row, rowOf, startLoop } from './rows.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: `${root}/models/shapes` },
    figures: { type: 'string', default: `${root}/docs/figures` },
    results: { type: 'string', default: `${root}/bench/results/panel.json` },
  },
});
const GUIDANCE = 8;
const STEPS = 15;
/** 999 / 9 is whole: DDIM's labels are those of the solver's grid then, and nothing is rounded. */
const WHOLE = 9;

const prompts: Prompt[] = [
  { prompt: 'a red circle on a blue background', shape: 'circle', color: 'red', background: 'blue', size: 'middle' },
  { prompt: 'a large yellow star on a purple background', shape: 'star', color: 'yellow', background: 'purple', size: 'large' }, // biome-ignore format: one line reads better
  { prompt: 'a white ring on a black background', shape: 'ring', color: 'white', background: 'black', size: 'middle' },
  { prompt: 'a small green cross on a white background', shape: 'cross', color: 'green', background: 'white', size: 'small' }, // biome-ignore format: one line reads better
];

const panel: [name: string, row: Row][] = [
  ['DDIM', rowOf('ddim')],
  ['PNDM', rowOf('pndm')],
  ['DEIS-1', DEIS_1],
  ['DEIS-2', rowOf('deis-2')],
  ['DPM-Solver-2', rowOf('dpm-2')],
  ['DPM-Solver-3', rowOf('dpm-3')],
  ['DDIM thresh.', rowOf('ddim-thresholding')],
  ['DPM-Solver++(2M)', rowOf('2m')],
];
const ablation: [name: string, row: Row][] = [
  ['noise, singlestep', rowOf('dpm-2')],
  ['data, singlestep', rowOf('2s')],
  ['data, multistep', rowOf('2m')],
  ['2nd-order end', rowOf('2m-published')],
  ['+ thresholding', rowOf('2m-thresholding')],
];

async function main() {
  const evaluator = await Evaluator.open(values.model, prompts, 1);
  const { network } = evaluator;
  const draw = (row: Row, steps: number, guidance: number) =>
    evaluator.run(startLoop(row, network, evaluator.noise(0), steps, guidance), 0);
  const drawn = new Map<Row, Image[]>();
  for (const [, row] of [...panel, ...ablation]) {
    if (drawn.has(row)) continue;
    drawn.set(row, toImages(await draw(row, STEPS, GUIDANCE), [prompts.length, ...SHAPE]));
  }
  mkdirSync(values.figures, { recursive: true });
  const save = (name: string, columns: typeof panel, title: string) => {
    const rows = prompts.map((_, i) => columns.map(([, row]) => (drawn.get(row) as Image[])[i]));
    const made = sheet(rows, { scale: 3, columnNames: columns.map(([one]) => one), title });
    writeFileSync(`${values.figures}/${name}.png`, encodePng(made));
  };
  save('quality-panel', panel, `guidance ${GUIDANCE}, ${STEPS} evaluations, same prompts and start noise`);
  save('quality-ablation', ablation, `guidance ${GUIDANCE}, ${STEPS} evaluations`);

  // First order is DDIM, whatever the form.
  const config = { ...network.config, set_alpha_to_one: false, clip_sample: false };
  const noiseForm: Row = { id: 'dpm-1', name: 'DPM-Solver-1', options: { algorithmType: 'dpmsolver', order: 1 } };
  const differences: { guidance: number; ddim: number; noiseForm: number }[] = [];
  for (const guidance of [1, 8]) {
    const ours = await draw(rowOf('ddim'), WHOLE, guidance);
    const noise = await draw(noiseForm, WHOLE, guidance);
    const ddim = await evaluator.run(ddimLoop(config, evaluator.noise(0), guidance), 0);
    const largest = (other: Float32Array) => other.reduce((most, x, i) => Math.max(most, Math.abs(x - ours[i])), 0);
    differences.push({ guidance, ddim: largest(ddim), noiseForm: largest(noise) });
  }
  await evaluator.release();
  const results = {
    command: 'npm run bench:panel',
    machine: machine(),
    model: hashModel(values.model),
    ...{ guidance: GUIDANCE, steps: STEPS, prompts: prompts.map(({ prompt }) => prompt) },
    /** Largest difference of a value from DPM-Solver++ of order 1; values are in [-1, 1]. */
    firstOrder: { steps: WHOLE, values: prompts.length * VALUES, differences },
  };
  writeFileSync(values.results, `${JSON.stringify(results, null, 2)}\n`);
  for (const { guidance, ddim, noiseForm: noise } of differences) {
    console.log(`guidance ${guidance}: DDIM differs from DPM-Solver++-1 by ${ddim}, DPM-Solver-1 by ${noise} at most`);
  }
}

/** DDIM as its own class computes it, on the labels of the solver's grid. */
function ddimLoop(config: Record<string, unknown>, xT: Loop['x'], scale: number): Loop {
  const scheduler = DDIMScheduler.fromConfig({ ...config, _class_name: 'DDIMScheduler' });
  scheduler.setTimesteps({ timesteps: Array.from({ length: WHOLE }, (_, i) => 999 - (999 / WHOLE) * i) });
  const times = Array.from(scheduler.timesteps);
  let index = 0;
  let state = xT;
  const input = (): Loop['x'] => {
    if (scale === 1) return state;
    const data = Float32Array.from([...(state.data as Float32Array), ...(state.data as Float32Array)]);
    return { ...state, data, dims: [2 * state.dims[0], ...state.dims.slice(1)] } as Loop['x'];
  };
  return {
    get done() {
      return index === times.length;
    },
    get x() {
      return input();
    },
    get t() {
      return times[index];
    },
    advance(output) {
      state = scheduler.step(output, times[index++], state, scale === 1 ? {} : { guidanceScale: scale });
    },
    get result() {
      return state;
    },
  };
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
