// Partial images: what a run's result is taken to be, as large as the result, for clients that show one in the other's place.
import { type Image, stretch } from '../image/image.js';
import type { Progress } from '../pipelines/index.js';

/**
 * What a step's preview is, in the size of the result. The large decoder is not asked: it may take longer than the steps, and
 * memory that a run at `memory: 'low'` has not; of latents it is a small decoder's picture, or the linear map's, a pixel a
 * latent, stretched. None where nothing is known of the autoencoder's colours yet.
 */
export async function partialImages(
  preview: Progress['preview'],
  size: { readonly width: number; readonly height: number },
): Promise<Image[]> {
  return (await preview()).map((image) => stretch(image, size));
}
