// Steps by ONNX graphs that the package writes: for every device that onnxruntime reaches.
import type { OrtDevice, OrtTensor, OrtValue } from '../../onnx/network.js';
import type { Slot } from '../../onnx/slots.js';
import type { Transfers } from '../../solver/engine.js';
import type { KnownAt } from '../../solver/known.js';
import { blendGraph, coefficientsOf, inputGraph, type StepShape, stepGraph, sumsOf } from './graph.js';
import { SmallNetworks } from './networks.js';
import type { Blend, FloatType, Stepped, StepRequest, Steps } from './steps.js';

/** @internal */
export class GraphSteps implements Steps {
  readonly transfers: Transfers;
  readonly draws = false;
  readonly #networks: SmallNetworks;

  constructor(device: OrtDevice) {
    this.#networks = new SmallNetworks(device);
    this.transfers = this.#networks.transfers;
  }

  upload(tensor: Slot): Promise<OrtValue> {
    return this.#networks.upload(tensor);
  }

  download(value: OrtValue, to: Slot): Promise<void> {
    return this.#networks.download(value, to);
  }

  async input(state: OrtValue, type: FloatType, twice: boolean, signal: AbortSignal | undefined): Promise<OrtValue> {
    const shape = [state.dims.length, type, twice] as const;
    const network = await this.#networks.get(`input ${shape}`, () => inputGraph(...shape));
    const { next } = await network.run({ out: state }, { outputs: { next: 'device' }, ...ending(signal) });
    return next as OrtValue;
  }

  async step(request: StepRequest, signal: AbortSignal | undefined): Promise<Stepped> {
    const { row, output: m, dims, input, draws: _, ...wanted } = request;
    const sums = sumsOf(row, { ...wanted, network: m !== null });
    const shape: StepShape = {
      rank: dims.length,
      output: (m?.type ?? null) as StepShape['output'],
      doubled: m !== null && wanted.doubled,
      input: input?.type ?? null,
      twice: input?.twice ?? false,
      sums: [...sums].map(([made, sum]) => ({ made, terms: [...sum.keys()] })),
    };
    const network = await this.#networks.get(`step ${JSON.stringify(shape)}`, () => stepGraph(shape));
    const feeds: Record<string, OrtTensor | OrtValue> = {};
    for (const [name, data] of Object.entries(coefficientsOf(sums))) {
      feeds[name] = { type: 'float32', data, dims: [data.length] };
      this.transfers.uploaded += data.byteLength;
    }
    for (const { terms } of shape.sums) {
      for (const term of terms) {
        if (term === 'm' || term === 'u' || term === 'd0' || feeds[term]) continue;
        feeds[term] = await request.operand(term);
        if (term === 'z') this.transfers.uploaded += (feeds[term] as OrtTensor).data.byteLength;
      }
    }
    const outputs: Record<string, 'device' | OrtTensor> = {};
    for (const { made } of shape.sums) outputs[made] = 'device';
    if (input) outputs.next = 'device';
    let sizes: Float32Array | null = null;
    if (m) {
      feeds.output = m;
      // The one number a sample that is read bounds what is queued: the next evaluation begins when this one has ended.
      sizes = new Float32Array(m.dims[0]);
      outputs.found = { type: 'float32', data: sizes, dims: [sizes.length] };
      this.transfers.downloaded += sizes.byteLength;
    }
    const made = (await network.run(feeds, { outputs, ...ending(signal) })) as unknown as Stepped;
    return { ...made, found: sizes && notFinite(sizes, dims[0]) };
  }

  async blend(
    x: OrtValue,
    { x0, noise, free }: Blend,
    { alpha, sigma }: Pick<KnownAt, 'alpha' | 'sigma'>,
    signal?: AbortSignal,
  ): Promise<OrtValue> {
    const rank = x.dims.length;
    const network = await this.#networks.get(`blend ${rank}`, () => blendGraph(rank));
    const c = { type: 'float32', data: Float32Array.of(alpha, sigma), dims: [2] };
    this.transfers.uploaded += c.data.byteLength;
    const { y } = await network.run({ x, x0, noise, free, c }, { outputs: { y: 'device' }, ...ending(signal) });
    return y as OrtValue;
  }

  release(): void {
    this.#networks.release();
  }
}

/** The first sample of a batch, which may be there twice, whose sum is not finite; -1 for none. */
function notFinite(sizes: Float32Array, batch: number): number {
  const at = sizes.findIndex((sum) => !Number.isFinite(sum));
  return at < 0 ? -1 : at % batch;
}

function ending(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}
