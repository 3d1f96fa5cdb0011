// What is used of WebGPU, for which Node has no declarations, and buffers that a run uses again and again.
import { onnxRuntime } from '../../onnx/web/runtime.js';

export interface GpuBuffer {
  readonly size: number;
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

export interface GpuPipeline {
  getBindGroupLayout(index: number): object;
}

interface GpuPass {
  setPipeline(pipeline: GpuPipeline): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y?: number): void;
  end(): void;
}

export interface GpuEncoder {
  beginComputePass(): GpuPass;
  copyBufferToBuffer(from: GpuBuffer, fromAt: number, to: GpuBuffer, toAt: number, bytes: number): void;
  finish(): object;
}

export interface GpuDevice {
  readonly limits: {
    readonly maxStorageBuffersPerShaderStage: number;
    readonly maxComputeWorkgroupsPerDimension: number;
  };
  readonly queue: {
    submit(commands: readonly object[]): void;
    writeBuffer(buffer: GpuBuffer, at: number, data: ArrayBufferView): void;
  };
  createBuffer(options: { size: number; usage: number }): GpuBuffer;
  createShaderModule(options: { code: string }): object;
  createComputePipelineAsync(options: {
    layout: 'auto';
    compute: { module: object; entryPoint: string };
  }): Promise<GpuPipeline>;
  createBindGroup(options: {
    layout: object;
    entries: readonly { binding: number; resource: { buffer: GpuBuffer } }[];
  }): object;
  createCommandEncoder(): GpuEncoder;
}

/** GPUBufferUsage, by the numbers of the standard. */
export const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
/** GPUMapMode.READ */
export const READ = 1;

/** The device that onnxruntime-web's networks share, once one has been opened for WebGPU. */
export async function gpuDevice(): Promise<GpuDevice> {
  let device: unknown;
  try {
    device = await onnxRuntime().env.webgpu.device;
  } catch {
    device = undefined;
  }
  if (device) return device as GpuDevice;
  throw new Error("Expected a network that was opened for 'webgpu' with modelDevice 'webgpu' but found none");
}

/** Buffers for tensors: what is given back is taken again. */
export class Pool {
  readonly #device: GpuDevice;
  readonly #all = new Set<GpuBuffer>();
  readonly #free = new Map<number, GpuBuffer[]>();

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  take(bytes: number): GpuBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const known = this.#free.get(size)?.pop();
    if (known) return known;
    const usage = USAGE.storage | USAGE.copySource | USAGE.copyTarget;
    const buffer = this.#device.createBuffer({ size, usage });
    this.#all.add(buffer);
    return buffer;
  }

  give(buffer: GpuBuffer): void {
    const free = this.#free.get(buffer.size);
    if (free) free.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
  }

  destroy(): void {
    for (const buffer of this.#all) buffer.destroy();
    this.#all.clear();
    this.#free.clear();
  }
}
