// The supply chain: exact versions, no scripts on the machine of those who install, and a reason for each dependency.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

interface Locked {
  version: string;
  integrity?: string;
  dev?: boolean;
  devOptional?: boolean;
  peer?: boolean;
  optional?: boolean;
  hasInstallScript?: boolean;
  link?: boolean;
}

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../${name}`, import.meta.url)), 'utf8');
const manifest = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
const page = read('docs/dependencies.md');
const direct = { ...manifest.dependencies, ...manifest.devDependencies };
const test = suite('dependencies');

test('versions are exact, in package.json and in the lock file', () => {
  for (const [name, version] of Object.entries(direct)) {
    // Another version of a package that is there already has a name of its own.
    const exact = /^(?:npm:(?:@[\w-]+\/)?[\w-]+@)?(\d+\.\d+\.\d+)$/.exec(version)?.[1];
    assert.ok(exact, `${name}: ${version}`);
    assert.is(packages[`node_modules/${name}`]?.version, exact, name);
  }
  for (const [path, { integrity }] of Object.entries(packages)) {
    if (path !== '') assert.match(integrity ?? '', /^sha512-/, path);
  }
});

test('each has its reason in docs/dependencies.md, and no other is there', () => {
  const sections = page.split('\n## ');
  for (const [kind, title] of [
    ['dependencies', 'Of the package'],
    ['devDependencies', 'Of development'],
  ] as const) {
    const text = sections.find((section) => section.startsWith(`${title}\n`)) ?? '';
    const rows = text.split('\n').filter((line) => line.startsWith('| `'));
    const named = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    assert.equal(named.sort(), Object.keys(manifest[kind]).sort(), kind);
  }
});

test('nothing that users install runs a script', () => {
  const installed = Object.entries(packages).filter(
    ([path, { dev, devOptional, optional, peer }]) => path !== '' && !dev && !devOptional && !optional && !peer,
  );
  assert.ok(installed.length >= Object.keys(manifest.dependencies).length);
  for (const [path, { hasInstallScript }] of installed) assert.not.ok(hasInstallScript, path);
});

test('they are few', () => {
  const own = Object.entries(packages).filter(
    ([path, { dev, devOptional, peer }]) => path !== '' && !dev && !devOptional && !peer,
  );
  assert.ok(own.length <= 20, `${own.length} packages: ${own.map(([path]) => path).join(', ')}`);
});

test.run();
