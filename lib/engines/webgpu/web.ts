// What stands in dist/web.js for sample.ts: in a browser the step is a kernel on the device that the networks share.
import type { sampleThere as there } from './sample.js';
import type { OrtDevice } from '../../onnx/network.js';
import { gpuDevice } from './gpu.js';
import { GraphSteps } from './graph-steps.js';
import { sampleBy } from './runs.js';
import { WgslSteps } from './wgsl-steps.js';

/** @internal */
export const sampleThere: typeof there = async ({ device: where, hostEngine }, model, solver, sampler, xT) => {
  if (where === 'webnn') {
    // Its tensors are reached by graphs alone.
    const steps = () => new GraphSteps(where as string as OrtDevice);
    return sampleBy({ hostEngine, steps, thresholds: false }, model, solver, sampler, xT);
  }
  const device = await gpuDevice();
  return sampleBy({ hostEngine, steps: () => new WgslSteps(device), thresholds: true }, model, solver, sampler, xT);
};
