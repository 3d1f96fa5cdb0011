// A small pipeline of the Stable Diffusion kind, and others.
import { DiffusionPipeline } from 'dpm-solver/pipelines';

export const folder = `${process.env.FIXTURES}/sd`;
export const pipe: DiffusionPipeline = await DiffusionPipeline.fromPretrained(folder);
/** Two that go on with each other's latents: the network that comes with the package. */
export const base: DiffusionPipeline = await DiffusionPipeline.fromPretrained('shapes');
export const refiner: DiffusionPipeline = base;
