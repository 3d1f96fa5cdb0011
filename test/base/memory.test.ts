// How much memory is left, by what the kernel says in its files: trees of them, as machines and containers have them.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { freemem, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { availableMemory } from '../../lib/base/memory.js';

const test = suite('memory');
const roots: string[] = [];
test.after(() => {
  for (const root of roots) rmSync(root, { recursive: true });
});

const MIB = 2 ** 20;

function tree(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'dpm-solver-memory-'));
  roots.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const machine = {
  'proc/meminfo': 'MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n',
};

test('is what the machine has where nothing else limits it', () => {
  assert.equal(availableMemory(tree(machine)), { bytes: 8 * 2 ** 30, by: 'machine' });
});

test('is some of this machine', () => {
  const { bytes } = availableMemory();
  assert.ok(bytes > 0 && bytes <= totalmem());
  // Files that are cached count as free: at least half of what is free in the narrow sense, unless a group or limit says less.
  if (availableMemory().by === 'machine') assert.ok(bytes > freemem() / 2);
});

const group = {
  'sys/fs/cgroup/docker/box/memory.max': `${2048 * MIB}\n`,
  'sys/fs/cgroup/docker/box/memory.current': `${1800 * MIB}\n`,
  'sys/fs/cgroup/docker/box/memory.stat': `anon ${300 * MIB}\nfile ${1500 * MIB}\ninactive_file ${1000 * MIB}\nactive_file ${400 * MIB}\n`,
};

test('counts what files are cached in as free in a control group', () => {
  const root = tree({ ...machine, ...group, 'proc/self/cgroup': '0::/docker/box\n' });
  assert.equal(availableMemory(root), { bytes: (2048 - 1800 + 1400) * MIB, by: 'group' });
});

test('takes the narrowest of the groups above', () => {
  const root = tree({
    ...machine,
    ...group,
    'sys/fs/cgroup/docker/memory.max': `${1000 * MIB}\n`,
    'sys/fs/cgroup/docker/memory.current': `${900 * MIB}\n`,
    'sys/fs/cgroup/docker/memory.stat': '',
    'proc/self/cgroup': '0::/docker/box\n',
  });
  assert.equal(availableMemory(root), { bytes: 100 * MIB, by: 'group' });
});

test('finds the group at the root, as a container sees it', () => {
  const root = tree({
    ...machine,
    'sys/fs/cgroup/memory.max': `${512 * MIB}\n`,
    'sys/fs/cgroup/memory.current': `${12 * MIB}\n`,
    'proc/self/cgroup': '0::/../elsewhere\n',
  });
  assert.equal(availableMemory(root), { bytes: 500 * MIB, by: 'group' });
});

test('knows the first version of control groups, and groups without a limit', () => {
  const first = (limit: string) =>
    tree({
      ...machine,
      'sys/fs/cgroup/memory/box/memory.limit_in_bytes': `${limit}\n`,
      'sys/fs/cgroup/memory/box/memory.usage_in_bytes': `${700 * MIB}\n`,
      'sys/fs/cgroup/memory/box/memory.stat': `inactive_file ${1 * MIB}\ntotal_inactive_file ${100 * MIB}\n`,
      'proc/self/cgroup': '12:cpu,cpuacct:/box\n5:memory:/box\n1:name=systemd:/box\n',
    });
  assert.equal(availableMemory(first(String(1024 * MIB))), { bytes: 424 * MIB, by: 'group' });
  assert.is(availableMemory(first('9223372036854771712')).by, 'machine');
  const none = {
    'sys/fs/cgroup/memory.max': 'max\n',
    'sys/fs/cgroup/memory.current': '5\n',
    'proc/self/cgroup': '0::/\n',
  };
  assert.is(availableMemory(tree({ ...machine, ...none })).by, 'machine');
});

test('knows what ulimit -v leaves', () => {
  const root = tree({
    ...machine,
    'proc/self/limits':
      'Limit                     Soft Limit           Hard Limit           Units     \nMax address space         4294967296           unlimited            bytes     \n',
    'proc/self/status': 'Name:\tnode\nVmPeak:\t 3145728 kB\nVmSize:\t 1048576 kB\n',
  });
  assert.equal(availableMemory(root), { bytes: 3 * 2 ** 30, by: 'limit' });
});

test.run();
