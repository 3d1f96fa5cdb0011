// npm run pack:gpu: all that test:gpu and bench:gpu need, in one folder that runs on a machine with a card but without
// network, npm or Node: Node itself (compressed), the built addon, the sources of the CUDA library, tests and benchmark as
// JavaScript. There: sh run.sh [options of bench/gpu/bench.ts], or sh run.sh test [--sanitize]. Needed there: nvcc with a host compiler, gzip; PyTorch for
// the comparison.
// Usage: node scripts/pack-gpu.mjs [--out FOLDER] [--with-library]; --with-library takes the built CUDA library along
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'build/gpu') },
    'with-library': { type: 'boolean', default: false },
  },
});
const { out } = options;
rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, 'build/Release'), { recursive: true });

// TypeScript file by file, so that everything lies beside everything else as it does here.
const sources = ['lib', 'test/cuda', 'test/engines/cuda', 'bench/gpu'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(root, folder, file)),
);
sources.push(join(root, 'test/support.ts'), join(root, 'bench/machine.ts'));
await build({ entryPoints: sources, outbase: root, outdir: out, format: 'esm', target: 'node20', logLevel: 'warning' });
for (const path of ['native', 'scripts', 'package.json', 'bench/gpu/eager.py', 'test/cuda/emulation']) {
  cpSync(join(root, path), join(out, path), { recursive: true });
}
for (const name of modules(['uvu', 'fast-check', 'node-gyp-build'])) {
  cpSync(join(root, 'node_modules', name), join(out, 'node_modules', name), { recursive: true, dereference: true });
}
cpSync(join(root, 'build/Release/dpm-solver.node'), join(out, 'build/Release/dpm-solver.node'));
const library = join(root, 'build/Release/dpm-solver-cuda.so');
if (options['with-library']) {
  if (!existsSync(library))
    throw new Error(`Expected ${library} for --with-library but found none: npm run build:cuda`);
  cpSync(library, join(out, 'build/Release/dpm-solver-cuda.so'));
}
writeFileSync(join(out, 'node.gz'), gzipSync(readFileSync(process.execPath), { level: 9 }));
writeFileSync(
  join(out, 'run.sh'),
  `#!/bin/sh
# Builds the CUDA library for the card of this machine, tests it on the card, times it. Results: $OUT, or bench/results here.
set -e
cd "$(dirname "$0")"
if [ ! -x bin/node ]; then
  mkdir -p bin
  gzip -dc node.gz > bin/node
  chmod +x bin/node
fi
PATH="$PWD/bin:$PATH:/usr/local/cuda/bin"
export PATH
if [ "$1" = test ]; then
  shift
  exec node scripts/test-gpu.mjs "$@"
fi
exec node bench/gpu/bench.js "$@"
`,
);
const bytes = size(out);
console.log(`pack-gpu: ${out}, ${(bytes / 2 ** 20).toFixed(1)} MiB`);

/** Packages with all that they depend on. */
function modules(names) {
  const all = new Set();
  for (const queue = [...names]; queue.length > 0; ) {
    const name = queue.pop();
    if (all.has(name)) continue;
    all.add(name);
    const { dependencies = {} } = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'));
    queue.push(...Object.keys(dependencies));
  }
  return all;
}

function size(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => statSync(join(folder, file)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}
