/// <reference lib="esnext.disposable" preserve="true" />
// Tensors in a card's memory.
import { oneOf, wrongType } from '../base/check.js';
import { native } from './native.js';
import { checkDevice, Disposer, type Stream } from './stream.js';

/** The types of a card's tensors. */
export type DeviceType = 'float32' | 'float16' | 'bfloat16' | 'float64' | 'uint32';

const BYTES: Record<DeviceType, number> = { float32: 4, float16: 2, bfloat16: 2, float64: 8, uint32: 4 };
const TYPES = Object.keys(BYTES) as DeviceType[];

/** What holds a tensor's elements on the host; 16-bit types are the bits in a Uint16Array, or a Float16Array. */
export type HostArray = Float32Array | Float64Array | Uint16Array | Uint32Array;

/** Where a tensor is made. */
export interface DeviceTensorOptions {
  /** Index of the card, as in `cudaInfo().devices`; the first one. */
  device?: number;
}

/**
 * A tensor in a card's memory. `dispose()` (or `using`) frees it at once; otherwise it is freed when it is garbage, whose
 * collector knows its size. Memory is not cleared when it is allocated. What has been queued on a `Stream` by then may still
 * use it; work that was queued elsewhere must be done before.
 */
export class DeviceTensor {
  /** Positive integers. */
  readonly dims: readonly number[];
  /** Of its elements. */
  readonly type: DeviceType;
  /** Index of its card. */
  readonly device: number;
  /** Number of elements. */
  readonly length: number;
  /** Bytes of memory. */
  readonly bytes: number;
  readonly #pointer: bigint;
  /** Null where the memory is somebody else's. */
  readonly #disposer: Disposer | null;
  #disposed = false;
  /** Whose memory it is, kept alive with this. */
  readonly #owner: unknown;

  private constructor(
    dims: readonly number[],
    type: DeviceType,
    device: number,
    pointer: bigint,
    free: (() => void) | null,
    owner: unknown,
  ) {
    this.dims = [...dims];
    this.type = type;
    this.device = device;
    this.length = count(dims);
    this.bytes = this.length * BYTES[type];
    this.#pointer = pointer;
    this.#owner = owner;
    this.#disposer = free && new Disposer(this, free);
  }

  /**
   * Memory of its own, not cleared.
   *
   * @param dims positive integers, 2^45 elements at most
   * @throws TypeError, RangeError for other dims, types or cards; Error where the card's memory does not suffice
   */
  static alloc(dims: readonly number[], type: DeviceType = 'float32', options: DeviceTensorOptions = {}): DeviceTensor {
    return DeviceTensor.#alloc(dims, type, checkDevice(options.device, 'a DeviceTensor'), 1);
  }
  /** The same for what is disposed in any case: the garbage collector need not know of it. @internal */
  static allocForRun(dims: readonly number[], type: DeviceType, device: number): DeviceTensor {
    return DeviceTensor.#alloc(dims, type, device, 0);
  }
  /** Part of a block's memory, from a byte on. @internal */
  static viewOf(block: DeviceTensor, from: number, dims: readonly number[], type: DeviceType): DeviceTensor {
    return new DeviceTensor(dims, type, block.device, block.pointer + BigInt(from), null, block);
  }
  /** Of one element. @internal */
  static bytesOf(type: DeviceType): number {
    return BYTES[type];
  }
  static #alloc(dims: readonly number[], type: DeviceType, device: number, told: 0 | 1): DeviceTensor {
    oneOf(type, 'type', TYPES);
    const bytes = count(dims) * BYTES[type];
    const pointer = native.cudaAlloc(device, bytes, told);
    return new DeviceTensor(dims, type, device, pointer, () => native.cudaFree(device, pointer, bytes, told), null);
  }

  /** Memory of somebody else, who goes on owning it; `owner` is kept alive as long as the tensor. */
  static wrap(
    pointer: bigint,
    dims: readonly number[],
    type: DeviceType,
    options: DeviceTensorOptions & { owner?: unknown } = {},
  ): DeviceTensor {
    if (typeof pointer !== 'bigint') throw wrongType('an address as a bigint', 'pointer', pointer);
    oneOf(type, 'type', TYPES);
    const size = BigInt(BYTES[type]);
    if (pointer <= 0n || pointer >= 1n << 64n || pointer % size !== 0n) {
      throw new RangeError(`Expected a multiple of ${size}, not zero, for pointer but received ${pointer}`);
    }
    count(dims);
    const device = checkDevice(options.device, 'a DeviceTensor');
    return new DeviceTensor(dims, type, device, pointer, null, options.owner);
  }

  /** A copy of a host array. */
  static async from(
    data: HostArray,
    stream: Stream,
    options: { dims?: readonly number[]; type?: DeviceType } = {},
  ): Promise<DeviceTensor> {
    const type = options.type ?? typeOf(data);
    const tensor = DeviceTensor.alloc(options.dims ?? [data.length], type, { device: stream.device });
    try {
      await tensor.copyFrom(data, stream);
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  /** The address, for other addons. */
  get pointer(): bigint {
    if (this.disposed) throw new Error('Expected a living tensor but received one that was disposed');
    return this.#pointer;
  }
  /** Has it been freed, or the tensor that it is a part of? */
  get disposed(): boolean {
    return this.#disposed || (this.#owner instanceof DeviceTensor && this.#owner.disposed);
  }
  /** What `wrap` was told. */
  get owner(): unknown {
    return this.#owner;
  }

  /** Copies to the card. The array is read before this returns; the promise is kept when the card has it. */
  copyFrom(data: HostArray, stream: Stream): Promise<void> {
    this.#checkArray(data);
    stream.copies('copyFrom', this);
    return stream.track(native.cudaTransfer(stream.handle, this.device, this.pointer, data, 0), this);
  }
  /** Copies from the card, what was queued before included. The array is written when the promise is kept. */
  async copyTo<A extends HostArray>(data: A, stream: Stream): Promise<A> {
    this.#checkArray(data);
    stream.copies('copyTo', this);
    await stream.track(native.cudaTransfer(stream.handle, this.device, this.pointer, data, 1), this);
    return data;
  }
  /** The same two while this thread waits, with all that was queued before. @internal */
  transferNow(data: HostArray, stream: Stream, direction: 'up' | 'down'): void {
    this.#checkArray(data);
    stream.copies('a copy', this);
    native.cudaTransferNow(stream.handle, this.device, this.pointer, data, direction === 'up' ? 0 : 1);
  }
  /** `length` elements from `first` on, in the same memory, which is kept alive. */
  part(first: number, dims: readonly number[]): DeviceTensor {
    const length = count(dims);
    if (!Number.isSafeInteger(first) || first < 0 || first + length > this.length) {
      throw new RangeError(
        `Expected a part of ${this.length} elements but received ${length} from element ${first} on`,
      );
    }
    const pointer = this.pointer + BigInt(first * BYTES[this.type]);
    return new DeviceTensor(dims, this.type, this.device, pointer, null, this);
  }
  /** Queues a copy from another tensor of the same type and length. */
  copy(from: DeviceTensor, stream: Stream): void {
    if (from.type !== this.type || from.length !== this.length) {
      throw new RangeError(
        `Expected ${this.length} elements of ${this.type} but received ${from.length} of ${from.type}`,
      );
    }
    stream.uses('copy', this);
    if (stream.capturing) stream.uses('copy', from);
    native.cudaCopy(stream.handle, this.pointer, from.pointer, this.bytes);
  }
  /** Queues that all is set to zero. */
  zero(stream: Stream): void {
    stream.uses('zero', this);
    native.cudaZero(stream.handle, this.pointer, this.bytes);
  }

  /** Frees it at once; a second call does nothing. */
  dispose(): void {
    this.#disposed = true;
    this.#disposer?.dispose();
  }
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkArray(data: HostArray): void {
    const bytes = BYTES[this.type];
    if (!ArrayBuffer.isView(data) || data instanceof DataView || data.BYTES_PER_ELEMENT !== bytes) {
      throw wrongType(`a typed array for ${this.type}`, 'data', data);
    }
    if (this.type !== 'float16' && this.type !== 'bfloat16' && typeOf(data) !== this.type) {
      throw wrongType(`a typed array for ${this.type}`, 'data', data);
    }
    if (data.length !== this.length) {
      throw new RangeError(`Expected ${this.length} elements for data but received ${data.length}`);
    }
  }
}

function typeOf(data: HostArray): DeviceType {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof Uint32Array) return 'uint32';
  if (data instanceof Uint16Array || (ArrayBuffer.isView(data) && data[Symbol.toStringTag] === 'Float16Array')) {
    return 'float16';
  }
  throw wrongType('a Float32Array, Float64Array, Uint16Array or Uint32Array', 'data', data);
}

function count(dims: readonly number[]): number {
  if (!Array.isArray(dims)) throw wrongType('an array of positive integers', 'dims', dims);
  let length = 1;
  for (const [i, size] of dims.entries()) {
    if (typeof size !== 'number') throw wrongType('a positive integer', `dims[${i}]`, size);
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(`Expected a positive integer for dims[${i}] but received ${size}`);
    }
    length *= size;
  }
  if (length > 2 ** 45) throw new RangeError(`Expected fewer than 2^45 elements but received [${dims.join(', ')}]`);
  return length;
}
