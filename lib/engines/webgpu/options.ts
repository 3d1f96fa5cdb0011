// What runs on WebGPU are told besides, and which of them the step's graph is for.
import type { OrtValue } from '../../onnx/network.js';
import type { DeviceValue } from '../../onnx/value.js';
import { guideAt } from '../../solver/guidance.js';
import type { Sampler, Solver } from '../../solver/options.js';

/**
 * A network whose tensors stay on WebGPU: called with the state and modelTime. What it returns, of the dims of x, is the run's,
 * which disposes of it; x is the run's as well. Mostly an `OrtNetwork` of dpm-solver/onnx:
 *
 *     async (sample, t, { signal }) => {
 *       const timestep = { data: Float32Array.of(t), dims: [1] };
 *       const { out } = await unet.run({ sample, timestep }, { outputs: { out: 'device' }, signal });
 *       return out as OrtValue;
 *     }
 *
 * In a browser x is an `OrtWebValue` of dpm-solver/web, and so is what comes back.
 */
export type WebGpuModel = (x: OrtValue, t: number, context: WebGpuContext) => DeviceValue | Promise<DeviceValue>;

/** What a {@link WebGpuModel} is told besides. */
export interface WebGpuContext {
  /** The schedule's time of this evaluation. */
  time: number;
  /** Completed steps so far. */
  step: number;
  /** The run's. */
  signal?: AbortSignal;
}

/**
 * Why the steps of a run are made on the host; undefined where they are not.
 *
 * @param thresholds do the device's steps take a quantile of the prediction?
 * @internal
 */
export function whyOnHost(solver: Solver, { method }: Sampler, type: string, thresholds: boolean): string | undefined {
  const { guidance, thresholding, correctX0, schedule } = solver;
  if (method === 'adaptive') return "method 'adaptive'";
  if (thresholding && !thresholds) return 'thresholding';
  if (correctX0) return 'correctX0';
  if (guidance.type === 'classifier') return "guidance 'classifier'";
  if (type === 'float64') return 'a state in float64';
  const node = { alpha: Math.SQRT1_2, sigma: Math.SQRT1_2, lambda: 0 };
  const flow = schedule.kind === 'flow';
  // Whatever the scale and the interval are, what weighs the answers is a matter of variant and rescale.
  const always = guidance.type === 'classifier-free' ? { ...guidance, scale: 2, interval: undefined } : guidance;
  const guide = guideAt(always, { modelType: solver.modelType, form: solver.form, node, flow });
  return guide && 'guidance that looks at the answers';
}
