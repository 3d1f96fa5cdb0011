// npm run pack:gpu: all that test:gpu and bench:gpu need, in one folder that runs on a machine with a card but without
// network, npm or Node: Node itself (compressed), the built addon and CUDA library, tests and benchmark as JavaScript.
// There: sh run.sh [options of scripts/run-gpu.mjs]. Needed there: xz or python3; nvcc with a host compiler where no
// library was built here (npm run build:cuda -- --arch 80,90); PyTorch, compute-sanitizer and ncu for what uses them.
// Usage: node scripts/pack-gpu.mjs [--out FOLDER] [--without-node] [--without-library]
//   --without-node      run.sh takes the Node of the machine; --without-library: it is built there
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const MOST_BYTES = 60 * 2 ** 20;
const { values: options } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'build/gpu') },
    'without-node': { type: 'boolean', default: false },
    'without-library': { type: 'boolean', default: false },
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
const carried = !options['without-library'] && existsSync(library);
if (carried) cpSync(library, join(out, 'build/Release/dpm-solver-cuda.so'));
if (!options['without-node']) {
  const { status, stdout, stderr } = spawnSync('xz', ['-9e', '-c', process.execPath], { maxBuffer: MOST_BYTES });
  if (status !== 0) throw new Error(`Expected xz for Node but it ended with ${status}: ${stderr}`);
  writeFileSync(join(out, 'node.xz'), stdout);
}
writeFileSync(
  join(out, 'run.sh'),
  `#!/bin/sh
# Tests and times the CUDA library on the card of this machine: options of scripts/run-gpu.mjs. Results: $OUT, or
# build/gpu-results here.
set -e
cd "$(dirname "$0")"
if [ -e node.xz ] && [ ! -x bin/node ]; then
  mkdir -p bin
  if command -v xz > /dev/null; then
    xz -dc node.xz > bin/node
  else
    python3 -c 'import lzma, shutil; shutil.copyfileobj(lzma.open("node.xz"), open("bin/node", "wb"))'
  fi
  chmod +x bin/node
fi
PATH="$PWD/bin:$PATH:/usr/local/cuda/bin"
export PATH
exec node scripts/run-gpu.mjs "$@"
`,
);
const bytes = size(out);
console.log(`pack-gpu: ${out}, ${(bytes / 2 ** 20).toFixed(1)} MiB, ${carried ? 'with' : 'without'} the CUDA library`);
if (bytes > MOST_BYTES) throw new Error(`Expected ${MOST_BYTES} bytes or fewer but made ${bytes}`);

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
