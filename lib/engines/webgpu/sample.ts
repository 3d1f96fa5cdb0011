// Runs whose network is on WebGPU: with their tensors there too, or where a step has to see numbers, with the step on the host.
import { wrongType } from '../../base/check.js';
import { readTensor, type Tensor } from '../../base/tensor.js';
import { type OrtDevice, OrtValue } from '../../onnx/network.js';
import type { Slot } from '../../onnx/slots.js';
import { AdaptiveRun } from '../../solver/adaptive.js';
import { drive, type Sampling } from '../../solver/drive.js';
import type { EngineMaker } from '../../solver/engine.js';
import type { Sampler, Solver } from '../../solver/options.js';
import { FixedRun, type InternalRun } from '../../solver/run.js';
import { GraphEngine } from './engine.js';
import { SmallNetworks } from './networks.js';
import { type WebGpuContext, type WebGpuModel, whyOnHost } from './options.js';

/** Where a network is, and what makes steps on the host. @internal */
export interface Place {
  /** Of the network, and of the step's graphs. */
  readonly device: OrtDevice;
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
  const reason = whyOnHost(solver, sampler, readTensor(xT, 'xT').type);
  return reason === undefined
    ? sampleOnDevice(place, model, solver, sampler, xT)
    : sampleOnHost(place, model, solver, sampler, xT, reason);
}

async function sampleOnDevice(
  { device }: Place,
  model: WebGpuModel,
  solver: Solver,
  sampler: Sampler,
  xT: Tensor,
): Promise<Sampling> {
  const { signal } = sampler;
  let engine: GraphEngine | undefined;
  try {
    const run = FixedRun.build(solver, sampler, xT, (_, own, x, sizes) => {
      engine = new GraphEngine(device, solver, own, x, sizes);
      return engine;
    });
    const there = engine as unknown as GraphEngine;
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
  { device, hostEngine }: Place,
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
  const networks = new SmallNetworks(device);
  const gradientOf = guidance.type === 'classifier' && guidance.scale !== 0 ? guidance.gradient : undefined;
  let output: OrtValue | undefined;
  let x: OrtValue | undefined;
  try {
    const evaluate = async (): Promise<Tensor> => {
      const { data, dims, type } = readTensor(run.x, 'x');
      x = await networks.upload({ type, data: data as Slot['data'], dims });
      output = await model(x, run.t, contextOf(run, signal));
      if (!(output instanceof OrtValue)) throw wrongType('an OrtValue', 'the network output', output);
      const result = await networks.read(output);
      output.dispose();
      x.dispose();
      return result as Tensor;
    };
    const sampling = await drive(run, signal, evaluate, gradientOf && (() => gradientOf(run.x, run.t)));
    return { ...sampling, transfers: { ...networks.transfers, onHost: reason } };
  } finally {
    output?.dispose?.();
    x?.dispose();
    networks.release();
  }
}

function contextOf(run: InternalRun, signal: AbortSignal | undefined): WebGpuContext {
  const context = { time: run.time, step: run.times.length - 1 };
  return signal ? { ...context, signal } : context;
}
