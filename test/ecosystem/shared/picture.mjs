// A whole pipeline, by the network that comes with the package.
import { DiffusionPipeline } from 'dpm-solver/pipelines';

const pipeline = await DiffusionPipeline.fromPretrained('shapes');
const { images } = await pipeline({ prompt: 'a red circle', steps: 15, seed: 1 });
const [{ width, height, data }] = images;
const middle = (width * (height >> 1) + (width >> 1)) * 3;
console.log(JSON.stringify({ width, height, middle: [...data.slice(middle, middle + 3)] }));
await pipeline.dispose?.();
