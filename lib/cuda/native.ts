// What native/addon/cuda exports: handles and addresses are bigints.
import { addon } from '../addon/native.js';

type Pointer = bigint;

export interface CudaAddon {
  cudaAlloc(device: number, bytes: number, told: 0 | 1): Pointer;
  cudaFree(device: number, memory: Pointer, bytes: number, told: 0 | 1): void;
  cudaPageLocked(device: number, bytes: number): ArrayBuffer | null;
  cudaStreamCreate(device: number, existing: Pointer | null): Pointer;
  cudaStreamDestroy(stream: Pointer): void;
  cudaStreamWait(stream: Pointer): void;
  cudaStreamQuery(stream: Pointer): boolean;
  cudaStreamPointer(stream: Pointer): Pointer;
  cudaStreamAfter(stream: Pointer, event: Pointer): void;
  cudaEventCreate(device: number): Pointer;
  cudaEventDestroy(event: Pointer): void;
  cudaEventRecord(event: Pointer, stream: Pointer): void;
  cudaEventWait(event: Pointer): void;
  cudaEventMilliseconds(from: Pointer, to: Pointer): number;
  cudaCopy(stream: Pointer, to: Pointer, from: Pointer, bytes: number): void;
  cudaZero(stream: Pointer, to: Pointer, bytes: number): void;
  cudaTransfer(
    stream: Pointer,
    device: number,
    memory: Pointer | null,
    array: ArrayBufferView | null,
    direction: 0 | 1 | 2,
  ): Promise<void>;
  cudaTransferNow(stream: Pointer, device: number, memory: Pointer, array: ArrayBufferView, direction: 0 | 1): void;
  cudaStep(stream: Pointer, call: BigUint64Array): void;
  cudaNothing(stream: Pointer): void;
  cudaNoise(
    stream: Pointer,
    seedLow: number,
    seedHigh: number,
    step: number,
    number: number,
    to: Pointer,
    n: number,
    wide: 0 | 1,
  ): void;
  cudaErrorNorm(
    stream: Pointer,
    low: Pointer,
    high: Pointer,
    previous: Pointer,
    partial: Pointer,
    out: Pointer,
    batch: number,
    n: number,
    wide: 0 | 1,
    tolerances: Float64Array,
  ): void;
  cudaGuide(
    stream: Pointer,
    rows: Pointer,
    guide: Pointer,
    x: Pointer,
    m: Pointer,
    u: Pointer,
    kept: Pointer | null,
    work: Pointer,
    numbers: Float64Array,
  ): void;
  cudaCaptureBegin(stream: Pointer): void;
  cudaCaptureEnd(stream: Pointer): Pointer;
  cudaGraphLaunch(graph: Pointer, stream: Pointer): void;
  cudaGraphDestroy(graph: Pointer): void;
}

export const native = addon as unknown as CudaAddon;
