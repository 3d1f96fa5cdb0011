// The dims of a state, and what goes by them.
import type { Size } from './conditioner.js';
import type { Shape } from './denoiser.js';
import type { Parts } from './parts.js';

/** The dims of one state for pictures of this size. */
export function shapeOf({ denoiser, limits }: Parts, { width, height }: Size): Shape {
  const shape = [limits.channels, height / limits.factor, width / limits.factor] as const;
  denoiser.checkSize(shape[1], shape[2], limits.factor);
  return shape;
}

/** Tokens of a state of this shape, by which dynamic shifting goes. */
export function tokensOf({ limits }: Pick<Parts, 'limits'>, [, height, width]: Shape): number {
  return (height * width) / limits.patch ** 2;
}

/** The steps that the network was trained at. */
export function trainingStepsOf({ scheduler }: Pick<Parts, 'scheduler'>): number {
  const { num_train_timesteps: count } = scheduler.config;
  return typeof count === 'number' ? count : 1000;
}
