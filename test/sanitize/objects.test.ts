// What the sanitizers and the fuzzers compile is what the addon is made of.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ISA_FLAGS, sources } from '../../scripts/native-objects.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cmake = readFileSync(`${root}CMakeLists.txt`, 'utf8');
const test = suite('what is sanitized');

test('has the folders of CMakeLists.txt, and every file in them that this processor has a use for', () => {
  const folders = [...cmake.matchAll(/native\/(\w+)\/\*\.cpp/g)].map(([, name]) => name);
  assert.ok(folders.length >= 4);
  for (const script of ['sanitize', 'native-sources']) {
    const named = /\[([^\]]*'coefficients'[^\]]*)\]/.exec(readFileSync(`${root}scripts/${script}.mjs`, 'utf8'))![1];
    assert.equal([...named.matchAll(/'(\w+)'/g)].map(([, name]) => name).sort(), [...folders].sort(), script);
  }
  const [x86, arm] = [...cmake.matchAll(/set\(DPM_ISAS ([^)]+)\)/g)].map(([, names]) => names.split(' '));
  const sets = process.arch === 'x64' ? x86 : arm;
  assert.equal(Object.keys(ISA_FLAGS).sort(), [...sets].sort());
  const files = folders.flatMap((folder) =>
    readdirSync(`${root}native/${folder}`, { recursive: true, encoding: 'utf8' }).map(
      (file) => `native/${folder}/${file}`,
    ),
  );
  const wanted = files.filter((file) => {
    const set = /isa_(\w+)\.cpp$/.exec(file)?.[1];
    return file.endsWith('.cpp') && (set === undefined || sets.includes(set));
  });
  assert.equal(sources(folders).sort(), wanted.sort());
});

test('compiles each instruction set with the flags of the release build', () => {
  for (const [name, flags] of Object.entries(ISA_FLAGS)) {
    const own = new RegExp(`isa_${name}\\.cpp PROPERTIES COMPILE_OPTIONS\\s+"(-[^"]+)"`).exec(cmake)?.[1].split(';');
    assert.equal(flags, own ?? [], name);
  }
});

test.run();
