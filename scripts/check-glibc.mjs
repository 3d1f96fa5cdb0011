// Fails when a shared object needs newer system libraries than the oldest that Node's own binaries support:
// glibc 2.28 and GCC 8's libstdc++ (RHEL 8, Debian 10). Usage: node scripts/check-glibc.mjs [file...]
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const limits = { GLIBC: [2, 28], GLIBCXX: [3, 4, 25], CXXABI: [1, 3, 11] };

const files = process.argv.slice(2);
if (files.length === 0) files.push('build/Release/dpm-solver.node');

if (process.platform !== 'linux') {
  console.log('check-glibc: nothing to check on this platform');
  process.exit(0);
}

let failed = false;
for (const file of files) {
  const { status, stdout, stderr, error } = spawnSync(objdump(file), ['-T', file], { encoding: 'utf8' });
  if (status !== 0) {
    console.error(`check-glibc: ${error?.message ?? stderr.trim()}`);
    process.exit(1);
  }
  const newest = {};
  for (const line of stdout.split('\n')) {
    const match = /\*UND\*.*\((GLIBC|GLIBCXX|CXXABI)_([\d.]+)\)\s+(\S+)/.exec(line);
    if (!match) continue;
    const [, library, text, symbol] = match;
    const version = text.split('.').map(Number);
    if (!newest[library] || compare(version, newest[library]) > 0) newest[library] = version;
    if (compare(version, limits[library]) <= 0) continue;
    failed = true;
    console.error(`${file}: ${symbol} needs ${library}_${text}, the limit is ${library}_${limits[library].join('.')}`);
  }
  const found = Object.entries(newest).map(([library, version]) => `${library}_${version.join('.')}`);
  console.log(`${file}: needs at most ${found.sort().join(', ') || 'no versioned symbol'}`);
}
if (failed) {
  console.error('Avoid these functions, or ask for their old versions in native/compat/glibc.h.');
  process.exit(1);
}

/** Debian's objdump knows its own machine; cross compilers come with one for theirs. */
function objdump(file) {
  const EM_AARCH64 = 183;
  const foreign = process.arch !== 'arm64' && readFileSync(file).readUInt16LE(18) === EM_AARCH64;
  return foreign ? 'aarch64-linux-gnu-objdump' : 'objdump';
}

function compare(a, b) {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
