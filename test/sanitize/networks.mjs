// node test/sanitize/networks.mjs ADDON: networks at work here and in workers, ended in every way: runs in line and under
// way are cancelled, values dropped from elsewhere, networks closed and forgotten, workers terminated. For
// ThreadSanitizer, so without TypeScript.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const require = createRequire(import.meta.url);
const path = isMainThread ? process.argv[2] : workerData;
const addon = require(path);
require('onnxruntime-node');
const root = require.resolve('onnxruntime-node').replace(/dist.*/, '');
const names = ['libonnxruntime.so.1'].map((name) => `${root}bin/napi-v6/${process.platform}/${process.arch}/${name}`);
const { library } = addon.ortLibrary(names);
const graph = new URL('../fixtures/onnx/affine.onnx', import.meta.url).pathname;

async function open() {
  const settings = {
    ...{ path: graph, device: 0, deviceId: 0, threads: 2, optimization: 99, memoryPattern: true, sharedMemory: false },
    ...{ config: [], provider: [], dimensions: [] },
  };
  const { network, opened } = addon.ortOpen(library, settings);
  await opened;
  return network;
}

async function work(rounds) {
  const quiet = (promise) => promise.catch(() => {});
  for (let round = 0; round < rounds; round++) {
    const [one, other] = await Promise.all([open(), open()]);
    const x = new Float32Array(4 * 4096).fill(1);
    const y = new Float32Array(4 * 4096);
    const runs = [];
    for (let id = 2; id < 40; id++) {
      runs.push(quiet(addon.ortRun(id % 2 ? one : other, id, [[0, 1, x, 4096, 4]], [[0, 1, y, 4096, 4]])));
      if (id % 5 === 0) addon.ortCancel(id % 2 ? one : other, id);
      if (id % 7 === 0) setImmediate(() => addon.ortCancel(id % 2 ? one : other, id));
    }
    const [[, , , value]] = await addon.ortRun(one, 50, [[0, 1, x, 4096, 4]], [[0, 4]]);
    runs.push(quiet(addon.ortRun(other, 51, [[0, 1, value, 4096, 4]], [[0, 3]])));
    const closing = addon.ortClose(one);
    addon.ortDispose(value);
    await Promise.all([...runs, closing]);
    if (round % 2 === 0) await addon.ortClose(other);
  }
}

if (isMainThread) {
  for (let round = 0; round < 3; round++) {
    const workers = [2, 1e9, 1e9].map(() => new Worker(new URL(import.meta.url), { workerData: path }));
    await Promise.all([
      work(3),
      ...workers.map(async (worker, k) => {
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await sleep(20 * k);
        await worker.terminate();
      }),
    ]);
  }
  addon.ortHardware(library);
  addon.ortShutdown(library);
  console.log('networks: fine');
} else {
  await work(1);
  parentPort.postMessage('one');
  await work(1e9);
}
