// What the machine has in CUDA cards. Asking never throws and needs neither card nor driver nor the CUDA library.
import { addon } from '../native.js';

export interface CudaDevice {
  index: number;
  name: string;
  /** Bytes of the card's memory, and how many are free now. */
  memory: number;
  free: number;
  computeCapability: string;
  multiprocessors: number;
  /** Bytes of shared memory that one block may have. */
  sharedMemory: number;
  /** Blocks of a cluster; 0 where the card has none. */
  maxCluster: number;
  /** Whether blocks may be launched that wait for each other. */
  cooperative: boolean;
}

export interface CudaInfo {
  /** Is there a card to run on? */
  available: boolean;
  /** Why not, or null. */
  reason: string | null;
  /** Where the CUDA library is looked for: beside the addon. */
  library: string;
  /** CUDA's error number, or 0. */
  code: number;
  /** The CUDA version that the driver supports, and the one that the library was built with. */
  driver: string | null;
  runtime: string | null;
  devices: CudaDevice[];
}

/** The cards, or why there is none. The CUDA library is opened on the first call. */
export function cudaInfo(): CudaInfo {
  return (addon as unknown as { cudaInfo(): CudaInfo }).cudaInfo();
}

let found: CudaInfo | undefined;

/** Throws one sentence that says why there is no card, where there is none. @internal */
export function requireCuda(what: string): CudaInfo {
  // Cards do not come and go, and asking them takes long.
  if (found) return found;
  const info = cudaInfo();
  if (info.available) {
    found = info;
    return info;
  }
  throw new Error(`Expected a CUDA card for ${what} but ${info.reason}`);
}
