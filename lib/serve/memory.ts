// Which models are in memory: as many as fit, and where another one needs the room those that were of use longest ago give way.
import { sharedMemory } from '../base/memory.js';
import { MARGIN } from '../pipelines/memory.js';
import type { Engine } from './engine.js';

/** What a process takes besides its networks, before it is measured: Node, onnxruntime, tokenizers and pictures. */
const PROCESS = 150e6;

/** What is to be known of a model here. */
export type Held = Pick<Engine, 'held' | 'memory' | 'needs' | 'sharing'>;

export class Memory<T extends Held> {
  readonly models: readonly T[];
  readonly #most: number;
  readonly #available: () => number;
  /** Those that were of use last at the end. */
  readonly #used = new Set<T>();

  /**
   * @param most bytes that all of them may take; what the machine, or the container, leaves where absent
   * @param available bytes that the machine has left; tests have their own
   */
  constructor(models: readonly T[], most = Number.POSITIVE_INFINITY, available = () => sharedMemory().bytes) {
    this.models = models;
    this.#most = most;
    this.#available = available;
  }

  /** Bytes that there are for all models. */
  get room(): number {
    const held = this.models.reduce((sum, { memory }) => sum + memory.bytes, 0);
    return Math.min(this.#most, MARGIN * (this.#available() + held));
  }

  /**
   * Bytes that a model takes at most: the most that it had, or before it has made a run what its graphs say. Nothing is
   * known of those on a card.
   */
  bytesOf({ memory, needs, sharing }: T): number {
    if (memory.run || !needs) return memory.most;
    // With 'auto' its process chooses in the same way.
    const way = sharing === 'low' || sharing === 'fast' ? sharing : PROCESS + needs.fast <= this.room ? 'fast' : 'low';
    return Math.max(memory.most, PROCESS + needs[way]);
  }

  /** A model is of use just now. */
  touch(model: T): void {
    this.#used.delete(model);
    this.#used.add(model);
  }

  /**
   * Who has to be released so that a model fits: none of those at work, and of the others those that were of use longest
   * ago. Undefined where some of those at work would have to be. One that does not fit by itself gets all there is.
   */
  makeRoom(model: T, atWork: (other: T) => boolean): T[] | undefined {
    const open = this.models.filter((other) => other !== model && other.held);
    const idle = open.filter((other) => !atWork(other)).sort((a, b) => this.#ageOf(a) - this.#ageOf(b));
    const { room } = this;
    let taken = this.bytesOf(model) + open.reduce((sum, other) => sum + this.bytesOf(other), 0);
    const released: T[] = [];
    while (taken > room) {
      const oldest = idle.shift();
      if (oldest === undefined) return open.length > released.length ? undefined : released;
      taken -= this.bytesOf(oldest);
      released.push(oldest);
    }
    return released;
  }

  #ageOf(model: T): number {
    return [...this.#used].indexOf(model);
  }
}
