// Processes that end while the main thread, two workers and the pool are in the middle of steps: by themselves, or by a
// signal. Each has to end as it was told. Prints `done`.
import { spawn } from 'node:child_process';
import { addonPath } from '../../../lib/addon/loader.js';

const source = `
  const { isMainThread, Worker, workerData } = require('node:worker_threads');
  const [, path, how, delay] = isMainThread ? process.argv : workerData;
  const addon = require(path);
  const n = 1 << 18;
  const rows = new Float64Array(32);
  rows.set([1, 0, 0, 0, 2, 0.99, 1, 100, 1]);
  rows.set([0.5, 0.5], 12);
  const x = Float32Array.from({ length: n }, (_, i) => Math.sin(i) * 3);
  const out = new Float32Array(n);
  const step = () => addon.step(rows, 0, 1, 1, 3, null, x, null, null, null, x, null, null, null, null, null, null, out, null, null);
  if (!isMainThread) for (;;) step();
  const source = process.env.SOURCE;
  for (let k = 0; k < 2; k++) new Worker(source, { eval: true, workerData: process.argv });
  const again = () => { step(); setImmediate(again); };
  again();
  setTimeout(() => {
    if (how === 'exit') process.exit(7);
    if (how === 'return') { process.exitCode = 7; process.reallyExit(7); }
    if (how === 'throw') throw new Error('thrown on purpose');
    process.kill(process.pid, how);
  }, Number(delay));
`;

interface End {
  code: number | null;
  signal: NodeJS.Signals | null;
  errors: string;
}
function once(how: string, delay: number): Promise<End> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', source, addonPath(), how, String(delay)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, SOURCE: source },
    });
    let errors = '';
    child.stderr.on('data', (data) => {
      errors += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, errors }));
  });
}

async function main(): Promise<void> {
  const rounds = Number(process.argv[2] ?? 12);
  for (let round = 0; round < rounds; round++) {
    const how = ['exit', 'return', 'throw', 'SIGTERM'][round % 4]!;
    const { code, signal, errors } = await once(how, (round * 17) % 120);
    const well =
      how === 'SIGTERM'
        ? signal === 'SIGTERM'
        : how === 'throw'
          ? code === 1 && /thrown on purpose/.test(errors)
          : code === 7 && errors === '';
    if (!well) throw new Error(`${how}: code ${code}, signal ${signal}, ${errors}`);
  }
  console.log('done');
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
