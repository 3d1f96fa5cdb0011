// Pictures that are being sent, of which there may be only so many bytes at once.
import type { MiddlewareHandler } from 'hono';
import { atMost, type Env, full } from './answers.js';

export class UploadBudget {
  readonly #one: number;
  readonly #all: number;
  #taken = 0;

  /**
   * @param one bytes of a body
   * @param all bytes of all bodies that are being read
   */
  constructor(one: number, all: number) {
    this.#one = one;
    this.#all = Math.max(one, all);
  }

  /** Refuses bodies that are too large, and waits for nobody where too many come at once. */
  guard(): MiddlewareHandler<Env> {
    const limit = atMost(this.#one);
    return async (c, next) => {
      // One that does not say how long it is may be as long as it may be.
      const told = Number(c.req.header('content-length') ?? this.#one);
      const size = Number.isSafeInteger(told) && told >= 0 ? Math.min(told, this.#one) : this.#one;
      if (this.#taken + size > this.#all) {
        return full(c, 'Expected fewer pictures to be sent at once; try again in 1 s', 1);
      }
      this.#taken += size;
      try {
        return await limit(c, next);
      } finally {
        this.#taken -= size;
      }
    };
  }
}
