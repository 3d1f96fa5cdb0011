// A worker of the soak: does its share of runs and leaves, or is ended in the middle.
import { parentPort, workerData } from 'node:worker_threads';

const dpm = await import(workerData.library);
const { kinds } = await import('./runs.mjs');
const all = kinds(dpm);
parentPort.postMessage('running');
for (let i = workerData.first; i < workerData.first + workerData.runs; i++) await all[i % all.length](i);
parentPort.postMessage('done');
