// Where the time of a call goes.
import type { Evaluate } from './denoiser.js';
import type { Timings } from './options.js';

export class Clock {
  readonly network: number[] = [];
  readonly step: number[] = [];
  readonly classifier: number[] = [];
  readonly #started: number;
  #encoder = 0;
  #vae = 0;

  /** @param started when the call began, by `performance.now()` */
  constructor(started: number) {
    this.#started = started;
  }

  /** A network whose calls are counted. */
  timed(network: Evaluate): Evaluate {
    return async (x, t, signal) => {
      const start = performance.now();
      const output = await network(x, t, signal);
      this.network.push(performance.now() - start);
      return output;
    };
  }

  /** Work of the text encoders. */
  async inEncoder<T>(work: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    const result = await work();
    this.#encoder += performance.now() - begun;
    return result;
  }

  /** Work of the autoencoder. */
  async inVae<T>(work: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    const result = await work();
    this.#vae += performance.now() - begun;
    return result;
  }

  /** @param latent is there an autoencoder? */
  timings(latent: boolean): Timings {
    return {
      networkMs: median(this.network),
      networkTotalMs: sum(this.network),
      networkCalls: this.network.length,
      stepMs: median(this.step),
      stepTotalMs: sum(this.step),
      ...(this.classifier.length > 0 ? { classifierMs: median(this.classifier) } : {}),
      encodeMs: this.#encoder,
      ...(latent ? { vaeMs: this.#vae } : {}),
      totalMs: performance.now() - this.#started,
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
