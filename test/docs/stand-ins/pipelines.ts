// A small pipeline of the Stable Diffusion kind, and pictures for it.
import { DiffusionPipeline, type Image } from 'dpm-solver/pipelines';

export const pipe: DiffusionPipeline = await DiffusionPipeline.fromPretrained('fixtures/sd');
/** The network that comes with the package. */
export const shapesPipe: DiffusionPipeline = await DiffusionPipeline.fromPretrained('models/shapes');

function picture(side: number, color: (x: number, y: number) => readonly number[]): Image {
  const data = new Uint8Array(3 * side * side);
  for (let i = 0; i < side * side; i++) data.set(color(i % side, Math.floor(i / side)), 3 * i);
  return { width: side, height: side, data };
}

/** A red disc on blue, of the size of the shapes. */
export const shapesImage: Image = picture(32, (x, y) =>
  (x - 16) ** 2 + (y - 16) ** 2 < 64 ? [230, 30, 40] : [40, 60, 220],
);
