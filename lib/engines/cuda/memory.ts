// What a run has on a card, in few pieces: allocated at once, freed at once.
import type { NetworkArray } from '../../addon/native.js';
import { native } from '../../cuda/native.js';
import type { Stream } from '../../cuda/stream.js';
import { DeviceTensor, type DeviceType } from '../../cuda/tensor.js';

type Wanted = readonly [dims: readonly number[], type: DeviceType];

/** Every tensor begins where any access is aligned. */
const ALIGNMENT = 256;

/** @internal */
export class RunMemory {
  readonly #device: number;
  readonly #blocks: DeviceTensor[] = [];

  constructor(device: number) {
    this.#device = device;
  }

  /** The pieces that all tensors lie in. */
  get blocks(): readonly DeviceTensor[] {
    return this.#blocks;
  }

  /** Tensors in one piece of memory, in the order in which they are wanted. */
  take<W extends readonly Wanted[]>(...wanted: W): { [K in keyof W]: DeviceTensor } {
    return this.takeTogether(...wanted).tensors;
  }

  /** The same, with the piece itself, and where in it each of them begins. */
  takeTogether<W extends readonly Wanted[]>(
    ...wanted: W
  ): { block: DeviceTensor; offsets: number[]; tensors: { [K in keyof W]: DeviceTensor } } {
    const offsets: number[] = [];
    let bytes = 0;
    for (const [dims, type] of wanted) {
      offsets.push(bytes);
      const own = dims.reduce((product, size) => product * size, 1) * DeviceTensor.bytesOf(type);
      bytes = Math.ceil((bytes + own) / ALIGNMENT) * ALIGNMENT;
    }
    const block = DeviceTensor.allocForRun([Math.max(1, bytes / 4)], 'uint32', this.#device);
    this.#blocks.push(block);
    const tensors = wanted.map(([dims, type], i) => DeviceTensor.viewOf(block, offsets[i]!, dims, type));
    return { block, offsets, tensors: tensors as { [K in keyof W]: DeviceTensor } };
  }

  dispose(): void {
    for (const block of this.#blocks) block.dispose();
  }
}

/** Arrays for networks on the host, in memory that the card writes by itself; kept for the next run. */
const spare = new WeakMap<Stream, ArrayBuffer[]>();
const MOST_SPARE = 4;

/** Memory for an array that is copied from the card again and again. @internal */
export function takeHostMemory(stream: Stream, bytes: number): ArrayBuffer {
  const kept = spare.get(stream) ?? [];
  const at = kept.findIndex((buffer) => buffer.byteLength === bytes);
  if (at >= 0) return kept.splice(at, 1)[0]!;
  return native.cudaPageLocked(stream.device, bytes) ?? new ArrayBuffer(bytes);
}

/** @internal */
export function giveHostMemory(stream: Stream, data: NetworkArray): void {
  const kept = spare.get(stream) ?? [];
  kept.push(data.buffer as ArrayBuffer);
  if (kept.length > MOST_SPARE) kept.shift();
  spare.set(stream, kept);
}
