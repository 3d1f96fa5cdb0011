// One measurement in a process of its own, of the package as it is built (what runs TypeScript would have 37 MB of the memory):
// what a call takes of time and memory, told as one line of JSON.
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DiffusionPipeline } from 'dpm-solver/pipelines';

const [, , model, what, side, steps] = process.argv;
const size = { width: Number(side), height: Number(side) };
const delay = monitorEventLoopDelay({ resolution: 5 });

/**
 * Memory of this process, in bytes.
 *
 * @param {'VmHWM' | 'VmRSS'} which the most that it had, or what it has
 */
function memoryOf(which) {
  const found = new RegExp(`^${which}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return 1024 * Number(found?.[1] ?? Number.NaN);
}

/** @param {'low' | 'fast'} memory */
async function draw(memory) {
  const begun = performance.now();
  const pipe = await DiffusionPipeline.fromPretrained(model, { memory });
  const loadS = (performance.now() - begun) / 1000;
  const calls = [];
  let last = 0;
  let loads = 0;
  let betweenBytes;
  delay.enable();
  const { timings, tiles } = await pipe({
    ...{ prompt: 'an astronaut', steps: Number(steps), seed: 1, ...size },
    onProgress: ({ stage, done, of, seconds }) => {
      if (stage === 'load' && done === of) loads += seconds;
      // With 'low': between the denoiser and the decoder.
      if (stage === 'load' && done === 0 && calls.length > 0) betweenBytes = memoryOf('VmRSS');
      if (stage !== 'step') return;
      if (done > 0) calls.push(seconds - last);
      last = seconds;
    },
  });
  delay.disable();
  const { networkTotalMs, stepMs, stepTotalMs, encodeMs, vaeMs = 0, totalMs } = timings;
  await pipe.dispose();
  return {
    ...{ what: memory, loadS: loadS + loads, calls, decodeS: vaeMs / 1000, encodeS: encodeMs / 1000, stepMs, tiles },
    outsideMs: totalMs - 1000 * loads - networkTotalMs - encodeMs - vaeMs - stepTotalMs,
    ...{ totalS: totalMs / 1000, delayMs: { median: delay.percentile(50) / 1e6 - 5, most: delay.max / 1e6 - 5 } },
    betweenBytes,
  };
}

/** @param {boolean} tiled */
async function decode(tiled) {
  const pipe = await DiffusionPipeline.fromPretrained(model, { memory: 'low' });
  const [height, width] = [size.height / 8, size.width / 8];
  const { latent_channels: channels = 4 } = JSON.parse(readFileSync(`${model}/vae_decoder/config.json`, 'utf8'));
  const data = Float32Array.from({ length: channels * height * width }, (_, i) => Math.sin(i * 12.9898) * 1.4);
  const begun = performance.now();
  let tiles = 0;
  await pipe.decode(
    { data, dims: [1, channels, height, width] },
    { vaeTiling: tiled, onProgress: ({ stage, of }) => (tiles = stage === 'decode' ? of : tiles) },
  );
  const decodeS = (performance.now() - begun) / 1000;
  await pipe.dispose();
  return { what: tiled ? 'tiles' : 'whole', decodeS, tiles };
}

const made = what === 'low' || what === 'fast' ? await draw(what) : await decode(what === 'tiles');
console.log(JSON.stringify({ ...made, side: Number(side), peakBytes: memoryOf('VmHWM') }));
