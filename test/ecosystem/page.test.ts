// docs/bundlers.md says what the projects beside this file are: their versions, and lines of their configuration.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const here = fileURLToPath(new URL('.', import.meta.url));
const page = readFileSync(join(here, '../../docs/bundlers.md'), 'utf8');
const projects = readdirSync(here).filter((name) => existsSync(join(here, name, 'check.ts')));
const test = suite('bundlers.md');

test('names every package of a project with its exact version', () => {
  assert.ok(projects.length >= 7, projects.join());
  for (const project of projects) {
    const manifest = JSON.parse(readFileSync(join(here, project, 'package.json'), 'utf8'));
    const { dependencies, devDependencies, packageManager } = manifest;
    const versions = Object.entries<string>({ ...dependencies, ...devDependencies });
    if (packageManager) versions.push(packageManager.split('@'));
    assert.ok(versions.length > 0, project);
    for (const [name, version] of versions) {
      const exact = /^(?:npm:[@\w/-]+@)?(\d+\.\d+\.\d+)$/.exec(version)?.[1];
      assert.ok(exact, `${project}: ${name} ${version}`);
      // What only helps along has no row of its own.
      if (/^@rollup\/|-cli$/.test(name)) continue;
      assert.ok(page.includes(`${name} ${exact}`), `${project}: ${name} ${exact} is not in docs/bundlers.md`);
    }
  }
});

test('shows lines that are in the projects', () => {
  const blocks = [...page.matchAll(/<!-- file: (\S+) -->\n```\w+\n([\s\S]*?)```/g)];
  assert.ok(blocks.length >= 5, `${blocks.length} blocks`);
  for (const [, file, text] of blocks) {
    assert.ok(readFileSync(join(here, file), 'utf8').includes(text), `${file} does not have\n${text}`);
  }
});

test.run();
