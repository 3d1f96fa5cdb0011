// Says how far the float16 folder's latents are from diffusers', call by call, in this Node: nodes.test.ts asks others.
import { rmSync } from 'node:fs';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { folder, latentsApart, madeAt, optionsOf, references } from './exports.js';

const pipe = await DiffusionPipeline.fromPretrained(folder('sd1-float16'));
try {
  const apart: Record<string, number> = {};
  for (const one of references()) {
    if (one.model !== 'sd1-float16') continue;
    apart[one.id] = latentsApart(await pipe(optionsOf(one, pipe, false)), one);
  }
  console.log(JSON.stringify(apart));
} finally {
  await pipe.dispose();
  rmSync(madeAt() as string, { recursive: true });
}
