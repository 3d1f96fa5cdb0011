// How many samples of a network call there is memory for: what the graph says of one, held to what calls were seen to take.
import { availableMemory } from '../base/memory.js';
import { MARGIN } from './memory.js';

/** Bytes that this process has, and the most that it ever had. */
export interface Resident {
  readonly bytes: number;
  readonly most: number;
}

/** What is to be known of the machine; tests have their own. */
export interface MachineMemory {
  /** Bytes that can still be taken. */
  available(): number;
  resident(): Resident;
}

const machine: MachineMemory = {
  available: () => availableMemory().bytes,
  resident: () => ({ bytes: process.memoryUsage.rss(), most: 1024 * process.resourceUsage().maxRSS }),
};

/** Calls between looks at what the machine has left. */
const AGAIN = 64;

/**
 * Of pictures of one size. What a call takes is freed after it, or kept by the runtime for the next one, and others decode
 * meanwhile, so that it can only be bounded: it took no more than from what the process had before the first call to the
 * most that it ever had, and it is taken for no less than what the process has more since then.
 */
export class BatchMemory {
  readonly #expected: number;
  readonly #machine: MachineMemory;
  readonly #before: number;
  #least = 0;
  #upper = Number.POSITIVE_INFINITY;
  #largest = 0;
  #calls = 0;
  #most: number;

  /** @param expected bytes of a sample, by the graph */
  constructor(expected: number, memory: MachineMemory = machine) {
    this.#expected = expected;
    this.#machine = memory;
    this.#before = memory.resident().bytes;
    this.#most = this.#look(0);
  }

  /** Bytes that a sample takes, as far as is known. */
  get bytes(): number {
    return Math.max(1, this.#least, Math.min(this.#expected, this.#upper));
  }

  /** Samples that there is memory for; at least one, which has to be tried. */
  get most(): number {
    return this.#most;
  }

  /** A call of so many samples is over. */
  saw(samples: number): void {
    const larger = samples > this.#largest;
    this.#calls++;
    if (!larger && this.#calls % AGAIN > 0) return;
    const { bytes, most } = this.#machine.resident();
    const kept = Math.max(0, bytes - this.#before);
    if (larger) {
      this.#largest = samples;
      this.#upper = Math.max(0, most - this.#before) / samples;
      this.#least = kept / samples;
    }
    this.#most = this.#look(kept);
  }

  /** @param kept what calls have taken and is there for the next ones */
  #look(kept: number): number {
    return Math.max(1, Math.floor((MARGIN * (this.#machine.available() + kept)) / this.bytes));
  }
}
