// The table of keys and classes does what it says, in both entries: a scheduler class made of a configuration, and the
// pipeline of a folder that has it.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CLASSES, KEYS, type KeyRule, type NetworkKind, type Settings } from '../../lib/folder/scheduler-keys.js';
import {
  DDIMScheduler,
  DPMSolverMultistepScheduler,
  EDMDPMSolverMultistepScheduler,
} from '../../lib/schedulers/index.js';
import { readScheduler } from '../../lib/schedulers/network.js';
import { assertThrows, warnings } from '../support.js';

const keys = suite('keys of scheduler_config.json');
const names = Object.keys(KEYS);
const by = (is: KeyRule['inClass']['is']) => names.filter((key) => KEYS[key].inClass.is === is);

keys('class: what is heeded has a standard that its own check takes, and refuses what is nothing', () => {
  for (const key of by('heeded')) {
    const { inClass } = KEYS[key];
    if (inClass.is !== 'heeded') continue;
    inClass.check(inClass.standard, key);
    // A key of distilled networks alone says by itself that the class cannot follow.
    const foreign = key === 'original_inference_steps' ? 'one of LCMScheduler: its network' : `for ${key}`;
    for (const wrong of [{ some: 'object' }, Symbol('one')]) {
      assertThrows(() => DPMSolverMultistepScheduler.fromConfig({ [key]: wrong }), TypeError, new RegExp(foreign));
    }
    // null is the standard, or the class's own.
    const { config } = DPMSolverMultistepScheduler.fromConfig({ [key]: null });
    const own = DPMSolverMultistepScheduler.rules.defaults[key as keyof Settings];
    assert.equal(config[key], own ?? inClass.standard, key);
  }
});

keys('class: what is kept stays in the configuration, and nobody is warned', async () => {
  const kept = by('kept').filter((key) => !key.startsWith('_'));
  assert.ok(kept.length > 8);
  const seen = await warnings(() => {
    for (const key of kept) {
      const value = { some: 'object' };
      assert.is(DPMSolverMultistepScheduler.fromConfig({ [key]: value }).config[key], value);
    }
  });
  assert.equal(seen, []);
});

keys('class: what is refused is, for the reason that the table gives', () => {
  assert.equal(by('refused'), ['solver_p', 'fixed_step_sampler_config']);
  for (const key of by('refused')) {
    const make = (value: unknown) => DPMSolverMultistepScheduler.fromConfig({ [key]: value });
    assertThrows(
      () => make({ t_list: [1, 0] }),
      TypeError,
      new RegExp(`null for ${key} of DPMSolverMultistepScheduler`),
    );
    assert.is(make(null).config[key], null);
  }
});

keys('classes: each kind of network goes where the table says, and an unknown class nowhere in silence', () => {
  const takes = (call: () => unknown): boolean => {
    try {
      call();
      return true;
    } catch (error) {
      assert.match((error as Error).message, /^(?:x\.json: )?Expected the configuration of a scheduler/);
      return false;
    }
  };
  const expected: Record<NetworkKind, [multistep: boolean, ddim: boolean, edm: boolean, folder: boolean]> = {
    noise: [true, true, false, true],
    flow: [true, false, false, true],
    edm: [false, false, true, false],
    cosine: [false, false, false, false],
    cogvideox: [false, false, false, false],
    ipndm: [false, false, false, false],
    consistency: [false, false, false, false],
    minimax: [false, false, false, false],
  };
  const kinds = new Set([...CLASSES.values()].map(({ network }) => network));
  assert.equal([...kinds].sort(), Object.keys(expected).sort());
  for (const [name, { network, distilled }] of CLASSES) {
    for (const _class_name of [name, `Flax${name}`]) {
      const config = { _class_name };
      assert.equal(
        [
          takes(() => DPMSolverMultistepScheduler.fromConfig(config)),
          takes(() => DDIMScheduler.fromConfig(config)),
          takes(() => EDMDPMSolverMultistepScheduler.fromConfig(config)),
          takes(() => readScheduler(config, 'x.json').training) && !readScheduler(config, 'x.json').refusal,
        ],
        distilled ? [false, false, false, false] : expected[network],
        _class_name,
      );
    }
  }
  assert.not.ok(takes(() => DPMSolverMultistepScheduler.fromConfig({ _class_name: 'constructor' })));
});

keys.run();
