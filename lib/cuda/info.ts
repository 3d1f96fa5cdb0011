// What the machine has in CUDA cards. Asking never throws and needs neither card nor driver nor the CUDA library.
import { cudaAdvice } from '../addon/backend.js';
import { addon } from '../addon/native.js';

/** An NVIDIA card. */
export interface CudaDevice {
  /** Its number, from 0, as CUDA counts. */
  index: number;
  /** As its driver calls it. */
  name: string;
  /** Bytes of its memory. */
  memory: number;
  /**
   * Bytes that can be had now, with what this process keeps for the next tensor; null where it has done nothing yet: to ask
   * would take memory of that card.
   */
  free: number | null;
  /** Such as `'9.0'`. */
  computeCapability: string;
  /** How many it has. */
  multiprocessors: number;
  /** Bytes of shared memory that one block may have. */
  sharedMemory: number;
  /** Blocks of a cluster that every card of its kind takes: 8, or 0 where it has none. */
  maxCluster: number;
  /** Whether blocks may be launched that wait for each other. */
  cooperative: boolean;
}

/** What {@link cudaInfo} finds. */
export interface CudaInfo {
  /** Is there a card to run on? */
  available: boolean;
  /** Why not, or null. */
  reason: string | null;
  /** Where the CUDA library is looked for: beside the addon. */
  library: string;
  /** CUDA's error number, or 0. */
  code: number;
  /** The CUDA version that the driver supports. */
  driver: string | null;
  /** The CUDA version that the library was built with. */
  runtime: string | null;
  /** The cards, none where there is nothing to run on. */
  devices: CudaDevice[];
}

/** The cards, or why there is none. The CUDA library is opened on the first call. */
export function cudaInfo(): CudaInfo {
  const info = (addon as unknown as { cudaInfo(): CudaInfo }).cudaInfo();
  // The addon is native, and there is no library beside it, or none that belongs to it.
  if (info.library !== '' && info.runtime === null && info.reason !== null) info.reason += ` (${cudaAdvice()})`;
  return info;
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
