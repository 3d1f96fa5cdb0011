// A card for tests of lib/cuda: a real one, or the emulated one in a folder beside a copy of the addon. To be asked
// before the library is first imported.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Callback, Test } from 'uvu';
import { addonPath } from '../../lib/addon/loader.js';
import { buildFakeLibrary, compiler } from './emulation/build.js';

export interface TestCard {
  real: boolean;
  /** Is there any? The emulated one needs a C++ compiler. */
  able: boolean;
  /** To be removed after the tests. */
  folder: string;
}

/** `emulated`: not a real one, even where there is one. */
export async function card(emulated = false): Promise<TestCard> {
  const ask = 'process.exit(require(process.argv[1]).cudaInfo().available ? 0 : 1)';
  const real = !emulated && spawnSync(process.execPath, ['-e', ask, addonPath()]).status === 0;
  if (process.env.DPM_SOLVER_GPU && !real && !emulated) {
    throw new Error('Expected a CUDA card but found none: see cudaInfo().reason');
  }
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-device-'));
  const able = real || compiler() !== null;
  if (!real && able) {
    const release = join(folder, 'build/Release');
    mkdirSync(release, { recursive: true });
    copyFileSync(addonPath(), join(release, 'dpm-solver.node'));
    const library = join(release, 'dpm-solver-cuda.so');
    // One that has been built with sanitizers, say (test/cuda/sanitized.test.ts).
    const built = process.env.DPM_EMULATED_LIBRARY;
    if (built) copyFileSync(built, library);
    else await buildFakeLibrary(library, process.env.DPM_EMULATED_SANITIZE?.split(' '));
    process.env.DPM_SOLVER_PREBUILD = folder;
    process.env.DPM_EMULATED_CARDS = '2';
  }
  return { real, able, folder };
}

/** Tests of a suite, where they are able to run, and by name where only some are asked for (scripts/run-gpu.mjs). */
export function chosen<S extends Test>(suite: S, able: boolean): S {
  const wanted = process.env.DPM_SOLVER_TEST_FILTER;
  if (!able) return suite.skip as S;
  if (!wanted) return suite;
  const test = (name: string, body: Callback) => (name.includes(wanted) ? suite : suite.skip)(name, body);
  return Object.assign(test, suite) as unknown as S;
}

/** What can be had of the first card, which something has been done on. */
export function freeBytes({ devices }: { devices: { free: number | null }[] }): number {
  const free = devices[0]?.free;
  if (typeof free !== 'number') throw new Error('Expected a card that is used but found none');
  return free;
}
