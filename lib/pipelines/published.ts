// Published grids were searched for on one network each: which of them a folder's network is.
import { type NetworkKind, PUBLISHED_TYPES, type PublishedType } from '../schedule/published-grid.js';
import type { SolverChoices } from './options.js';
import type { Parts } from './parts.js';

/** Numbers a token of the text encoder that Stable Diffusion 1 has; version 2 has 1024. */
const STABLE_DIFFUSION_1 = 768;

/** The kind of a folder's network, by its graph and configuration; undefined for one that no grid was published for. */
export function networkKindOf({
  denoiser,
  training,
  vae,
}: Pick<Parts, 'denoiser' | 'training' | 'vae'>): NetworkKind | undefined {
  if (!vae) return 'pixels';
  const { kind, contextWidth } = denoiser.facts;
  if (kind === 'flux' || kind === 'sd3') return kind;
  if (training.modelType !== 'noise') return undefined;
  if (kind === 'xl') return 'sdxl';
  return contextWidth === STABLE_DIFFUSION_1 ? 'sd15' : undefined;
}

/** Of a call that names a published grid: the network that it is for, and what the two are called. */
export function publishedOf(
  parts: Pick<Parts, 'denoiser' | 'training' | 'vae'>,
  { skipType }: SolverChoices,
): { network: NetworkKind | undefined; name: string } | undefined {
  const type = PUBLISHED_TYPES.find((one) => one === skipType) as PublishedType | undefined;
  if (!type) return undefined;
  const network = networkKindOf(parts);
  // Computed for the schedule alone, for pixels or for latents.
  if (type === 'dmn') return { network: network ?? 'sd15', name: `dmn for ${parts.vae ? 'latents' : 'pixels'}` };
  return { network, name: `${type} for ${network}` };
}
