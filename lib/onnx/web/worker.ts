// Networks in a worker of a page, which is replaced when its graphics processor is lost: in that worker no network can be opened
// any more. The page asks by name, and a call that was under way is made again.
import { optionalFunction, optionalSignal, wrongType } from '../../base/check.js';
import { onDeviceLost } from './runtime.js';

/** A `Worker` of the browser, as far as it is used here. */
export interface WorkerLike {
  /** Sends a message. */
  postMessage(message: unknown): void;
  /** Ends it. */
  terminate(): void;
  /** Messages and errors. */
  addEventListener(type: 'message' | 'error', listener: (event: never) => void): void;
}

/** Options of {@link NetworkWorker.call}. */
export interface WorkerCallOptions {
  /** Is told what the call tells; again from the beginning where the worker was replaced. */
  onMessage?: (message: never) => void;
  /** Ends the call: its promise rejects with the signal's reason, and the worker's own signal aborts. */
  signal?: AbortSignal;
}

/** What a call in a worker is given besides its options. */
export interface WorkerCallContext {
  /** Tells the page something: what can be cloned. */
  tell(message: unknown): void;
  /** Aborts when the page gives up. */
  readonly signal: AbortSignal;
}

/** Calls by their names. */
export type WorkerCalls = Readonly<Record<string, (options: never, context: WorkerCallContext) => unknown>>;

/** From the page. */
type Asked = { id: number; call: string; options: unknown } | { id: number; abort: true };
/** From the worker. */
type Told =
  | { id: number; told: unknown }
  | { id: number; result: unknown }
  | { id: number; error: { name: string; message: string } }
  | { lost: string };

interface Pending {
  readonly call: string;
  readonly options: unknown;
  readonly onMessage: ((message: never) => void) | undefined;
  resolve(result: unknown): void;
  reject(error: unknown): void;
  /** Has it been made again? */
  again: boolean;
}

/**
 * A worker that answers calls ({@link answerCalls}), and another one in its place when its graphics processor is lost or it fails
 * altogether.
 *
 *     const drawing = new NetworkWorker(() => new Worker('worker.js', { type: 'module' }));
 *     const picture = await drawing.call('draw', { prompt: 'a red circle' });
 */
export class NetworkWorker {
  readonly #start: (count: number) => WorkerLike;
  readonly #pending = new Map<number, Pending>();
  #worker: WorkerLike | undefined;
  #next = 1;
  #started = 0;
  #disposed = false;

  /** @param start begins a worker: told which one it is, from 1 */
  constructor(start: (count: number) => WorkerLike) {
    if (typeof start !== 'function') throw wrongType('a function that begins a Worker', 'start', start);
    this.#start = start;
  }

  /** Workers begun so far. */
  get started(): number {
    return this.#started;
  }

  /**
   * Has the worker do something.
   *
   * @param call the name of one of its calls
   * @param options what can be cloned
   * @returns rejects with what the call throws, by its message; the signal's reason; Error where a worker was lost twice
   */
  call<T = unknown>(call: string, options?: unknown, { onMessage, signal }: WorkerCallOptions = {}): Promise<T> {
    optionalFunction(onMessage, 'onMessage');
    optionalSignal(signal);
    return new Promise<T>((resolve, reject) => {
      if (this.#disposed) throw new Error('Expected a NetworkWorker for a call but received one that was disposed of');
      signal?.throwIfAborted();
      const id = this.#next++;
      const abort = () => {
        this.#worker?.postMessage({ id, abort: true } satisfies Asked);
        settle(() => reject((signal as AbortSignal).reason));
      };
      const settle = (how: () => void) => {
        this.#pending.delete(id);
        signal?.removeEventListener('abort', abort);
        how();
      };
      signal?.addEventListener('abort', abort, { once: true });
      const pending: Pending = {
        ...{ call, options, onMessage, again: false },
        resolve: (result) => settle(() => resolve(result as T)),
        reject: (error) => settle(() => reject(error)),
      };
      this.#pending.set(id, pending);
      this.#send(id, pending);
    });
  }

  /** Ends the worker; calls that are under way reject. */
  dispose(): void {
    this.#disposed = true;
    this.#drop();
    const error = new Error('The NetworkWorker was disposed of during the call');
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #send(id: number, { call, options }: Pending): void {
    this.#worker ??= this.#begin();
    this.#worker.postMessage({ id, call, options } satisfies Asked);
  }

  #begin(): WorkerLike {
    const worker = this.#start(++this.#started);
    worker.addEventListener('message', ({ data }: { data: Told }) => {
      if (worker !== this.#worker) return;
      if ('lost' in data) this.#replace(`its graphics processor was lost: ${data.lost}`);
      else this.#hear(data);
    });
    worker.addEventListener('error', ({ message }: { message?: string }) => {
      if (worker === this.#worker) this.#fail(new Error(`A worker failed: ${message ?? 'it could not be loaded'}`));
    });
    return worker;
  }

  #hear(told: Exclude<Told, { lost: string }>): void {
    const pending = this.#pending.get(told.id);
    if (!pending) return;
    if ('told' in told) pending.onMessage?.(told.told as never);
    else if ('error' in told) pending.reject(Object.assign(new Error(told.error.message), { name: told.error.name }));
    else pending.resolve(told.result);
  }

  /** Calls that are under way are made again, once. */
  #replace(why: string): void {
    this.#drop();
    for (const [id, pending] of [...this.#pending]) {
      if (pending.again) {
        pending.reject(new Error(`A worker was replaced twice during ${pending.call}, as ${why}`));
        continue;
      }
      pending.again = true;
      this.#send(id, pending);
    }
  }

  #fail(error: Error): void {
    this.#drop();
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #drop(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

/** The side of a worker's global scope that is used here. */
interface WorkerScope {
  postMessage(message: Told): void;
  addEventListener(type: 'message', listener: (event: { data: Asked }) => void): void;
}

/**
 * In a worker: answers what a {@link NetworkWorker} asks, and tells it when the graphics processor is lost. To be called before
 * anything is waited for, so that no message is missed.
 *
 * @param calls by their names; each gets the options that the page gave
 */
export function answerCalls(calls: WorkerCalls): void {
  const scope = globalThis as unknown as WorkerScope;
  const running = new Map<number, AbortController>();
  onDeviceLost((lost) => scope.postMessage({ lost }));
  scope.addEventListener('message', async ({ data }) => {
    if ('abort' in data) {
      running.get(data.id)?.abort();
      return;
    }
    const { id, call, options } = data;
    const stop = new AbortController();
    running.set(id, stop);
    try {
      if (!Object.hasOwn(calls, call)) throw new TypeError(`Expected a call of this worker but received '${call}'`);
      const context = { tell: (told: unknown) => scope.postMessage({ id, told }), signal: stop.signal };
      scope.postMessage({ id, result: await calls[call](options as never, context) });
    } catch (error) {
      const { name = 'Error', message = String(error) } = error as Error;
      scope.postMessage({ id, error: { name, message } });
    } finally {
      running.delete(id);
    }
  });
}
