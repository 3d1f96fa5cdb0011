// The runner itself: what uvu would let pass has to fail, and the last line has to tell.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('..', import.meta.url));
const harness = suite('harness');

interface Expected {
  last: string;
  status?: number;
  output?: RegExp;
  env?: Record<string, string>;
}

/** Runs test/run.ts on fixtures and looks at its exit status, its last line and the rest of its output. */
function expectRun(fixtures: string[], { last, status = 1, output, env = {} }: Expected): void {
  const files = fixtures.map((name) => `test/fixtures/harness/${name}.ts`);
  const run = spawnSync(process.execPath, ['--import', 'tsx', 'test/run.ts', ...files], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, CI: '', FORCE_COLOR: '0', NODE_V8_COVERAGE: '', ...env },
  });
  const lines = run.stdout.trimEnd().split('\n');
  assert.is(lines.at(-1), last, run.stdout);
  assert.is(run.status, status, run.stdout);
  if (output) assert.match(run.stdout, output);
}

function expectFailure(fixture: string, expected: Expected): void {
  harness(`fails on ${fixture}`, () => expectRun([fixture], expected));
}

const short = { DPM_SOLVER_TEST_TIMEOUT: '2' };

harness('passes a well-behaved file', () => {
  expectRun(['good'], { status: 0, last: '3 passed, 0 failed, 1 skipped' });
});
expectFailure('failing', { last: '1 passed, 1 failed', output: /FAIL {2}"fails"/ });
expectFailure('hook-before', { last: '0 passed, 2 failed', output: /test\.before threw Error: the hook broke/ });
expectFailure('hook-before-each', { last: '0 passed, 2 failed', output: /the hook broke/ });
expectFailure('hook-after', { last: '2 passed, 1 failed', output: /test\.after threw Error: the hook broke/ });
expectFailure('hook-after-each', { last: '0 passed, 2 failed', output: /test\.after\.each threw Error/ });
expectFailure('rejection-undefined', { last: '2 passed, 1 failed', output: /threw undefined, which is no Error/ });
expectFailure('forgotten-run', { last: '1 passed, 1 failed', output: /forgotten\.run\(\) was forgotten/ });
expectFailure('late-run', { last: '1 passed, 2 failed', output: /test\.run\(\) was called after the file had ended/ });
expectFailure('empty', { last: '0 passed, 1 failed', output: /the file has no tests/ });
expectFailure('no-tests-run', { last: '0 passed, 1 failed', output: /a suite without tests was run/ });
expectFailure('throws-on-load', { last: '0 passed, 1 failed', output: /the file broke/ });
expectFailure('uncaught', { last: '0 passed, 1 failed', output: /nobody catches this.*"lets a timer throw"/s });
expectFailure('unhandled-rejection', { last: '1 passed, 1 failed', output: /nobody awaits this/ });
expectFailure('early-exit', { last: '0 passed, 1 failed', output: /ended with code 0 .* in the test "leaves"/ });
expectFailure('exit-on-load', {
  last: '0 passed, 1 failed',
  output: /ended with code 0 before its tests were through/,
});
expectFailure('never-settles', { last: '0 passed, 1 failed', output: /in the test "waits for nothing"/ });
expectFailure('hang', { last: '0 passed, 1 failed', output: /took longer than the limit of 2 s/, env: short });
expectFailure('busy-loop', { last: '0 passed, 1 failed', output: /took longer than the limit of 2 s/, env: short });
if (process.platform !== 'win32') {
  expectFailure('crash', { last: '0 passed, 1 failed', output: /ended with SIGSEGV .* in the test "dies"/ });
}

harness('fails on a process that lives on after its tests', () => {
  expectRun(['leaked-timer'], {
    last: '1 passed, 1 failed',
    output: /something kept the process alive/,
    env: { DPM_SOLVER_TEST_TIMEOUT: '5' },
  });
});

harness('lets test.only pass on the desk and fail in CI', () => {
  expectRun(['only'], { status: 0, last: '1 passed, 0 failed, 1 skipped' });
  expectRun(['only'], { last: '1 passed, 1 failed, 1 skipped', output: /test\.only leaves/, env: { CI: '1' } });
});

harness('adds up the files, and one bad file fails the run', () => {
  expectRun(['good', 'throws-on-load', 'failing'], {
    last: '4 passed, 2 failed, 1 skipped',
    output: /Failed: test\/fixtures\/harness\/failing\.ts, test\/fixtures\/harness\/throws-on-load\.ts/,
  });
});

harness('fails where no file matches', () => {
  expectRun(['no such fixture'], { last: '0 passed, 0 failed', output: /No test file matches/ });
});

harness('hands the choice of instruction set on', () => {
  expectRun(['environment'], { status: 0, last: '1 passed, 0 failed', env: { DPM_SOLVER_SIMD: 'sse2' } });
  expectRun(['environment'], { last: '0 passed, 1 failed', env: { DPM_SOLVER_SIMD: '' } });
});

harness.run();
