// One network for several runs: what they ask for at one moment shares a call, each at its own time.
import type { NetworkArray, Tensor } from '../base/tensor.js';
import type { BatchMemory } from './batch-memory.js';
import { BatchSpeed, picturesAtOnce } from './batch-speed.js';
import type { Conditioning, Denoiser, Evaluate, PrepareOptions, Seats, Shape } from './denoiser.js';
import { type Call, type Asking, Rounds } from './rounds.js';

export interface SharedOptions {
  /** Samples of a call; what there is memory for where absent, and no more than make it faster. */
  maxBatch?: number;
  /** What a sample takes of the machine's memory; absent where that is not what it takes (a card's). */
  memoryOf?: (shape: Shape) => BatchMemory;
  /** Does every call have as many samples, so that the bits of a result do not depend on who shares it? */
  reproducible?: boolean;
  /** Told of every call. */
  onCall?: (call: { samples: number; milliseconds: number }) => void;
}

/** An evaluation of one run. */
interface Pending extends Asking {
  /** How many samples have been handed out. */
  begun: number;
  /** How many came back. */
  done: number;
  readonly run: Run;
  /** Of the buffers that it fits into. */
  readonly kind: string;
  readonly x: NetworkArray;
  readonly t: number;
  readonly result: { data: NetworkArray | undefined; type: Tensor['type'] };
  readonly resolve: (output: Tensor) => void;
  readonly reject: (error: unknown) => void;
  over: boolean;
}

/** What stays the same over a run's evaluations. */
interface Run {
  readonly client: string;
  readonly conditionings: readonly Conditioning[];
  readonly shape: Shape;
  readonly options: PrepareOptions;
}

/** One sample of a call. */
interface Row {
  readonly pending: Pending;
  readonly sample: number;
}

interface Batch {
  readonly seats: Seats;
  /** Who sits where. */
  readonly taken: ({ run: Run; sample: number } | undefined)[];
}

/** Samples of a call, however many there is memory for: who comes while it is made waits for all of it. */
const MOST = 64;
/** Batches whose buffers are kept. */
const MOST_BATCHES = 6;

export class SharedNetwork {
  readonly #denoiser: Denoiser;
  readonly #options: SharedOptions;
  readonly #rounds = new Rounds<Pending>();
  readonly #sizes = new Map<string, { speed: BatchSpeed; memory: BatchMemory | undefined }>();
  /** By group and size, those of use last at the end. */
  readonly #batches = new Map<string, Batch>();
  #busy = false;

  constructor(denoiser: Denoiser, options: SharedOptions = {}) {
    this.#denoiser = denoiser;
    this.#options = options;
  }

  /** Samples that a call of pictures of this shape may have now. */
  most(shape: Shape): number {
    const { maxBatch, reproducible } = this.#options;
    const given = this.#denoiser.fixedBatch ?? maxBatch;
    const usual = given ?? 2 * picturesAtOnce(shape.reduce((a, b) => a * b, 1));
    if (reproducible) return usual;
    const { speed, memory } = this.#sizeOf(shape);
    const limit = given ?? (memory ? Math.min(MOST, memory.most) : usual);
    return speed.most(usual, limit);
  }

  #sizeOf(shape: Shape): { speed: BatchSpeed; memory: BatchMemory | undefined } {
    const key = String(shape);
    let size = this.#sizes.get(key);
    if (!size) {
      size = { speed: new BatchSpeed(), memory: this.#options.memoryOf?.(shape) };
      this.#sizes.set(key, size);
    }
    return size;
  }

  /** The network as one client sees it. */
  for(client: string): Pick<Denoiser, 'prepare'> {
    return {
      prepare: (conditionings, shape, options = {}) => this.#evaluateOf({ client, conditionings, shape, options }),
    };
  }

  #evaluateOf(run: Run): Evaluate {
    const { client, conditionings, shape, options } = run;
    const sizes = Array.from(conditionings[0], ([name, { dims }]) => `${name}:${dims}`).join();
    const kind = `${shape}|${sizes}|${options.timeScale ?? 1}|${options.extra !== undefined}`;
    const cost = shape.reduce((a, b) => a * b, 1);
    return (x, t, signal) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const pending: Pending = {
          client,
          // One time for all: those that are at the same one.
          group: this.#denoiser.timesEach ? kind : `${kind}|${t}`,
          ...{ kind, cost },
          ...{ rows: conditionings.length, begun: 0, done: 0, run, x: x.data as NetworkArray, t },
          result: { data: undefined, type: x.type },
          over: false,
          resolve: (output) => finish(() => resolve(output)),
          reject: (error) => finish(() => reject(error)),
        };
        const leave = (): void => {
          this.#rounds.remove(pending);
          pending.reject(signal?.reason);
          if (this.#current?.every((one) => one.over)) this.#abort?.abort(signal?.reason);
        };
        const finish = (end: () => void): void => {
          if (pending.over) return;
          pending.over = true;
          signal?.removeEventListener('abort', leave);
          end();
        };
        signal?.addEventListener('abort', leave, { once: true });
        this.#rounds.add(pending);
        this.#begin();
      });
  }

  #current: readonly Pending[] | undefined;
  #abort: AbortController | undefined;

  #begin(): void {
    if (this.#busy) return;
    this.#busy = true;
    // Whoever asks at this moment, or steps and asks again, is in.
    setImmediate(() => void this.#work());
  }

  async #work(): Promise<void> {
    while (this.#rounds.size > 0) {
      const call = this.#rounds.next((group) => this.#mostOf(group));
      await this.#make(call);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#busy = false;
  }

  #mostOf(group: string): number {
    const shape = group.split('|', 1)[0].split(',').map(Number) as unknown as Shape;
    return this.most(shape);
  }

  async #make(call: Call<Pending>): Promise<void> {
    const rows: Row[] = [];
    for (const [pending, count] of call) {
      for (let i = 0; i < count; i++) rows.push({ pending, sample: pending.begun++ });
    }
    try {
      await this.#evaluate(rows);
    } catch (error) {
      const several = call.size > 1;
      for (const pending of call.keys()) {
        if (pending.over) continue;
        if (!several) {
          this.#rounds.remove(pending);
          pending.reject(error);
          continue;
        }
        // Whose fault it was shows when each is by itself.
        await this.#evaluate(rows.filter((row) => row.pending === pending)).catch((own) => {
          this.#rounds.remove(pending);
          pending.reject(own);
        });
      }
    }
  }

  async #evaluate(rows: readonly Row[]): Promise<void> {
    const { seats, taken } = this.#batchFor(rows);
    for (const [i, { pending, sample }] of rows.entries()) {
      const { run, x, t } = pending;
      const { conditionings, options } = run;
      if (taken[i]?.run !== run || taken[i]?.sample !== sample) {
        const { extra, guidance } = options;
        const n = extra && extra.length / conditionings.length;
        const own = n && extra ? extra.subarray(sample * n, (sample + 1) * n) : undefined;
        seats.seat(i, conditionings[sample], { guidance, extra: own });
        taken[i] = { run, sample };
      }
      const n = x.length / conditionings.length;
      seats.put(i, x.subarray(sample * n, (sample + 1) * n) as ArrayLike<number>, t);
    }
    this.#current = [...new Set(rows.map(({ pending }) => pending))];
    this.#abort = new AbortController();
    const start = performance.now();
    let output: Tensor;
    try {
      output = await seats.evaluate(this.#abort.signal);
    } finally {
      this.#current = undefined;
      this.#abort = undefined;
    }
    this.#count(rows, seats.size, performance.now() - start);
    const data = output.data as NetworkArray;
    const n = data.length / seats.size;
    for (const [i, { pending, sample }] of rows.entries()) {
      const { result, run } = pending;
      const all = run.conditionings.length;
      result.type = output.type;
      result.data ??= new (data.constructor as new (length: number) => NetworkArray)(all * n);
      result.data.set(data.subarray(i * n, (i + 1) * n) as never, sample * n);
      pending.done++;
      if (pending.done < all) continue;
      pending.resolve({ type: result.type, data: result.data, dims: [all, ...run.shape] } as Tensor);
    }
  }

  #count(rows: readonly Row[], size: number, ms: number): void {
    const { speed, memory } = this.#sizeOf(rows[0].pending.run.shape);
    speed.saw(size, ms);
    memory?.saw(size);
    this.#options.onCall?.({ samples: rows.length, milliseconds: ms });
  }

  #batchFor(rows: readonly Row[]): Batch {
    const [{ pending }] = rows;
    const { shape, conditionings, options } = pending.run;
    const size = this.#options.reproducible ? Math.max(rows.length, this.most(shape)) : rows.length;
    const { timeScale } = options;
    const key = `${size} ${pending.kind}`;
    let batch = this.#batches.get(key);
    this.#batches.delete(key);
    if (!batch) {
      const seats = this.#denoiser.seats(size, conditionings[0], shape, { timeScale });
      batch = { seats, taken: [] };
    }
    this.#batches.set(key, batch);
    for (const old of this.#batches.keys()) {
      if (this.#batches.size <= MOST_BATCHES) break;
      this.#batches.delete(old);
    }
    return batch;
  }
}
