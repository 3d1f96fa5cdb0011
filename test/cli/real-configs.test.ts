// Scheduler files of public repositories by three ways: the class, a folder with the file in it, and the command line on
// that folder. What a network is told is what diffusers 0.42.1 tells it (test/golden/real-configs.json), by all three, and
// what one refuses all three refuse, in the same sentence.
//
// The folders are those of test/fixtures: a network of pixels, and one of Stable Diffusion 3 for files of flows. What a network
// is fed as `timestep` is compared, and the network itself is not run.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from 'citty';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { txt2img } from '../../lib/cli/draw.js';
import { originOf } from '../../lib/folder/scheduler-keys.js';
import { Graph } from '../../lib/onnx/graph.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { classNames, knownClass } from '../../lib/schedulers/from-config.js';
import type { Scheduler, SchedulerConfig } from '../../lib/schedulers/index.js';
import * as schedulers from '../../lib/schedulers/index.js';
import { readScheduler } from '../../lib/schedulers/network.js';
import { askOnce, heard, listen } from '../pipelines/heard.js';
import { changed, constant, layout, removeCopies } from '../pipelines/models.js';
import { assertClose, golden } from '../support.js';

interface Run {
  timesteps: number[];
  mu?: number;
  learned?: boolean;
}
interface File {
  id: string;
  text?: string;
  config?: SchedulerConfig;
  classes?: Record<string, { runs: Record<string, number> }>;
}
const { cases, results } = golden<{ results: Run[]; cases: File[] }>('real-configs');

/** The classes, by all names that a configuration may have for them. */
const classes = new Map(
  classNames().map((name) => [name, knownClass(name) as unknown as typeof schedulers.DDIMScheduler]),
);

const test = suite('scheduler files by class, folder and command line');

test.before(() => {
  // Of keys that no class knows every class warns, as test/schedulers/config.test.ts has it.
  process.emitWarning = () => {};
  // Loaded by the first call.
  Graph.prototype.load = async () => {};
  // What the network would answer changes nothing of what it is told: its outputs stay 0.
  listen(false);
  askOnce();
});
test.after(removeCopies);

/** A folder that every file is put into in turn; nothing but the file says what the scheduler is. */
const bare = (model: string) =>
  changed((folder) => {
    mkdirSync(join(folder, 'scheduler'), { recursive: true });
    const own = model === constant ? { _dpm_solver: { space: 'pixel' } } : {};
    writeFileSync(join(folder, 'model_index.json'), JSON.stringify({ _class_name: 'DiffusionPipeline', ...own }));
  }, model);
const pixels = bare(constant);
const latents = bare(layout('sd3'));

function folderOf({ config, text }: File): string {
  const flow = originOf(String(config?._class_name))?.network === 'flow' || config?.use_flow_sigmas === true;
  const folder = flow ? latents : pixels;
  writeFileSync(join(folder, 'scheduler/scheduler_config.json'), text ?? JSON.stringify(config));
  return folder;
}

/** UniPC on a flow with Karras' sigmas: diffusers places them elsewhere (docs/schedulers.md). */
const ELSEWHERE = ['D071', 'D081'];

/** A message without the path of the file that it is about. */
const sentence = (error: unknown): string => (error as Error).message.replace(/^\S+scheduler_config\.json:? /, '');

interface Outcome {
  told?: number[];
  refused?: string;
}
async function outcome(work: () => Promise<unknown> | unknown): Promise<Outcome> {
  heard();
  try {
    await work();
    return { told: heard() };
  } catch (error) {
    return { refused: sentence(error) };
  }
}

const print = console.log;
async function commandLine(folder: string, steps: number, ...flags: string[]): Promise<Outcome> {
  const output = join(folder, 'out.png');
  const rawArgs = ['red', '--model', folder, '--steps', `${steps}`, '--guidance', '1', '-o', output, ...flags];
  console.log = () => {};
  try {
    return await outcome(() => runCommand(txt2img, { rawArgs }));
  } finally {
    console.log = print;
  }
}

const tokensOf = (dims: readonly number[]) => (dims[2] * dims[3]) / 4;
/** mu as diffusers' pipelines make it: linear in the tokens. */
function muOf(config: SchedulerConfig, tokens: number): number {
  const of = (key: string, standard: number) => Number(config[key] ?? standard);
  const [low, high] = [of('base_shift', 0.5), of('max_shift', 1.15)];
  const [from, to] = [of('base_image_seq_len', 256), of('max_image_seq_len', 4096)];
  return low + ((high - low) * (tokens - from)) / (to - from);
}

/** What setTimesteps is told of a picture's size. */
const muFor = (config: SchedulerConfig, dims: readonly number[]) =>
  config.use_dynamic_shifting === true ? { mu: muOf(config, tokensOf(dims)) } : {};

/** A golden run's labels, or the class's own where that is none: it was made with another mu than a picture of this size has. */
function labelsOf(s: Scheduler, expected: Run | null, steps: number, dims: readonly number[]): ArrayLike<number> {
  if (expected && expected.mu === undefined) return expected.timesteps;
  s.setTimesteps({ steps, ...muFor(s.config, dims) });
  return s.timesteps;
}

/** What a network is told: labels whole where the class has them whole, which exponential and beta grids may round. */
function assertTold(actual: number[], s: Scheduler, expected: ArrayLike<number>, what: string): void {
  const { use_exponential_sigmas, use_beta_sigmas } = s.config;
  const slack = use_exponential_sigmas || use_beta_sigmas ? 1 : 0;
  const whole = s.timesteps instanceof Int32Array;
  assertClose(actual, expected, whole ? { rtol: 1e-7, atol: slack } : { rtol: 4e-7, atol: 2e-4 }, what);
}

const counts = { files: 0, loaded: 0, defaults: 0, entries: 0, runs: 0, refusals: 0 };
for (const file of cases) {
  const { id, config, classes: expectedOf = {}, text } = file;
  counts.files++;
  if (text !== undefined) {
    test(`${id} is no JSON: folder and command line name the file`, async () => {
      const folder = folderOf(file);
      const loaded = await outcome(() => DiffusionPipeline.fromPretrained(folder));
      assert.match(loaded.refused!, /^could not be read as JSON: /);
      assert.equal(await commandLine(folder, 4), loaded);
    });
    continue;
  }
  const own = String(config!._class_name ?? 'no class');
  const golden = Object.entries(expectedOf);
  test(`${id}, ${own}: by ${golden.length} classes`, async () => {
    const folder = folderOf(file);
    let pipe: DiffusionPipeline | undefined;
    const loaded = await outcome(async () => {
      pipe = await DiffusionPipeline.fromPretrained(folder);
    });
    if (!pipe) {
      const byClass = await outcome(() => schedulers.DPMSolverMultistepScheduler.fromConfig(config!));
      assert.equal(loaded, byClass);
      assert.equal(await commandLine(folder, 4), byClass);
      return;
    }
    counts.loaded++;
    try {
      await followDefaults(pipe, folder, file);
      for (const [k, [name, { runs }]] of golden.entries()) {
        await followClass(pipe, folder, file, name, runs, k);
        counts.entries++;
      }
      await compareRefusals(pipe, folder, file);
    } finally {
      await pipe.dispose();
    }
  });
}

/** Where nobody names a scheduler: DPM-Solver made of the file, or the folder's own scheduler. */
async function followDefaults(pipe: DiffusionPipeline, folder: string, { config, classes: expectedOf = {} }: File) {
  for (const steps of [4, 10]) {
    let dims: readonly number[] = [];
    const byFolder = await outcome(async () => {
      ({ dims } = (await pipe({ prompt: 'red', guidance: 1, steps, seed: 0 })).sample);
    });
    assert.equal(await commandLine(folder, steps), byFolder, `${steps} steps`);
    assert.ok(byFolder.told, byFolder.refused);
    const own = String(config!._class_name);
    const kept = readScheduler(config!, '').keeps;
    const golden = expectedOf[kept ? own : 'DPMSolverMultistepScheduler'];
    if (!kept && originOf(own)?.network === 'flow') {
      // Even in time from 1 to 1 / n before the shift, as transformers' pipelines ask.
      const s = schedulers.FlowMatchEulerDiscreteScheduler.fromConfig(config!);
      const sigmas = Array.from({ length: steps }, (_, i) => (steps - i) / steps);
      s.setTimesteps({ sigmas, ...muFor(config!, dims) });
      assertTold(byFolder.told, s, s.timesteps, `${steps} steps`);
    } else if (golden) {
      const s = classes.get(kept ? own : 'DPMSolverMultistepScheduler')!.fromConfig(config!);
      assertTold(byFolder.told, s, labelsOf(s, results[golden.runs[steps]], steps, dims), `${steps} steps`);
      counts.defaults++;
    }
  }
}

/** A class's own run, by all three ways; the command line at one number of steps of the three. */
async function followClass(
  pipe: DiffusionPipeline,
  folder: string,
  { id, config }: File,
  name: string,
  runs: Record<string, number>,
  k: number,
) {
  const Class = classes.get(name)!;
  for (const [i, [steps, place]] of Object.entries(runs).entries()) {
    const n = Number(steps);
    const what = `${name}, ${n} steps`;
    const expected = results[place];
    const scheduler = Class.fromConfig(pipe.schedulerConfig);
    let dims: readonly number[] = [];
    const byFolder = await outcome(async () => {
      ({ dims } = (await pipe({ prompt: 'red', guidance: 1, steps: n, seed: 0, scheduler })).sample);
    });
    if (expected.learned && byFolder.refused !== undefined) {
      // Of classes that need it: the network here predicts no variance.
      assert.is(name, 'DDPMScheduler');
      assert.match(byFolder.refused, /^Expected dims .* for the model output, with its variance, but received /, what);
    } else {
      const s = Class.fromConfig(config!);
      const placed = ELSEWHERE.includes(id) && name === 'UniPCMultistepScheduler';
      assertTold(byFolder.told!, s, labelsOf(s, placed ? null : expected, n, dims), what);
      counts.runs++;
    }
    if (i !== k % Object.keys(runs).length) continue;
    assert.equal(await commandLine(folder, n, '--scheduler', name), byFolder, what);
  }
}

/** What a class does not make of the file it does not make of the folder's configuration either; nor by the command line. */
async function compareRefusals(pipe: DiffusionPipeline, folder: string, { config }: File) {
  let asked = 0;
  for (const [name, Class] of classes) {
    const byClass = await outcome(() => Class.fromConfig(config!));
    const byFolder = await outcome(() => Class.fromConfig(pipe.schedulerConfig));
    assert.equal(byFolder, byClass, name);
    if (byClass.refused === undefined) continue;
    counts.refusals++;
    // All of them go the same way.
    if (asked++ < 2) assert.equal(await commandLine(folder, 4, '--scheduler', name), byClass, name);
  }
}

test('all that is golden has been run', () => {
  // The other files are of networks that no folder here can have, and refused as the classes refuse them.
  assert.equal(counts, { files: 188, loaded: 178, defaults: 272, entries: 855, runs: 2562, refusals: 2979 });
});

test.run();
