// Runs whose network is on WebGPU: with their tensors there too, or where a step has to see numbers, with the step on the host.
// In dist/web.js lib/engines/webgpu/web.ts stands in for this file.
import type { Tensor } from '../../base/tensor.js';
import type { OrtDevice } from '../../onnx/network.js';
import type { Sampling } from '../../solver/drive.js';
import type { EngineMaker } from '../../solver/engine.js';
import type { Sampler, Solver } from '../../solver/options.js';
import { GraphSteps } from './graph-steps.js';
import type { WebGpuModel } from './options.js';
import { sampleBy } from './runs.js';

/** Where a network is, and what makes steps on the host. @internal */
export interface Place {
  /** Of the network, and of the step's graphs. */
  readonly device: OrtDevice | 'webnn';
  readonly hostEngine: EngineMaker;
}

/** Samples with a network whose tensors stay on a device. @internal */
export async function sampleThere(
  place: Place,
  model: WebGpuModel,
  solver: Solver,
  sampler: Sampler,
  xT: Tensor,
): Promise<Sampling> {
  const { device, hostEngine } = place;
  if (device === 'webnn') {
    throw new RangeError(
      "Expected 'cpu', 'cuda' or 'webgpu' for modelDevice but received 'webnn', which is for dpm-solver/web in a browser",
    );
  }
  return sampleBy({ hostEngine, steps: () => new GraphSteps(device), thresholds: false }, model, solver, sampler, xT);
}
