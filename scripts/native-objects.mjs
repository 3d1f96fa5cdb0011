// Compiles the addon's sources, or some of them, with a compiler and flags of one's own: for scripts/sanitize.mjs and
// scripts/fuzz.mjs. What is newer than all of native/ is not compiled again.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
/** The instruction sets that the addon has for this processor, as CMakeLists.txt lists them, and their flags. */
export const ISA_FLAGS =
  process.arch === 'x64'
    ? {
        sse2: [],
        avx2: ['-mavx2', '-mf16c', '-mfma'],
        avx512: [
          ...['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx2', '-mf16c', '-mfma'],
          '-mprefer-vector-width=512',
        ],
      }
    : { neon: [] };
const isaOf = (file) => /^isa_(\w+)\.cpp$/.exec(basename(file))?.[1];

/** The addon's sources in these folders of native/ and the folders in them, those for this processor. */
export function sources(folders) {
  return folders.flatMap((folder) =>
    readdirSync(join(root, 'native', folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.cpp') && (!isaOf(file) || isaOf(file) in ISA_FLAGS))
      .map((file) => `native/${folder}/${file.replaceAll('\\', '/')}`)
      .sort(),
  );
}

/** Flags that every compilation here shares with the release build, and what the addon's own folder needs besides. */
export function baseFlags() {
  const require = createRequire(import.meta.url);
  const include = (name) => `-I${require(name).include_dir.replaceAll('"', '')}`;
  return [
    ...['-std=c++17', '-g', '-fPIC', '-ffp-contract=off', '-fno-exceptions', '-fno-omit-frame-pointer', '-Wall'],
    ...['-Inative', '-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_DEPRECATED'],
    ...[include('node-addon-api'), include('node-api-headers')],
  ];
}

/** Runs a command here; ends the script if it fails. */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'inherit', cwd: root, ...options });
    child.on('error', (error) => {
      console.error(`${command}: ${error.message}`);
      process.exit(1);
    });
    child.on('close', (code, signal) => {
      if (code === 0) return resolve();
      console.error(`${command} ${args.join(' ')}: ${signal ?? `exit code ${code}`}`);
      process.exit(1);
    });
  });
}

function newest(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Math.max(...files.map((file) => statSync(join(folder, file)).mtimeMs));
}

/** Compiles `files` into `out`, as many at a time as there are processors; returns the objects. */
export async function compile(compiler, flags, files, out) {
  mkdirSync(out, { recursive: true });
  const sourcesAt = newest(join(root, 'native'));
  const objects = [];
  const waiting = [];
  for (const file of files) {
    const object = join(out, `${file.replaceAll('/', '-')}.o`);
    objects.push(object);
    const at = existsSync(object) ? statSync(object).mtimeMs : 0;
    if (at > sourcesAt && at > statSync(join(root, file)).mtimeMs) continue;
    const isa = isaOf(file);
    waiting.push([...flags, ...(isa ? ISA_FLAGS[isa] : []), '-c', file, '-o', object]);
  }
  const launcher = process.env.CMAKE_CXX_COMPILER_LAUNCHER;
  const work = async () => {
    for (let args = waiting.shift(); args; args = waiting.shift()) {
      await (launcher ? run(launcher, [compiler, ...args]) : run(compiler, args));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return objects;
}
