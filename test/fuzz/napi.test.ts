// The addon's functions with any value in any place: cases that were found, then some new ones every time; and threads
// that change what the addon reads, or are ended while it runs.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inChild } from '../native/children.js';
import { attempt, type Call, FUNCTIONS, fuzz } from './napi.js';

const none = { is: 'value', value: undefined } as const;
const number = (value: number) => ({ is: 'value', value }) as const;
const view = (kind: 'Float16Array' | 'Float64Array' | 'Uint32Array', length: number, memory: number) =>
  ({ is: 'view', kind, memory, at: 0, length, state: 'plain' }) as const;
const call = (name: string, ...args: Call['args']): Call => ({ name, args, self: none, construct: false });

/** What was wrong with it. */
const FOUND: Record<string, Call> = {
  'a number of 300 digits in the message': call('uniPCRow', view('Float64Array', 64, 7), number(1e254)),
  'all of a long string in the message': call('elementary', { is: 'odd', which: 'a long string' }),
  // On Node versions that have Float16Array and whose Node-API does not know it: written to as if twice as long.
  'a Float16Array taken for a Float32Array': call(
    'torchRandn',
    view('Uint32Array', 628, 7),
    view('Float16Array', 40, 1),
  ),
  'a Float16Array taken for anything': call('philoxBlock', view('Float16Array', 4, 0), number(1), number(1)),
};

for (const [what, found] of Object.entries(FOUND)) {
  test(`1 found: ${what}`, () => {
    assert.is(attempt(found).wrong, null);
    assert.is(attempt(found).taken, false);
  });
}

test('2 any value in any place: refused in one sentence or taken, nothing half-written, no code of the caller run', () => {
  const counts = fuzz({ calls: 8_000 });
  // A check that never lets a call through, or always does, would prove nothing.
  assert.is(counts.size, FUNCTIONS.length);
  for (const name of ['step', 'quantile', 'errorNorm', 'convert', 'torchRandn', 'philoxRandn', 'updateRow']) {
    const [taken, refused] = counts.get(name)!;
    assert.ok(taken > 10 && refused > 10, `${name}: ${taken} taken, ${refused} refused`);
  }
});

/** A child that has to end well by itself, without a word on stderr. */
async function child(name: string, ...args: string[]): Promise<string> {
  const { code, signal, output, errors } = await inChild(new URL(`./children/${name}.ts`, import.meta.url), { args });
  assert.is(signal, null, errors);
  assert.is(code, 0, errors);
  return output;
}

test('3 rows and numbers that another thread changes during the step: the memory beside stays as it was', async () => {
  assert.match(await child('race', '20'), /^\d+ steps\n$/);
});

test('4 worker threads ended at any time: while they load the addon, in its calls, in its errors', async () => {
  assert.is(await child('ended', '24'), 'done\n');
});

test('5 a process that exits, or is told to end, in the middle of runs', async () => {
  assert.is(await child('exits', '8'), 'done\n');
});

test('6 no address space left for threads and working memory: slower or one error, then as before', async () => {
  if (process.platform !== 'linux') return;
  assert.match(await child('full'), /^(done|skipped: .+)\n$/);
});

test.run();
