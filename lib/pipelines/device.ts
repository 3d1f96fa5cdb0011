// Which device `'auto'` takes: one that has been seen to run the folder's own network rightly and faster than the CPU.
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Cache } from '../base/cache.js';
import { firstLine } from '../base/text.js';
import { findFile } from '../folder/files.js';
import { networkDevices } from '../onnx/devices.js';
import type { GraphDevice, SessionOptions } from '../onnx/graph.js';
import { ortLibrary } from '../onnx/library.js';
import type { Proof, Trial } from './prove.js';

/** What outputs may differ by, in the root of the mean square of the CPU's: rounding adds up over a network's layers. */
const TOLERANCE = { float32: 1e-3, float16: 2e-2 } as const;
/** A trial that takes longer has failed. */
const LIMIT_MS = 180_000;
const DAY_MS = 86_400_000;
/** What has worked goes on working; what has not may have been mended. */
const KEPT_MS = { worked: 30 * DAY_MS, failed: DAY_MS } as const;

const kept = new Cache<Proof>('devices');

/**
 * The device for `device: 'auto'`. Each device that onnxruntime has is tried once, in a process of its own, and what came out
 * is kept in the user's cache folder. Never rejects: where nothing is better than the CPU, it is the CPU, and one warning says
 * why.
 *
 * @param trial the folder's network
 * @param dtype of the graph
 */
export async function chooseDevice(trial: Omit<Trial, 'device'>, dtype: keyof typeof TOLERANCE): Promise<GraphDevice> {
  const reasons: string[] = [];
  let best: { device: GraphDevice; ms: number } | undefined;
  try {
    const [, ...others] = await networkDevices();
    for (const { device, name, missing } of others) {
      if (missing !== undefined) {
        reasons.push(`${name}: ${missing}`);
        continue;
      }
      const proof = await proofOf({ ...trial, device });
      const reason = objection(proof, TOLERANCE[dtype]);
      if (reason !== undefined) reasons.push(`${name}: ${reason}`);
      else if ('deviceMs' in proof && proof.deviceMs < (best?.ms ?? Number.POSITIVE_INFINITY)) {
        best = { device, ms: proof.deviceMs };
      }
    }
  } catch (error) {
    reasons.push(firstLine((error as Error).message));
  }
  if (best) return best.device;
  warnOnce(`The networks run on the CPU. ${reasons.join('; ')}`);
  return 'cpu';
}

/** Why a device is not taken after its trial; undefined where it is. @internal */
export function objection(proof: Proof, tolerance: number): string | undefined {
  if ('reason' in proof) return proof.reason;
  const { difference, cpuMs, deviceMs, scale } = proof;
  if (!(difference <= tolerance)) {
    return `its output differs from the CPU's by ${difference.toPrecision(2)} of its size, more than ${tolerance}`;
  }
  // A small trial says little about a device that is made for large ones: only what is far behind is left out.
  const slack = scale >= 4 ? 3 : 1;
  if (deviceMs <= slack * cpuMs) return undefined;
  return `it is slower than the CPU (${deviceMs.toPrecision(3)} against ${cpuMs.toPrecision(3)} ms)`;
}

/** Takes note that a device whose trial went well cannot be used after all. */
export async function giveUp(trial: Trial, { message }: Error): Promise<void> {
  const reason = firstLine(message);
  const key = await keyOf(trial);
  proofs.set(key, Promise.resolve({ reason }));
  kept.keep(key, { reason });
  warnOnce(`The networks run on the CPU. ${trial.device}: ${reason}`);
}

/** What a result says of where networks with these options ran. */
export function deviceOf({ device = 'cpu', executionProviders }: SessionOptions): GraphDevice | 'providers' {
  return executionProviders ? 'providers' : device;
}

const proofs = new Map<string, Promise<Proof>>();

/** What a trial has shown, in this process or an earlier one. */
async function proofOf(trial: Trial): Promise<Proof> {
  const key = await keyOf(trial);
  const known = proofs.get(key);
  if (known) return known;
  const before = kept.read(key);
  const proof = before && isFresh(before.when, before.value) ? before.value : undefined;
  const found = proof
    ? Promise.resolve(proof)
    : tryIt(trial).then((made) => {
        kept.keep(key, made);
        return made;
      });
  proofs.set(key, found);
  return found;
}

/** Everything that the answer hangs on and that can be told beforehand. */
async function keyOf({ folder, network, names, device, threads }: Trial): Promise<string> {
  const path = realpathSync(
    findFile(
      folder,
      names.map((name) => `${network}/${name}`),
    ),
  );
  const { size, mtimeMs } = statSync(path);
  const { version } = await ortLibrary().catch(() => ({ version: 'none' }));
  const { VK_ICD_FILENAMES = '', VK_DRIVER_FILES = '', CUDA_VISIBLE_DEVICES = '' } = process.env;
  const machine = [process.platform, process.arch, version, VK_ICD_FILENAMES, VK_DRIVER_FILES, CUDA_VISIBLE_DEVICES];
  return createHash('sha256')
    .update(JSON.stringify([path, size, mtimeMs, device, threads ?? 0, ...machine]))
    .digest('hex')
    .slice(0, 32);
}

function tryIt(trial: Trial): Promise<Proof> {
  return new Promise((resolve) => {
    // The sources are run as they are in development.
    const file = import.meta.url.endsWith('.ts') ? './prove.ts' : './prove.js';
    // What the driver writes is not for the terminal of who asked for a picture.
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      resolve({ reason: `its trial took more than ${LIMIT_MS / 1000} s` });
    }, LIMIT_MS);
    child.once('message', (proof: Proof) => resolve(proof));
    child.once('error', (error) => resolve({ reason: firstLine(error.message) }));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      resolve({ reason: `its trial ended with ${signal ?? `code ${code}`}` });
    });
    child.send(trial, (error) => error && resolve({ reason: firstLine(error.message) }));
  });
}

function isFresh(when: number, proof: unknown): proof is Proof {
  if (typeof proof !== 'object' || proof === null) return false;
  return Date.now() - when < KEPT_MS['reason' in proof ? 'failed' : 'worked'];
}

const told = new Set<string>();

function warnOnce(message: string): void {
  if (told.has(message)) return;
  told.add(message);
  process.emitWarning(message, { type: 'DpmSolverWarning', code: 'DPM_SOLVER_DEVICE' });
}
