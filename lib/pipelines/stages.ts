// What onProgress is told: which stage a call is in, how far, and how long it will take.
import { type Listener, listening } from '../base/listener.js';

/** What `onProgress` is told. */
export interface StageProgress {
  /**
   * - `fetch`: files come from a hub, in bytes
   * - `load`: networks are read, in bytes of their files
   * - `encode`: prompts, and pictures or their tiles, become what the network takes
   * - `step`: solver steps of all batches; of the adaptive method nobody knows how many, and `of` is 0
   * - `decode`: latents become pictures, or tiles of them
   */
  stage: 'fetch' | 'load' | 'encode' | 'step' | 'decode';
  /** How much of it is done; 0 when it begins. */
  done: number;
  /** Of how much; 0 where nobody knows. */
  of: number;
  /** Since the stage began. */
  seconds: number;
  /** Seconds that the rest of the stage will take, once there is something to judge by. */
  left?: number;
  /** The file that is fetched, relative to the repository. */
  file?: string;
  /** Bytes that have come from a hub this time. */
  fetched?: number;
}

/** Is told of every stage. */
export type OnProgress = (progress: StageProgress) => void;

/**
 * Does `work`, whose `onProgress` and `onWarning` may be async functions: what their promises reject with ends the call, and
 * they are waited for in the end.
 */
export async function telling<O extends { onProgress?: OnProgress; onWarning?: (message: string) => void }, T>(
  options: O,
  work: (options: O) => Promise<T>,
): Promise<T> {
  const listeners: Listener<never>[] = [];
  const heard: Record<string, (value: never) => void> = {};
  for (const name of ['onProgress', 'onWarning'] as const) {
    const callback: unknown = options?.[name];
    if (typeof callback !== 'function') continue;
    const listener = listening(callback as (value: never) => unknown);
    listeners.push(listener);
    heard[name] = (value) => listener.tell(value);
  }
  if (listeners.length === 0) return work(options);
  const result = await work({ ...options, ...heard });
  for (const listener of listeners) await listener.done();
  return result;
}

/** One stage: told when it is made, and at every advance. */
export class Stage {
  readonly #name: StageProgress['stage'];
  #of: number;
  readonly #tell: OnProgress | undefined;
  readonly #began = performance.now();
  #done = 0;
  /** Where the first piece ended, which takes longer: memory is taken, and files are read. */
  #first: { done: number; at: number } | undefined;

  constructor(name: StageProgress['stage'], of: number, tell: OnProgress | undefined) {
    this.#name = name;
    this.#of = of;
    this.#tell = tell;
    this.#say();
  }

  /** @param pieces that have been done since the last time */
  advance(pieces = 1): void {
    this.#done += pieces;
    this.#say();
    this.#first ??= { done: this.#done, at: performance.now() };
  }

  /** @param pieces that there are still to be done, where they have become others */
  expect(pieces: number): void {
    this.#of = this.#done + pieces;
  }

  #say(): void {
    const left = this.#left();
    this.#tell?.({
      stage: this.#name,
      done: this.#done,
      of: this.#of,
      seconds: (performance.now() - this.#began) / 1000,
      ...(left === undefined ? {} : { left }),
    });
  }

  #left(): number | undefined {
    const rest = this.#of - this.#done;
    if (this.#done === 0 || this.#of === 0) return undefined;
    if (rest <= 0) return 0;
    const first = this.#first;
    const [from, done] = first ? [first.at, this.#done - first.done] : [this.#began, this.#done];
    return (rest * (performance.now() - from)) / done / 1000;
  }
}
