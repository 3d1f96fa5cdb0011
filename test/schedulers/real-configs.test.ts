// Scheduler files as public repositories have them, through every class that diffusers 0.42.1 makes something right of
// (test/golden/real-configs.json says how): labels, sigmas, where a run starts and where it ends.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as schedulers from '../../lib/schedulers/index.js';
import type { Scheduler, SchedulerConfig } from '../../lib/schedulers/index.js';
import { assertClose, assertThrows, golden } from '../support.js';
import { drive, type Floats } from './goldens.js';

interface Run {
  timesteps: number[];
  sigmas?: number[];
  init?: number;
  mu?: number;
  learned?: boolean;
  doubled?: boolean;
  end?: number[];
}
interface File {
  id: string;
  found: boolean;
  text?: string;
  config?: SchedulerConfig;
  classes?: Record<string, { runs: Record<string, number>; overrides?: SchedulerConfig }>;
}
const file = golden<{
  kept: number[];
  noise: number[];
  noise3: number[];
  step_noise: number[][];
  results: Run[];
  cases: File[];
}>('real-configs');

const CLASSES = new Map(Object.entries(schedulers)) as unknown as Map<string, typeof schedulers.DDIMScheduler>;

const test = suite('scheduler files of public repositories');

/** The same methods, by the names that they have here. */
const SAME: Record<string, string> = { DDIMParallelScheduler: 'DDIMScheduler', DDPMParallelScheduler: 'DDPMScheduler' };

/** diffusers places them in the range of betas that the flow does not have (docs/schedulers.md). */
const karrasFlow = (name: string, config: SchedulerConfig) =>
  name === 'UniPCMultistepScheduler' &&
  config.use_karras_sigmas === true &&
  /^FlowMatch/.test(String(config._class_name));

/**
 * How far diffusers' ends are from those in double precision, since its coefficients are float32: those of DEIS lose the
 * most (its own answer in double is 3.4e-4 from it), and steps near the data of unscaled betas.
 */
const tolerance = (name: string, config: SchedulerConfig) =>
  name.startsWith('DEIS') ? 5e-4 : config.rescale_betas_zero_snr || name.includes('Inverse') ? 5e-5 : 1e-5;

function follow(s: Scheduler, expected: Run, name: string, what: string): void {
  const { use_exponential_sigmas, use_beta_sigmas } = s.config;
  const { timesteps } = s;
  if (timesteps instanceof Int32Array) {
    // 998 or 999 by the last bit of the tables of a version of torch.
    const slack = use_exponential_sigmas || use_beta_sigmas ? 1 : 0;
    assertClose(timesteps, expected.timesteps, { atol: slack }, `${what}: timesteps`);
  } else assertClose(timesteps, expected.timesteps, { rtol: 4e-7, atol: 2e-4 }, `${what}: timesteps`);
  if (expected.sigmas && !name.startsWith('KDPM2')) {
    assertClose(s.sigmas, expected.sigmas, { rtol: 2e-6, atol: 1e-9 }, `${what}: sigmas`);
  }
  assertClose(s.initNoiseSigma, expected.init ?? 1, { rtol: 2e-6 }, `${what}: initNoiseSigma`);
  if (!expected.end) return;
  const dims = [1, expected.learned ? 3 : 1, 8, 8];
  const network = (x: Floats, _: number, i: number): Floats => {
    const bias = 0.1 * Math.sin(expected.timesteps[i] / 100);
    const out = x.map((v) => 0.3 * v + bias);
    return expected.doubled ? Float64Array.from([...out, ...x.map((v) => 0.5 * v)]) : out;
  };
  const start = expected.learned ? file.noise3 : file.noise;
  const states = drive(s, start, dims, network, (draw) => file.step_noise[draw]);
  const end = file.kept.map((k) => states.at(-1)![k]);
  assertClose(end, expected.end, { rtol: tolerance(name, s.config), scale: 'max' }, `${what}: the end`);
}

/** Karras et al. 2022, equation 5 with rho = 7, between the ends of the flow's own grid; the network is told their labels. */
function followKarras(config: SchedulerConfig, overrides: SchedulerConfig | undefined, steps: number): void {
  const mu = config.use_dynamic_shifting === true ? { mu: 0.8 } : {};
  const [placed, plain] = [true, false].map((use_karras_sigmas) => {
    const s = schedulers.UniPCMultistepScheduler.fromConfig(config, { ...overrides, use_karras_sigmas });
    s.setTimesteps({ steps, ...mu });
    return s;
  });
  const [from, to] = [plain.sigmas[0], plain.sigmas[steps - 1]].map((sigma) => sigma ** (1 / 7));
  const expected = Array.from({ length: steps }, (_, i) => (from + (i / (steps - 1)) * (to - from)) ** 7);
  assertClose(placed.sigmas, [...expected, 0], { rtol: 1e-6 }, `${steps} steps: Karras' sigmas of a flow`);
  assert.ok(placed.sigmas[0] > 0.99, 'from the noise');
  assertClose(
    placed.timesteps,
    Array.from(placed.sigmas)
      .slice(0, -1)
      .map((sigma) => Math.trunc(1000 * sigma)),
    {
      atol: 0,
    },
  );
}

for (const { id, config, classes = {}, text } of file.cases) {
  if (text !== undefined) {
    test(`${id} is no JSON, and refused in one sentence`, () => {
      const refused = () => schedulers.schedulerFromConfig(text);
      assertThrows(
        refused,
        TypeError,
        /^Expected an object or JSON text for the scheduler configuration but received text/,
      );
    });
    continue;
  }
  const own = String(config!._class_name ?? 'no class');
  test(`${id}, ${own}: ${Object.keys(classes).length} classes`, () => {
    for (const [name, { runs, overrides }] of Object.entries(classes)) {
      const Class = CLASSES.get(SAME[name] ?? name)!;
      if (karrasFlow(name, config!)) {
        for (const steps of Object.keys(runs)) followKarras(config!, overrides, Number(steps));
        continue;
      }
      for (const [steps, place] of Object.entries(runs)) {
        const expected = file.results[place];
        const s = Class.fromConfig(config!, overrides);
        s.setTimesteps({ steps: Number(steps), ...(expected.mu === undefined ? {} : { mu: expected.mu }) });
        follow(s, expected, name, `${name}, ${steps} steps`);
      }
    }
  });
}

test('all that is golden has been run', () => {
  const entries = file.cases.flatMap(({ classes = {} }) => Object.keys(classes));
  assert.is(file.cases.length, 188);
  assert.is(entries.length, 855);
  const placed = file.cases.filter(({ config, classes = {} }) =>
    Object.keys(classes).some((name) => karrasFlow(name, config!)),
  );
  assert.equal(
    placed.map(({ id }) => id),
    ['D071', 'D081'],
  );
});

test.run();
