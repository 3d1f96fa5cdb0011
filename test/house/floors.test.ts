// lib is a house: a file imports from its own room or from floors below, and there are no circles.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOMS, type Room } from './floors.js';
import { importsOf, problemsOf, readImports, roomOf } from './imports.js';

const house = suite('house');
const lib = fileURLToPath(new URL('../../lib', import.meta.url));
const imports = readImports(lib);

house('no arrow leads upwards or to a neighbour, and none in a circle', () => {
  const problems = problemsOf(imports, ROOMS);
  assert.is(problems.length, 0, problems.join('\n'));
});

house('every room has a file in it', () => {
  const used = new Set([...imports.keys()].map((file) => roomOf(file, ROOMS)));
  assert.equal(
    ROOMS.filter((room) => !used.has(room)),
    [],
  );
});

house('public entries only re-export', () => {
  const entries = [...imports.keys()].filter(
    (file) => /^(?:[^/]+\/)?index\.ts$/.test(file) || roomOf(file, ROOMS)!.floor === 8,
  );
  assert.ok(entries.length >= 7, entries.join());
  for (const file of entries) {
    const { statements } = ts.createSourceFile(file, readFileSync(join(lib, file), 'utf8'), ts.ScriptTarget.Latest);
    for (const statement of statements) {
      assert.ok(ts.isExportDeclaration(statement) && statement.moduleSpecifier, `lib/${file} does more than re-export`);
    }
  }
});

house('what is read: every form of import, types too, and nothing else', () => {
  const text = `
    import type { A } from '../base/a.js';
    import { type B } from '../base/b.js';
    import '../base/c.js';
    export * from './d.js';
    export type { E } from './e.js';
    const f = await import('./f.js');
    type G = typeof import('./g.js');
    import fs from 'node:fs';
    // import '../base/h.js';
    const i = "import '../base/i.js'";`;
  const expected = ['base/a.ts', 'base/b.ts', 'base/c.ts', 'room/d.ts', 'room/e.ts', 'room/f.ts', 'room/g.ts'];
  assert.equal(importsOf('room/file.ts', text), expected);
});

const rooms: readonly Room[] = [
  { path: 'top/', floor: 2, knows: '' },
  { path: 'left/', floor: 1, knows: '', without: ['low/'] },
  { path: 'right/', floor: 1, knows: '' },
  { path: 'low/', floor: 0, knows: '' },
];

house('a house that stands has no problems', () => {
  const good = {
    'top/a.ts': ['left/a.ts', 'low/a.ts', 'top/b.ts'],
    'top/b.ts': ['right/a.ts'],
    'right/a.ts': ['low/a.ts'],
  };
  const files = new Map<string, string[]>([...Object.entries(good), ['left/a.ts', []], ['low/a.ts', []]]);
  assert.equal(problemsOf(files, rooms), []);
});

for (const [what, file, target, expected] of [
  [
    'upwards',
    'left/a.ts',
    'top/a.ts',
    'lib/left/a.ts (floor 1) imports lib/top/a.ts (floor 2): a file imports from its own room or from floors below',
  ],
  [
    'to a neighbour',
    'left/a.ts',
    'right/a.ts',
    'lib/left/a.ts (floor 1) imports lib/right/a.ts (floor 1): a file imports from its own room or from floors below',
  ],
  [
    'to a room that it does without',
    'left/a.ts',
    'low/a.ts',
    'lib/left/a.ts (floor 1) imports lib/low/a.ts (floor 0): left/ does without low/',
  ],
  ['to nothing', 'left/a.ts', 'left/b.ts', 'lib/left/a.ts imports lib/left/b.ts, which is not there'],
  ['from outside', 'loose.ts', 'low/a.ts', 'lib/loose.ts is in no room of test/house/floors.ts'],
] as const) {
  house(`an arrow ${what} is told in one sentence`, () => {
    const files = new Map([[file as string, [target as string]]]);
    if (what !== 'to nothing') files.set(target, []);
    assert.equal(problemsOf(files, rooms), [expected]);
  });
}

house('a circle is told once, from wherever it is found', () => {
  const files = new Map([
    ['low/a.ts', ['low/b.ts']],
    ['low/b.ts', ['low/c.ts']],
    ['low/c.ts', ['low/b.ts']],
    ['low/d.ts', ['low/b.ts']],
  ]);
  assert.equal(problemsOf(files, rooms), ['lib/low/b.ts -> lib/low/c.ts -> lib/low/b.ts is a circle']);
});

house.run();
