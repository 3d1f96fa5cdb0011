import { info } from '../addon/native.js';
import { cudaInfo } from '../cuda/info.js';

/** Something that steps can run on. */
export interface Device {
  /** The CPU, or an NVIDIA card. */
  type: 'cpu' | 'cuda';
  /** The instruction set in use, or the card's name. */
  name: string;
  /** Processors that this process may use. */
  threads?: number;
  /** A card's memory in bytes. */
  memory?: number;
  /** A card's, such as `'9.0'`. */
  computeCapability?: string;
  /** The CUDA version that a card's driver supports. */
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
