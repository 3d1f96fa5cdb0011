// Ends this process, or a worker, while networks are at work. Arguments: how, the graph, the device. Prints what it sees;
// what counts is how the process ends.
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { OrtNetwork } from '../../../lib/onnx/index.js';

const [how, graph, device] = process.argv.slice(2) as [string, string, 'cpu' | 'webgpu'];

/** A network with `runs` runs that nobody waits for, and what each of them comes to. */
export async function busy(runs: number) {
  const network = await OrtNetwork.open(graph, { device });
  const feeds = Object.fromEntries(
    [...network.inputs].map(([name, { dims }]) => {
      const size = dims.map((dim) => (typeof dim === 'string' ? 4 : dim));
      return [name, { data: new Float32Array(size.reduce((n, d) => n * d, 1)).fill(0.5), dims: size }];
    }),
  );
  const [output] = network.outputs.keys();
  const on = (where: 'cpu' | 'device') => network.run(feeds, { outputs: { [output]: where } });
  await on('cpu');
  const all = Array.from({ length: runs }, (_, i) => on(i % 2 === 0 ? 'device' : 'cpu'));
  for (const run of all) run.catch((error) => console.log(`rejected: ${error.message}`));
  return { network, all, again: () => on('cpu') };
}

const ways: Record<string, () => Promise<void>> = {
  // With runs in line and one under way.
  exit: async () => {
    await busy(20);
    setTimeout(() => process.exit(5), 20);
  },
  throw: async () => {
    await busy(20);
    setTimeout(() => {
      throw new Error('thrown on purpose');
    }, 20);
  },
  'exit in a listener': async () => {
    const { again } = await busy(4);
    process.on('exit', () => {
      // Nothing more is begun, and nothing is said of it.
      again().catch(() => {});
      process.exitCode = 6;
    });
    setTimeout(() => process.exit(), 20);
  },
  // By itself, with the network open and values on the device.
  'natural end': async () => {
    const { all } = await busy(4);
    await Promise.all(all);
  },
  // A run keeps the process alive, a network does not.
  'pending runs': async () => {
    const { all } = await busy(3);
    Promise.all(all).then(() => console.log('all done'));
  },
  'dispose during runs': async () => {
    const { network, all } = await busy(6);
    await network.dispose();
    const states = await Promise.all(all.map((run) => Promise.race([run.then(() => 'done'), sleep(0, 'pending')])));
    console.log(states.join());
  },
  'worker terminated': async () => {
    for (let i = 0; i < 4; i++) {
      const worker = await started();
      await sleep(i * 7);
      console.log(await worker.terminate());
    }
    // The library, its environment and this thread have survived.
    const { network, all } = await busy(1);
    await Promise.all(all);
    await network.dispose();
    console.log('goes on');
  },
  'worker at the process end': async () => {
    await started();
    process.exit(7);
  },
  'worker exits itself': async () => {
    const worker = await started('setTimeout(() => process.exit(9), 10);');
    console.log(await new Promise((resolve) => worker.once('exit', resolve)));
  },
  'several workers': async () => {
    const workers = await Promise.all([started(), started(), started()]);
    await busy(3);
    await Promise.all(workers.map((worker) => worker.terminate()));
    process.exit(8);
  },
  collected: async () => {
    const threads = async () => (await import('node:fs')).readdirSync('/proc/self/task').length;
    const { network, all } = await busy(0);
    await Promise.all(all);
    await network.dispose();
    await sleep(50);
    const before = await threads();
    const held = [];
    for (let i = 0; i < 20; i++) held.push(await busy(0));
    const many = await threads();
    held.length = 0;
    for (let i = 0; i < 100 && (await threads()) > before; i++) {
      globalThis.gc!();
      await sleep(20);
    }
    console.log(`${many > before + 15 ? 'many' : many}, then ${(await threads()) - before} more`);
  },
};

/** A worker that is in the middle of a run. */
async function started(then = ''): Promise<Worker> {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    process.argv = workerData.argv;
    import('tsx/esm/api').then(({ tsImport }) => tsImport(workerData.file, workerData.file)).then(async ({ busy }) => {
      await busy(20);
      parentPort.postMessage('busy');
      ${then}
    });
  `;
  const workerData = { argv: [process.argv[0], process.argv[1], 'nothing', graph, device], file: import.meta.url };
  const worker = new Worker(source, { eval: true, execArgv: [], workerData });
  worker.on('error', (error) => console.log(`worker: ${error.message}`));
  await new Promise((resolve) => worker.once('message', resolve));
  return worker;
}

await ways[how]?.();
