import { DiffusionPipeline } from 'dpm-solver/pipelines';

export const dynamic = 'force-dynamic';

export async function GET() {
  const pipeline = await DiffusionPipeline.fromPretrained('shapes');
  const { images } = await pipeline({ prompt: 'a red circle', steps: 15, seed: 1 });
  const [{ width, height, data }] = images;
  const middle = (width * (height >> 1) + (width >> 1)) * 3;
  return Response.json({ width, height, middle: [...data.slice(middle, middle + 3)] });
}
