import { info } from './native.js';

export interface Device {
  type: 'cpu' | 'cuda';
  /** The instruction set in use, or the card's name. */
  name: string;
  /** Processors that this process may use. */
  threads?: number;
}

/** Where steps can run: the CPU first, then CUDA cards. Never throws. */
export function devices(): Device[] {
  const { simd, threads } = info();
  return [{ type: 'cpu', name: simd, threads }];
}
