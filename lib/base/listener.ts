// Callbacks of callers, which may be async functions: what becomes of the promises that these return.

/** Somebody who is told things. */
export interface Listener<T> {
  /** Passes a thing on. Throws what the callback throws, and what a promise that it returned earlier has rejected with. */
  tell(value: T): void;
  /** Waits for the promises that were returned; rejects with what the first of them rejects with. */
  done(): Promise<void>;
}

/**
 * A callback whose promises are not waited for between calls, and whose rejections are nobody's but the teller's: they end
 * what is being told, and not the process.
 */
export function listening<T>(callback: (value: T) => unknown): Listener<T> {
  const pending = new Set<Promise<unknown>>();
  let failure: { reason: unknown } | undefined;
  return {
    tell(value) {
      if (failure) throw failure.reason;
      const returned = callback(value);
      if (typeof (returned as PromiseLike<unknown> | undefined)?.then !== 'function') return;
      const settled: Promise<unknown> = Promise.resolve(returned as PromiseLike<unknown>).then(
        () => pending.delete(settled),
        (reason: unknown) => {
          pending.delete(settled);
          failure ??= { reason };
        },
      );
      pending.add(settled);
    },
    async done() {
      while (pending.size > 0 && !failure) await Promise.race(pending);
      if (failure) throw failure.reason;
    },
  };
}
