// `dpm-solver decode`: pictures of latents that were kept.
import { type ArgsDef, defineCommand } from 'citty';
import { machineArgs, memoryArgs, modelArgs, readMemory, readPlace, withPipeline } from './generate.js';
import { readLatents } from './latents.js';
import { laidOut, outputArgs, readDestination, sayMade, writePicture } from './output.js';
import { openPreview, previewArgs } from './preview.js';
import { say } from './say.js';
import { UsageError } from './usage.js';

/** What the help ends with. */
export const examples = ['dpm-solver decode out.latents.safetensors --model ./sd-v1-5 --vae-tiling 256 -o out.png'];

const { memory: _one, ...place } = machineArgs;
const { like: _none, ...output } = outputArgs;

const args = {
  file: { type: 'positional', required: false, description: 'Latents, a file of safetensors; - is standard input' },
  ...modelArgs,
  ...memoryArgs,
  ...place,
  ...previewArgs,
  ...output,
} as const satisfies ArgsDef;

export const decode = defineCommand({
  meta: { name: 'decode', description: 'Make pictures of latents that were kept' },
  args,
  async run({ args }) {
    if (args._.length !== 1) {
      throw new UsageError(`Expected one file of latents but received ${args._.length === 0 ? 'none' : args._.length}`);
    }
    const where = readPlace(args);
    const destination = await readDestination(args);
    const { json } = destination;
    const options = readMemory(args);
    const latents = await readLatents(args._[0], 'latents');
    const started = performance.now();
    // Of networks one is needed.
    await withPipeline({ ...where, memory: 'low' }, json, async (pipe, telling) => {
      const { onProgress, warn, stop } = telling;
      const preview = openPreview(args, json, telling);
      const images = await pipe.decode(latents, { ...options, onProgress, onWarning: warn });
      stop();
      await preview.finish(images);
      const { output } = destination;
      const rows = images.map((image) => [image]);
      for (const [i, picture] of laidOut(rows, destination).entries()) {
        const name = await writePicture(destination, i, picture);
        const { width, height } = picture;
        if (json) say(JSON.stringify({ output: name, width, height, latents: args._[0], ...options }), output);
      }
      if (json) return;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      sayMade(output, `${images.length} picture${images.length === 1 ? '' : 's'}; ${seconds} s in all`);
    });
  },
});
