/// <reference lib="esnext.disposable" preserve="true" />
// Streams, events and graphs of a card.
import { wholeNumber, wrongType } from '../base/check.js';
import { requireCuda } from './info.js';
import { native } from './native.js';

/** What is freed when its owner is collected without having been disposed. */
const forgotten = new FinalizationRegistry<() => void>((free) => {
  try {
    free();
  } catch {
    // As in dispose().
  }
});

/** Frees once: by `dispose`, or when the owner is collected. @internal */
export class Disposer {
  #free: (() => void) | null;
  constructor(owner: object, free: () => void) {
    this.#free = free;
    forgotten.register(owner, free, this);
  }
  get done(): boolean {
    return this.#free === null;
  }
  dispose(): void {
    const free = this.#free;
    if (free === null) return;
    this.#free = null;
    forgotten.unregister(this);
    try {
      free();
    } catch {
      // After a fault the card refuses this as well, and whoever caused it was told.
    }
  }
}

/** `device` if it is the index of a card, otherwise throws. @internal */
export function checkDevice(device: number | undefined, what: string): number {
  const { devices } = requireCuda(what);
  if (device === undefined) return devices[0]!.index;
  return wholeNumber(device, 'device', 0, devices[devices.length - 1]!.index);
}

function otherCard(what: string, expected: number, found: number): RangeError {
  return new RangeError(`Expected ${what} card ${expected} but received one on card ${found}`);
}

/** A tensor, as far as streams and graphs have to know it. @internal */
export interface Captured {
  readonly device: number;
  readonly disposed: boolean;
}

/** A queue of work on a card: what is queued runs in order, beside the host and other streams. */
export class Stream {
  /** Index of its card. */
  readonly device: number;
  readonly #handle: bigint;
  readonly #disposer: Disposer;
  /** Copies that have not ended, and what they need until then. */
  readonly #pending = new Map<Promise<void>, unknown>();
  #captured: Set<Captured> | null = null;

  /**
   * @param options.device index of the card, as in `cudaInfo().devices`; the first one
   * @param options.pointer the `cudaStream_t` of somebody else, who goes on owning it; without it a stream is made
   */
  constructor(options: { device?: number; pointer?: bigint } = {}) {
    this.device = checkDevice(options.device, 'a Stream');
    const { pointer } = options;
    if (pointer !== undefined && typeof pointer !== 'bigint') throw wrongType('a bigint', 'pointer', pointer);
    const handle = native.cudaStreamCreate(this.device, pointer ?? null);
    const pending = this.#pending;
    this.#handle = handle;
    // Copies hold page-locked memory of the stream until they are done.
    this.#disposer = new Disposer(this, () => {
      // Not before: otherwise the memory would go to somebody else while the card still reads or writes it.
      if (pending.size === 0) native.cudaStreamDestroy(handle);
      else {
        Promise.allSettled([...pending.keys()])
          .then(() => native.cudaStreamDestroy(handle))
          // As in dispose().
          .catch(() => {});
      }
    });
  }

  /** The `cudaStream_t`, for other addons. */
  get pointer(): bigint {
    return native.cudaStreamPointer(this.handle);
  }
  /** @internal */
  get handle(): bigint {
    if (this.#disposer.done) throw new Error('Expected a living stream but received one that was disposed');
    return this.#handle;
  }
  /** Is everything done that was queued? */
  get idle(): boolean {
    return native.cudaStreamQuery(this.handle);
  }
  /** Blocks this thread until everything is done that was queued. Errors of the card come to light here. */
  wait(): void {
    native.cudaStreamWait(this.handle);
  }
  /** The same without blocking. */
  done(): Promise<void> {
    return this.track(native.cudaTransfer(this.handle, this.device, null, null, 2));
  }
  /** What is queued from now on waits for the event. */
  after(event: StreamEvent): void {
    native.cudaStreamAfter(this.handle, event.handle);
  }
  /**
   * Records what `queue` queues on this stream, without running it, as one unit that is launched again and again with
   * the same addresses: `queue` returns before anything runs, allocates nothing and copies nothing from or to the host.
   * The graph keeps the tensors alive that deviceStep and the like were given; those that are somebody else's have to
   * stay where they are.
   */
  capture(queue: () => void): Graph {
    native.cudaCaptureBegin(this.handle);
    const captured = new Set<Captured>();
    this.#captured = captured;
    try {
      queue();
    } catch (error) {
      try {
        native.cudaGraphDestroy(native.cudaCaptureEnd(this.handle));
      } catch {
        // What went wrong in `queue` has ended the capture as well.
      }
      throw error;
    } finally {
      this.#captured = null;
    }
    return new Graph(native.cudaCaptureEnd(this.handle), this.device, [...captured]);
  }
  /** Is `capture` recording? @internal */
  get capturing(): boolean {
    return this.#captured !== null;
  }
  /** What is queued uses these tensors: they have to be of its card, and a graph that is being recorded keeps them. @internal */
  uses(name: string, ...tensors: Captured[]): void {
    for (const tensor of tensors) {
      if (tensor.device !== this.device) throw otherCard(`${name} on`, this.device, tensor.device);
      this.#captured?.add(tensor);
    }
  }
  /** The same for a copy from or to the host, which a graph cannot repeat: the host's memory is used again. @internal */
  copies(name: string, tensor: Captured): void {
    if (this.#captured) throw new Error('Expected no copy between host and card during a capture but received one');
    this.uses(name, tensor);
  }
  /** Keeps the stream and `needed` until the promise is settled. @internal */
  track<T>(promise: Promise<T>, needed: unknown = null): Promise<T> {
    const settled = promise.then(
      () => {},
      () => {},
    );
    this.#pending.set(settled, needed);
    void settled.then(() => this.#pending.delete(settled));
    return promise;
  }
  /** Frees it at once; a second call does nothing. */
  dispose(): void {
    this.#disposer.dispose();
  }
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A mark in a stream. */
export class StreamEvent {
  /** Index of its card. */
  readonly device: number;
  readonly #handle: bigint;
  readonly #disposer: Disposer;
  /** @param options.device index of the card; the first one */
  constructor(options: { device?: number } = {}) {
    this.device = checkDevice(options.device, 'a StreamEvent');
    const handle = native.cudaEventCreate(this.device);
    this.#handle = handle;
    this.#disposer = new Disposer(this, () => native.cudaEventDestroy(handle));
  }
  /** @internal */
  get handle(): bigint {
    if (this.#disposer.done) throw new Error('Expected a living event but received one that was disposed');
    return this.#handle;
  }
  /** Marks this place in the stream. */
  record(stream: Stream): void {
    if (stream.device !== this.device) throw otherCard('a stream of', this.device, stream.device);
    native.cudaEventRecord(this.handle, stream.handle);
  }
  /** Blocks this thread until the stream has come to the mark. */
  wait(): void {
    native.cudaEventWait(this.handle);
  }
  /** Milliseconds of the card's time from `earlier` to here; both must have been passed. */
  since(earlier: StreamEvent): number {
    return native.cudaEventMilliseconds(earlier.handle, this.handle);
  }
  /** Frees it at once; a second call does nothing. */
  dispose(): void {
    this.#disposer.dispose();
  }
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** What {@link Stream.capture} recorded. The tensors that it uses must not be disposed as long as it is launched. */
export class Graph {
  /** Index of its card. */
  readonly device: number;
  readonly #handle: bigint;
  #tensors: readonly Captured[];
  readonly #disposer: Disposer;
  /** @internal */
  constructor(handle: bigint, device: number, tensors: readonly Captured[]) {
    this.device = device;
    this.#handle = handle;
    this.#tensors = tensors;
    this.#disposer = new Disposer(this, () => native.cudaGraphDestroy(handle));
  }
  /** Queues all of it. Errors of the card come to light when the stream is waited for. */
  launch(stream: Stream): void {
    if (this.#disposer.done) throw new Error('Expected a living graph but received one that was disposed');
    if (stream.device !== this.device) throw otherCard('a stream of', this.device, stream.device);
    for (const tensor of this.#tensors) {
      if (tensor.disposed) throw new Error('Expected living tensors for a graph but received one that was disposed');
    }
    native.cudaGraphLaunch(this.#handle, stream.handle);
  }
  /** Frees it at once; a second call does nothing. */
  dispose(): void {
    this.#tensors = [];
    this.#disposer.dispose();
  }
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
