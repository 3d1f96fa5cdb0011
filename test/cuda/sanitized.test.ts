import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildFakeLibrary, compiler } from './emulation/build.js';

// The tests of lib/cuda and of DPMSolver on an emulated card once more, with the emulated card under AddressSanitizer: all
// kernels, their launches in graphs, and the memory that is freed while something that was queued may still want it.
const sanitized = suite('the emulated CUDA card under AddressSanitizer');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-sanitized-'));
const library = join(folder, 'emulated.so');
const cxx = compiler();
const runtime = cxx ? spawnSync(cxx, ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout.trim() : '';
// clang++ answers with the name alone, and Node with another allocator cannot take it.
const able = runtime.startsWith('/');
const test: typeof sanitized = able ? sanitized : (sanitized.skip as typeof sanitized);

sanitized.before(async () => {
  if (able) await buildFakeLibrary(library, ['-fsanitize=address']);
});
sanitized.after(() => rmSync(folder, { recursive: true, force: true }));

for (const name of ['./device', '../engines/cuda/solver']) {
  test(`${name.split('/').at(-1)}.test.ts finds nothing`, () => {
    const file = fileURLToPath(new URL(`${name}.test.ts`, import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, file], {
      encoding: 'utf8',
      env: {
        ...process.env,
        LD_PRELOAD: runtime,
        // Node keeps much until it ends, and fibers have stacks of their own.
        ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1',
        DPM_EMULATED_LIBRARY: library,
        DPM_SOLVER_FEW_CASES: '1',
      },
    });
    assert.is(status, 0, stdout + stderr);
    assert.not.match(stderr, /AddressSanitizer/);
    assert.match(stdout, /\((\d+) \/ \1\)/);
    assert.ok(Number(/Passed: +(\d+)/.exec(stdout)![1]) > 10);
  });
}

sanitized.run();
