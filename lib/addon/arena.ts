// Where the tensors that belong to a run are made. The native addon reads and writes any array; WebAssembly its own
// memory only, so that there a run has its tensors in that.

import { allocate, type TensorType } from '../base/tensor.js';
import { addon, type NetworkArray, type StateArray } from './native.js';
import { ARENA, type ArrayClass, type MakeArena } from './wasm/arena.js';

/** Bytes of one number. @internal */
export const BYTES: Readonly<Record<TensorType, number>> = { float16: 2, float32: 4, float64: 8 };

/** From here on an array is worth a place in WebAssembly's memory: an instance takes longer to make than small copies. */
const WORTH = 32768;
/** An array begins some lines of the cache after the one before it (lib/wasm/napi.ts). */
const PER_ARRAY = 1024;

/** What one run's arrays are made with. @internal */
export class Arena {
  readonly #take: ReturnType<MakeArena>;

  /**
   * @param arrays bytes of each array that will be made, and how often
   * @param room bytes of what one call gets besides: network outputs
   */
  constructor(arrays: readonly (readonly [bytes: number, count: number])[], room: number) {
    const largest = arrays.reduce((most, [bytes]) => Math.max(most, bytes), 0);
    const make = largest >= WORTH ? (addon[ARENA] as MakeArena | undefined) : undefined;
    const all = arrays.reduce((sum, [bytes, count]) => sum + count * (bytes + PER_ARRAY), 0);
    this.#take = make ? make(all, room) : null;
  }

  /** As `allocate` of tensor.ts. */
  allocate(type: TensorType, length: number, like?: NetworkArray): NetworkArray {
    if (!this.#take) return allocate(type, length, like);
    const Class = allocate(type, 0, like).constructor as ArrayClass<NetworkArray>;
    return this.#take(Class, length) ?? allocate(type, length, like);
  }

  state(type: 'float32' | 'float64', length: number): StateArray {
    return this.allocate(type, length) as StateArray;
  }

  bytes(length: number): Uint8Array {
    return this.#take?.(Uint8Array as ArrayClass<Uint8Array>, length) ?? new Uint8Array(length);
  }

  doubles(length: number): Float64Array {
    return this.state('float64', length) as Float64Array;
  }
}
