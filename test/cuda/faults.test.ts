// The faults that `npm run test:mutations` plants: each text is in its file once, so that what is planted is what its name
// says. Planting them takes an hour, and a text that has gone is to be noticed with the change that took it.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { faults } from './mutations/faults.js';

test('every text that a fault replaces is in its file once', () => {
  for (const { name, file, find, replace } of faults) {
    const source = readFileSync(new URL(`../../native/cuda/${file}`, import.meta.url), 'utf8');
    assert.is(source.split(find).length - 1, 1, `${name}: '${find}' in ${file}`);
    assert.is.not(find, replace, name);
  }
});

test('no two faults have one name', () => {
  const names = faults.map(({ name }) => name);
  assert.equal([...new Set(names)], names);
});

test.run();
