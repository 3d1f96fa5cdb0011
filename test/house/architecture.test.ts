// docs/architecture.md names a file and its functions for each station on the way of a latent: they are there.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const architecture = suite('architecture');
const page = fileURLToPath(new URL('../../docs/architecture.md', import.meta.url));

interface Station {
  file: string;
  functions: string[];
}

/** The rows of the table between the markers. */
function stations(text: string): Station[] {
  const [, table] = /<!-- way -->\n([\s\S]*?)<!-- \/way -->/.exec(text)!;
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((row) => {
      const [, , , link, names] = row.split('|');
      const [, label, target] = /\[(.+)\]\((.+)\)/.exec(link)!;
      assert.ok(target.endsWith(`/${label}`), `${label} leads to ${target}`);
      return {
        file: join(dirname(page), target),
        functions: [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name),
      };
    });
}

/** Functions, classes and `Class.method` that a TypeScript file declares. */
function declaredInTypeScript(file: string, text: string): Set<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if ((ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) && node.name) names.add(node.name.text);
    if (ts.isMethodDeclaration(node) && ts.isClassDeclaration(node.parent) && ts.isIdentifier(node.name)) {
      names.add(`${node.parent.name?.text}.${node.name.text}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return names;
}

function isDeclared(file: string, text: string, name: string): boolean {
  if (file.endsWith('.ts')) return declaredInTypeScript(file, text).has(name);
  // What C++ defines begins at the start of a line.
  return new RegExp(`^[A-Za-z_][^;\\n]*\\b${name}\\(`, 'm').test(text);
}

architecture('every station has its file, and the file the functions', () => {
  const found = stations(readFileSync(page, 'utf8'));
  assert.ok(found.length > 20, `${found.length} stations`);
  for (const { file, functions } of found) {
    assert.ok(functions.length > 0, file);
    const text = readFileSync(file, 'utf8');
    for (const name of functions) assert.ok(isDeclared(file, text, name), `${file} declares no ${name}`);
  }
});

architecture('a function that is not there is noticed', () => {
  const text = 'class A { run() { other(); } }\nfunction work() {}\nconst own = 1;';
  assert.equal(
    ['A', 'A.run', 'work', 'other', 'run', 'A.other'].map((name) => isDeclared('a.ts', text, name)),
    [true, true, true, false, false, false],
  );
  const native = 'int64_t Step(const Call& c) {\n  return Other(c);\n}\n// Third(';
  assert.equal(
    ['Step', 'Other', 'Third'].map((name) => isDeclared('a.cpp', native, name)),
    [true, false, false],
  );
});

architecture.run();
