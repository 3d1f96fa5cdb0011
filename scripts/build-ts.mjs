// Compiles lib/ to dist/ (JavaScript and declarations), copies the page as it is, and makes the command line executable.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
rmSync(`${root}/dist`, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
cpSync(`${root}/lib/serve/page`, `${root}/dist/serve/page`, { recursive: true });
const main = `${root}/dist/cli/main.js`;
if (existsSync(main)) chmodSync(main, 0o755);
