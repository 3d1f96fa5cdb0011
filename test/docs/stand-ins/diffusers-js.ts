// What dpm-solver touches of a pipeline of diffusers.js.
import type { AcceleratedPipeline } from 'dpm-solver/diffusers-js';
import { json } from './solver.js';

export const diffusersPipe: AcceleratedPipeline = {
  scheduler: { config: json },
  unet: { run: async (feeds) => ({ out_sample: feeds.sample }) },
  vaeDecoder: { config: { scaling_factor: 0.18215 }, run: async ({ latent_sample }) => ({ sample: latent_sample }) },
};
