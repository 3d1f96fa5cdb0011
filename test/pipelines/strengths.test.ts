// From a picture: as many evaluations as diffusers' pipelines make of every scheduler, number of steps and strength, and from
// the same timestep on (test/fixtures/strengths.py). What a network is fed is looked at, and the network itself is not run.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline, type Image } from '../../lib/pipelines/index.js';
import { knownClass } from '../../lib/schedulers/from-config.js';
import type { DDIMScheduler, SchedulerConfig } from '../../lib/schedulers/index.js';
import { golden } from '../support.js';
import { askOnce, heard, listen } from './heard.js';
import { changed, layout, removeCopies } from './models.js';

type Left = [evaluations: number, first: number | null];
const { steps, strengths, cases } = golden<{
  steps: number[];
  strengths: number[];
  cases: { class: string; pipeline: 'sd' | 'sd3' | 'flux'; config: SchedulerConfig; runs: (Left[] | null)[] }[];
}>('strengths');

const test = suite('strengths');
const pipes = new Map<string, Promise<DiffusionPipeline>>();
const load = (name: 'sd' | 'sd3' | 'flux'): Promise<DiffusionPipeline> => {
  const known = pipes.get(name) ?? DiffusionPipeline.fromPretrained(changed(() => undefined, layout(name)));
  pipes.set(name, known);
  return known;
};

test.before(() => {
  listen(false);
  askOnce();
});
test.after(async () => {
  for (const pipe of pipes.values()) await (await pipe).dispose();
  removeCopies();
});

let compared = 0;
for (const { class: name, pipeline, config, runs } of cases) {
  const told = pipeline === 'sd' ? `, ${config.timestep_spacing}` : `, shift ${config.shift}`;
  test(`${name}${told}, by the pipeline of ${pipeline}`, async () => {
    const pipe = await load(pipeline);
    const side = pipe.defaults.multiple;
    const image: Image = { width: side, height: side, data: new Uint8Array(3 * side * side) };
    const scheduler = (knownClass(name) as unknown as typeof DDIMScheduler).fromConfig(config);
    for (const [i, n] of steps.entries()) {
      for (const [k, strength] of strengths.entries()) {
        const expected = runs[i]?.[k];
        if (!expected) continue;
        heard();
        const { nfe } = await pipe({ prompt: 'red', guidance: 1, image, steps: n, strength, seed: 0, scheduler });
        const all = heard();
        const what = `${n} steps, strength ${strength}`;
        // Where no step is left diffusers makes an error of it, or PNDM's last evaluation; here one step is made.
        if (Math.trunc(n * strength) === 0 && pipeline === 'sd') {
          assert.ok(nfe === 1 || nfe === 2, `${what}: ${nfe}`);
          continue;
        }
        assert.is(nfe, expected[0], what);
        const first = expected[1] as number;
        const unit = pipeline === 'flux' ? 1000 : 1;
        assert.ok(Math.abs(unit * all[0] - first) < 1 + 1e-6 * first, `${what}: ${all[0]} and not ${first}`);
        compared++;
      }
    }
  });
}

test('all of the table was compared', () => {
  assert.ok(compared > 4700, `${compared}`);
});

test.run();
