// Gives out blocks of a WebAssembly memory. Small ones (the strings of error messages, mostly) have sizes that are
// powers of two and are kept for the next of that size; large ones (tensors) are whole pages, and neighbours that are
// free become one. Lengths are kept outside, so that nothing that is written can damage them.

/** Bytes by which a memory grows. */
export const PAGE = 65536;
const SMALLEST = 16;
/** From here on a block is whole pages. */
const LARGE = PAGE / 2;

/** What of a WebAssembly.Memory is needed. */
export interface Memory {
  readonly buffer: ArrayBufferLike;
  /** Adds pages; throws where there are no more. */
  grow(pages: number): number;
}

export class Blocks {
  readonly #memory: Memory;
  /** Bytes of each block that is in use. */
  readonly #sizes = new Map<number, number>();
  readonly #small = new Map<number, number[]>();
  /** Free pages, by address: [address, bytes]. */
  readonly #free: [number, number][] = [];
  #sealed = false;
  /** A block was asked for that sealed memory does not have. */
  refused = false;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** Gets this much at once, and never more: arrays on a memory are lost when it grows. Throws where there is not so much. */
  seal(bytes: number): void {
    const pages = Math.ceil(bytes / PAGE);
    const at = this.#memory.buffer.byteLength;
    this.#memory.grow(pages);
    this.#put(at, pages * PAGE);
    this.#sealed = true;
  }

  /** The address of a block, a multiple of 16; 0 where there is no memory left. */
  allocate(bytes: number): number {
    if (bytes >= LARGE) return this.#pages(Math.ceil(bytes / PAGE) * PAGE);
    let size = SMALLEST;
    while (size < bytes) size *= 2;
    let free = this.#small.get(size);
    if (!free) {
      free = [];
      this.#small.set(size, free);
    }
    if (free.length === 0) {
      const page = this.#pages(PAGE);
      if (page === 0) return 0;
      this.#sizes.delete(page); // cut up for good
      for (let at = page + PAGE - size; at >= page; at -= size) free.push(at);
    }
    const address = free.pop() as number;
    this.#sizes.set(address, size);
    return address;
  }

  /** Takes a block back; 0 is none. */
  release(address: number): void {
    const size = this.#sizes.get(address);
    if (size === undefined) return;
    this.#sizes.delete(address);
    if (size < LARGE) this.#small.get(size)?.push(address);
    else this.#put(address, size);
  }

  #pages(bytes: number): number {
    const at = this.#free.findIndex(([, size]) => size >= bytes);
    if (at >= 0) {
      const block = this.#free[at];
      const [address] = block;
      block[0] += bytes;
      block[1] -= bytes;
      if (block[1] === 0) this.#free.splice(at, 1);
      this.#sizes.set(address, bytes);
      return address;
    }
    if (this.#sealed) {
      this.refused = true;
      return 0;
    }
    // The last free block is completed where it reaches to the end.
    const end = this.#memory.buffer.byteLength;
    const last = this.#free.at(-1);
    const there = last && last[0] + last[1] === end ? last[1] : 0;
    try {
      this.#memory.grow((bytes - there) / PAGE);
    } catch {
      return 0;
    }
    if (there > 0) this.#free.pop();
    this.#sizes.set(end - there, bytes);
    return end - there;
  }

  #put(address: number, bytes: number): void {
    let at = this.#free.findIndex(([start]) => start > address);
    if (at < 0) at = this.#free.length;
    this.#free.splice(at, 0, [address, bytes]);
    const joined = (k: number) => {
      const [block, next] = [this.#free[k], this.#free[k + 1]];
      if (!block || !next || block[0] + block[1] !== next[0]) return;
      block[1] += next[1];
      this.#free.splice(k + 1, 1);
    };
    joined(at);
    joined(at - 1);
  }
}
