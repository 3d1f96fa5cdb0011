// Runs whose network is on a device, by whatever makes their steps there.
import { wrongType } from '../../base/check.js';
import { readTensor, type Tensor } from '../../base/tensor.js';
import { OrtValue } from '../../onnx/network.js';
import { type Slot, slot } from '../../onnx/slots.js';
import { AdaptiveRun } from '../../solver/adaptive.js';
import { drive, type Sampling } from '../../solver/drive.js';
import type { EngineMaker } from '../../solver/engine.js';
import type { Sampler, Solver } from '../../solver/options.js';
import { FixedRun, type InternalRun } from '../../solver/run.js';
import { DeviceEngine } from './engine.js';
import { type WebGpuContext, type WebGpuModel, whyOnHost } from './options.js';
import type { StepsMaker } from './steps.js';

/** What makes the steps of a run. @internal */
export interface Makers {
  /** On the host. */
  readonly hostEngine: EngineMaker;
  /** On the device. */
  readonly steps: StepsMaker;
  /** Do the device's take a quantile of the prediction? */
  readonly thresholds: boolean;
}

/** Samples with a network whose tensors stay on a device. @internal */
export async function sampleBy(
  makers: Makers,
  model: WebGpuModel,
  solver: Solver,
  sampler: Sampler,
  xT: Tensor,
): Promise<Sampling> {
  const reason = whyOnHost(solver, sampler, readTensor(xT, 'xT').type, makers.thresholds);
  return reason === undefined
    ? sampleOnDevice(makers, model, solver, sampler, xT)
    : sampleOnHost(makers, model, solver, sampler, xT, reason);
}

async function sampleOnDevice(
  { steps }: Makers,
  model: WebGpuModel,
  solver: Solver,
  sampler: Sampler,
  xT: Tensor,
): Promise<Sampling> {
  const { signal } = sampler;
  let engine: DeviceEngine | undefined;
  try {
    const run = FixedRun.build(solver, sampler, xT, (_, own, x, sizes) => {
      engine = new DeviceEngine(steps(), solver, own, x, sizes);
      return engine;
    });
    const there = engine as unknown as DeviceEngine;
    const evaluate = async () => {
      const output = await model(run.x as unknown as OrtValue, run.t, contextOf(run, signal));
      there.adopt(output);
      return output as unknown as Tensor;
    };
    const sampling = await drive(run, signal, evaluate, undefined);
    return { ...sampling, transfers: { ...there.transfers } };
  } finally {
    engine?.dispose();
  }
}

/** The step sees numbers: states and outputs cross at every evaluation. */
async function sampleOnHost(
  { steps, hostEngine }: Makers,
  model: WebGpuModel,
  solver: Solver,
  sampler: Sampler,
  xT: Tensor,
  reason: string,
): Promise<Sampling> {
  const { signal } = sampler;
  const { guidance } = solver;
  const run: InternalRun =
    sampler.method === 'adaptive'
      ? AdaptiveRun.build(solver, sampler, xT, hostEngine)
      : FixedRun.build(solver, sampler, xT, hostEngine);
  const there = steps();
  const gradientOf = guidance.type === 'classifier' && guidance.scale !== 0 ? guidance.gradient : undefined;
  let output: OrtValue | undefined;
  let x: OrtValue | undefined;
  try {
    const evaluate = async (): Promise<Tensor> => {
      const { data, dims, type } = readTensor(run.x, 'x');
      x = await there.upload({ type, data: data as Slot['data'], dims });
      output = (await model(x, run.t, contextOf(run, signal))) as OrtValue;
      if (!(output instanceof OrtValue)) throw wrongType('a value on its device', 'the network output', output);
      const result = slot(output.type as Slot['type'], output.dims);
      await there.download(output, result);
      output.dispose();
      x.dispose();
      return result as Tensor;
    };
    const sampling = await drive(run, signal, evaluate, gradientOf && (() => gradientOf(run.x, run.t)));
    return { ...sampling, transfers: { ...there.transfers, onHost: reason } };
  } finally {
    output?.dispose?.();
    x?.dispose();
    there.release();
  }
}

function contextOf(run: InternalRun, signal: AbortSignal | undefined): WebGpuContext {
  const context = { time: run.time, step: run.times.length - 1 };
  return signal ? { ...context, signal } : context;
}
