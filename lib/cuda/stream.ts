// Streams, events and graphs of a card.
import { wholeNumber, wrongType } from '../check.js';
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

/** A queue of work on a card: what is queued runs in order, beside the host and other streams. */
export class Stream {
  /** Index of its card. */
  readonly device: number;
  readonly #handle: bigint;
  readonly #disposer: Disposer;
  readonly #pending = new Set<Promise<void>>();

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
      if (pending.size === 0) native.cudaStreamDestroy(handle);
      else void Promise.allSettled([...pending]).then(() => native.cudaStreamDestroy(handle));
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
   * the same addresses. Run the same once before: working space may have to grow.
   */
  capture(queue: () => void): Graph {
    native.cudaCaptureBegin(this.handle);
    try {
      queue();
    } catch (error) {
      try {
        native.cudaGraphDestroy(native.cudaCaptureEnd(this.handle));
      } catch {
        // What went wrong in `queue` has ended the capture as well.
      }
      throw error;
    }
    return new Graph(native.cudaCaptureEnd(this.handle));
  }
  /** @internal */
  track<T>(promise: Promise<T>): Promise<T> {
    const settled = promise.then(
      () => {},
      () => {},
    );
    this.#pending.add(settled);
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
  readonly #handle: bigint;
  readonly #disposer: Disposer;
  /** @param options.device index of the card; the first one */
  constructor(options: { device?: number } = {}) {
    const handle = native.cudaEventCreate(checkDevice(options.device, 'a StreamEvent'));
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

/** What {@link Stream.capture} recorded. The tensors that it uses have to live as long as it is launched. */
export class Graph {
  readonly #handle: bigint;
  readonly #disposer: Disposer;
  /** @internal */
  constructor(handle: bigint) {
    this.#handle = handle;
    this.#disposer = new Disposer(this, () => native.cudaGraphDestroy(handle));
  }
  /** Queues all of it. Errors of the card come to light when the stream is waited for. */
  launch(stream: Stream): void {
    if (this.#disposer.done) throw new Error('Expected a living graph but received one that was disposed');
    native.cudaGraphLaunch(this.#handle, stream.handle);
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
