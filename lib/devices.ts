import { cudaInfo } from './cuda/info.js';
import { info } from './native.js';

export interface Device {
  type: 'cpu' | 'cuda';
  /** The instruction set in use, or the card's name. */
  name: string;
  /** Processors that this process may use. */
  threads?: number;
  /** A card's memory in bytes, its compute capability, and the CUDA version that its driver supports. */
  memory?: number;
  computeCapability?: string;
  driver?: string;
}

/** Where steps can run: the CPU first, then CUDA cards. Never throws. */
export function devices(): Device[] {
  const { simd, threads } = info();
  const list: Device[] = [{ type: 'cpu', name: simd, threads }];
  const cuda = cudaInfo();
  for (const { name, memory, computeCapability } of cuda.devices) {
    list.push({ type: 'cuda', name, memory, computeCapability, ...(cuda.driver ? { driver: cuda.driver } : {}) });
  }
  return list;
}
