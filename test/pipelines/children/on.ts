// Draws on a device and prints what came out; run with drivers of its own (test/pipelines/device.test.ts).
import { DiffusionPipeline } from '../../../lib/pipelines/index.js';

async function main(): Promise<void> {
  const [folder, device, prompt, steps, more = '{}'] = process.argv.slice(2) as [
    string,
    'auto',
    string,
    string,
    string?,
  ];
  const pipe = await DiffusionPipeline.fromPretrained(folder, { device });
  const { watched, edit, ...options } = JSON.parse(more, (key, value) =>
    key === 'data' ? Uint8Array.from(value) : value,
  );
  const onStep = watched ? { onStep: () => {} } : {};
  const call = { steps: Number(steps), guidance: 1, seed: 1, order: 1 as const, ...onStep, ...options };
  const made = await (edit ? pipe.edit({ ...edit, ...call }) : pipe({ prompt, ...call }));
  const { device: where, transfers, timings } = made;
  console.log(JSON.stringify({ device: where, transfers, calls: timings.networkCalls, data: [...made.sample.data] }));
  await pipe.dispose();
}

await main();
