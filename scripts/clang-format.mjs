// Formats the native sources in place, or with --check only says whether they are formatted.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const files = ['native', 'test']
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((file) => `${folder}/${file}`))
  .filter((file) => /\.(h|inc|cpp|cu|cuh)$/.test(file) && !file.includes('ort/onnxruntime/'));
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
const { status, error } = spawnSync('clang-format', [...mode, ...files], { stdio: 'inherit' });
if (error) console.error(`clang-format: ${error.message}; on Debian: apt-get install clang-format`);
process.exit(status ?? 1);
