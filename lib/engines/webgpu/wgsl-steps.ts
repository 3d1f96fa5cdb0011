// Steps by one WGSL kernel, on the buffers that onnxruntime-web's networks read and write.
import { OrtWebValue } from '../../onnx/web/network.js';
import { inTurn, onnxRuntime, type WebTensor } from '../../onnx/web/runtime.js';
import type { OrtTensor, OrtValue } from '../../onnx/network.js';
import type { Slot } from '../../onnx/slots.js';
import type { Transfers } from '../../solver/engine.js';
import type { Made } from './graph.js';
import { type GpuBuffer, type GpuDevice, type GpuEncoder, type GpuPipeline, Pool, READ, USAGE } from './gpu.js';
import type { FloatType, Stepped, StepRequest, Steps } from './steps.js';
import { partsOf, searchBuffer, SEARCHES } from './wgsl-quantile.js';
import {
  groupsOf,
  inputKernel,
  inputUniform,
  type Kernel,
  kernelOf,
  type KernelShape,
  resolve,
  searchKernel,
  uniformOf,
} from './wgsl.js';

/** No sample. */
const NONE = 0xffffffff;

/** Compiled once for a device. */
const compiled = new WeakMap<GpuDevice, Map<string, Promise<GpuPipeline>>>();

/** @internal */
export class WgslSteps implements Steps {
  readonly transfers: Transfers = { uploaded: 0, downloaded: 0, milliseconds: 0 };
  readonly draws = true;
  readonly #device: GpuDevice;
  readonly #pool: Pool;
  readonly #uniforms: GpuBuffer[] = [];
  #search: GpuBuffer | undefined;
  #found: GpuBuffer | undefined;
  #told: GpuBuffer | undefined;

  constructor(device: GpuDevice) {
    this.#device = device;
    this.#pool = new Pool(device);
  }

  async upload({ type, data, dims }: Slot): Promise<OrtValue> {
    const buffer = this.#pool.take(data.byteLength);
    this.#write(buffer, data);
    this.transfers.uploaded += data.byteLength;
    return this.#value(buffer, type, dims);
  }

  async download(value: OrtValue, { data }: Slot): Promise<void> {
    const begun = performance.now();
    const staging = this.#device.createBuffer({
      size: Math.ceil(data.byteLength / 4) * 4,
      usage: USAGE.mapRead | USAGE.copyTarget,
    });
    try {
      await this.#submit((encoder) => {
        encoder.copyBufferToBuffer(bufferOf(value), 0, staging, 0, staging.size);
      });
      await staging.mapAsync(READ);
      const bytes = new Uint8Array(staging.getMappedRange(), 0, data.byteLength);
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength).set(bytes);
    } finally {
      staging.destroy();
    }
    this.transfers.downloaded += data.byteLength;
    this.transfers.milliseconds += performance.now() - begun;
  }

  async input(state: OrtValue, type: FloatType, twice: boolean): Promise<OrtValue> {
    const pipeline = await this.#pipeline(inputKernel(type, twice));
    const made = this.#next(state.dims, type, twice);
    const buffers = [this.#uniform(0, inputUniform(elementsOf(state.dims))), bufferOf(state), bufferOf(made)];
    await this.#submit((encoder) => {
      this.#dispatch(encoder, pipeline, buffers, groupsOf(elementsOf(made.dims)));
    });
    return made;
  }

  async step(request: StepRequest): Promise<Stepped> {
    const { dims, output, input, keep } = request;
    const resolved = resolve(request);
    const twice = input?.type === 'float32' && input.twice;
    const makes: Made[] = ['out', ...(request.second ? ['out2' as const] : []), ...(keep ? ['d0' as const] : [])];
    const type = (output?.type ?? null) as FloatType | null;
    const batch = dims[0];
    const n = elementsOf(dims) / batch;
    const parts = partsOf(n);
    const spread = resolved.transform === 'quantile' && parts > 1;
    const shape: KernelShape = { resolved, output: type, makes, twice, spread, draws: request.draws };
    const bytes = uniformOf(shape, batch, n);
    const uniform = this.#uniform(1, bytes);
    const buffers = new Map<string, GpuBuffer>();
    const uploaded: OrtValue[] = [];
    const made: Record<string, OrtValue> = {};
    for (const name of makes) made[name] = this.#value(this.#pool.take(4 * elementsOf(dims)), 'float32', dims);
    if (twice) made.next = this.#next(dims, 'float32', true);
    for (const [name, value] of Object.entries(made)) buffers.set(name, bufferOf(value));
    if (output) {
      buffers.set('m', bufferOf(output));
      buffers.set('found', this.#flag());
    }
    if (spread) {
      const [, , , , k] = new Uint32Array(bytes.buffer);
      buffers.set('search', this.#searchFrom(batch, k));
    }
    const alone = resolved.transform === 'quantile' && !spread;
    const whole = alone ? batch : groupsOf(elementsOf(dims));
    const kernels: (readonly [Kernel, groups: number])[] = [];
    for (const search of spread ? SEARCHES : []) {
      kernels.push([searchKernel(shape, search), search === 'count' || search === 'least' ? parts * batch : batch]);
    }
    for (const kernel of this.#kernels(shape)) kernels.push([kernel, whole]);
    const passes: { kernel: Kernel; pipeline: GpuPipeline; groups: number }[] = [];
    for (const [kernel, groups] of kernels) {
      for (const name of kernel.reads) {
        if (buffers.has(name)) continue;
        let value = await request.operand(name as Exclude<typeof name, 'm'>);
        if (!(value instanceof OrtWebValue)) {
          // Noise of the host, or what it is drawn from.
          value = await this.upload(value as OrtTensor as unknown as Slot);
          uploaded.push(value);
        }
        buffers.set(name, bufferOf(value as OrtValue));
      }
      passes.push({ kernel, pipeline: await this.#pipeline(kernel.code), groups });
    }
    await this.#submit((encoder) => {
      for (const { kernel, pipeline, groups } of passes) {
        const bound = [...kernel.reads, ...kernel.writes].map((name) => buffers.get(name) as GpuBuffer);
        this.#dispatch(encoder, pipeline, [uniform, ...bound], groups);
      }
      if (output) encoder.copyBufferToBuffer(this.#found as GpuBuffer, 0, this.#told as GpuBuffer, 0, 4);
    });
    for (const value of uploaded) value.dispose();
    if (input && !twice) made.next = await this.input(made.out, input.type, input.twice);
    return { ...(made as unknown as Stepped), found: output ? await this.#read() : null };
  }

  release(): void {
    this.#pool.destroy();
    for (const buffer of [...this.#uniforms, this.#found, this.#told, this.#search]) buffer?.destroy();
  }

  /** One kernel, or where it has more buffers than the device allows two: one for the state and one for the rest. */
  #kernels(shape: KernelShape): Kernel[] {
    const whole = kernelOf(shape);
    const most = this.#device.limits.maxStorageBuffersPerShaderStage;
    if (whole.reads.length + whole.writes.length <= most) return [whole];
    const first = kernelOf({ ...shape, makes: ['out'] });
    const others = shape.makes.filter((made) => made !== 'out');
    return [first, ...others.map((made) => kernelOf({ ...shape, makes: [made], twice: false }))];
  }

  /** Made once for a run: each search leaves it as the next one wants it. */
  #searchFrom(batch: number, k: number): GpuBuffer {
    if (!this.#search) {
      const words = searchBuffer(batch, k);
      this.#search = this.#device.createBuffer({ size: words.byteLength, usage: USAGE.storage | USAGE.copyTarget });
      this.#write(this.#search, words);
    }
    return this.#search;
  }

  #flag(): GpuBuffer {
    this.#found ??= this.#pool.take(4);
    this.#told ??= this.#device.createBuffer({ size: 4, usage: USAGE.mapRead | USAGE.copyTarget });
    this.#write(this.#found, Uint32Array.of(NONE));
    return this.#found;
  }

  /** What the last step has found: the next evaluation begins when this one has ended, which bounds what is queued. */
  async #read(): Promise<number> {
    const told = this.#told as GpuBuffer;
    await told.mapAsync(READ);
    const [sample] = new Uint32Array(told.getMappedRange());
    told.unmap();
    this.transfers.downloaded += 4;
    return sample === NONE ? -1 : sample;
  }

  #uniform(index: number, bytes: Uint8Array): GpuBuffer {
    this.#uniforms[index] ??= this.#device.createBuffer({
      size: bytes.byteLength,
      usage: USAGE.uniform | USAGE.copyTarget,
    });
    this.#write(this.#uniforms[index], bytes);
    this.transfers.uploaded += bytes.byteLength;
    return this.#uniforms[index];
  }

  #write(buffer: GpuBuffer, data: ArrayBufferView): void {
    let bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    if (bytes.length % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
      padded.set(bytes);
      bytes = padded;
    }
    this.#device.queue.writeBuffer(buffer, 0, bytes);
  }

  #value(buffer: GpuBuffer, type: string, dims: readonly number[]): OrtValue {
    const tensor = onnxRuntime().Tensor.fromGpuBuffer(buffer as never, { dataType: type, dims: [...dims] } as never);
    const free = () => this.#pool.give(buffer);
    return new OrtWebValue(tensor, free) as unknown as OrtValue;
  }

  #next(dims: readonly number[], type: FloatType, twice: boolean): OrtValue {
    const [batch, ...rest] = dims;
    const own = twice ? [2 * batch, ...rest] : dims;
    return this.#value(this.#pool.take((type === 'float32' ? 4 : 2) * elementsOf(own)), type, own);
  }

  #pipeline(code: string): Promise<GpuPipeline> {
    const device = this.#device;
    const known = compiled.get(device) ?? new Map<string, Promise<GpuPipeline>>();
    compiled.set(device, known);
    let pipeline = known.get(code);
    if (!pipeline) {
      const module = device.createShaderModule({ code });
      pipeline = device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
      known.set(code, pipeline);
    }
    return pipeline;
  }

  #dispatch(encoder: GpuEncoder, pipeline: GpuPipeline, buffers: readonly GpuBuffer[], groups: number): void {
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const most = this.#device.limits.maxComputeWorkgroupsPerDimension;
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.#device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(Math.min(groups, most), Math.ceil(groups / most));
    pass.end();
  }

  /** Behind what onnxruntime has queued: its calls and ours take turns. */
  #submit(record: (encoder: GpuEncoder) => void): Promise<void> {
    return inTurn(async () => {
      const encoder = this.#device.createCommandEncoder();
      record(encoder);
      this.#device.queue.submit([encoder.finish()]);
    });
  }
}

function bufferOf(value: OrtValue): GpuBuffer {
  const tensor = OrtWebValue.tensorOf(value) as WebTensor & { gpuBuffer: GpuBuffer };
  return tensor.gpuBuffer;
}

function elementsOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}
