// What is told of numbers that are not finite: by the flags of launches, which are looked at when something waits anyway.
import type { Stream } from '../../cuda/stream.js';
import { NOT_FINITE } from '../../cuda/step.js';
import type { DeviceTensor } from '../../cuda/tensor.js';
import type { LateFound } from '../../solver/engine.js';

/** What is checked by the flags of one launch. */
export type Check = { what: 'xT' } | { what: 'output' | 'x0'; apply: number } | { what: 'xt'; step: number };

/** A word a launch and sample. @internal */
export class Checks {
  readonly #flags: DeviceTensor;
  readonly #batch: number;
  readonly #host: Uint32Array;
  readonly #addresses: bigint[];
  #list: Check[] = [];

  /** @param flags uint32, [launches between two looks, batch] */
  constructor(flags: DeviceTensor) {
    const [launches, batch] = flags.dims as [number, number];
    this.#flags = flags;
    this.#batch = batch;
    this.#host = new Uint32Array(flags.length);
    this.#addresses = Array.from({ length: launches }, (_, i) => flags.pointer + BigInt(4 * batch * i));
  }

  /** Queues that nothing has been found. */
  clear(stream: Stream): void {
    this.#flags.zero(stream);
    this.#list = [];
  }

  /** Where the next launch is to say what it finds. */
  next(check: Check): bigint {
    const address = this.#addresses[this.#list.length];
    if (address === undefined) throw new Error('Expected a look at the flags of a run before they are used up');
    this.#list.push(check);
    return address;
  }

  get none(): boolean {
    return this.#list.length === 0;
  }

  now(stream: Stream): LateFound | null {
    this.#flags.transferNow(this.#host, stream, 'down');
    return this.#found(this.#host, stream);
  }

  async soon(stream: Stream): Promise<LateFound | null> {
    return this.#found(await this.#flags.copyTo(this.#host, stream), stream);
  }

  /** Of a graph that is launched again and again: its own look at the flags, which it clears itself. */
  async ofLaunch(stream: Stream): Promise<LateFound | null> {
    return this.#first(await this.#flags.copyTo(new Uint32Array(this.#flags.length), stream));
  }

  #found(flags: Uint32Array, stream: Stream): LateFound | null {
    const found = this.#first(flags);
    this.clear(stream);
    return found;
  }

  /** The first thing that was not finite. */
  #first(flags: Uint32Array): LateFound | null {
    for (const [i, check] of this.#list.entries()) {
      for (let sample = 0; sample < this.#batch; sample++) {
        if ((flags[i * this.#batch + sample]! & NOT_FINITE) === 0) continue;
        if (check.what === 'xT') {
          throw new RangeError(`Expected finite numbers for xT but received NaN or Infinity for sample ${sample}`);
        }
        if (check.what === 'xt') {
          throw new Error(
            `Expected finite numbers for correctXt's result but received NaN or Infinity for sample ${sample} at step ${check.step}`,
          );
        }
        return { sample, corrected: check.what === 'x0', apply: check.apply };
      }
    }
    return null;
  }
}
