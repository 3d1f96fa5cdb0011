// What a calibration has done so far, on disk: whatever is stopped at whatever point, done units are not done again.
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StateArray } from '../addon/native.js';

/** How many evaluations there are, which done units still count in. */
export interface Counter {
  evaluations: number;
}

interface Line {
  readonly key: string;
  readonly value: unknown;
  readonly evaluations: number;
}

const FORMAT = 'dpm-solver-calibration/2';

export class Journal {
  readonly #folder: string | undefined;
  readonly #counter: Counter;
  readonly #done = new Map<string, Line>();

  /**
   * @param folder where to keep it; nowhere where absent
   * @param settings what the units depend on: a journal of other settings is refused
   * @throws Error for a folder that holds something else
   */
  constructor(folder: string | undefined, settings: unknown, counter: Counter) {
    this.#folder = folder;
    this.#counter = counter;
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    const head = `${JSON.stringify({ format: FORMAT, settings })}\n`;
    if (!existsSync(this.#file)) {
      writeFileSync(this.#file, head);
      return;
    }
    this.#read(head);
  }

  get #file(): string {
    return join(this.#folder!, 'journal.jsonl');
  }

  #read(head: string): void {
    const text = readFileSync(this.#file, 'utf8');
    const end = text.indexOf('\n') + 1;
    if (text.slice(0, end) !== head) {
      throw new Error(
        `Expected a calibration with these very options in ${this.#folder} but found ${text.startsWith(`{"format":"${FORMAT}"`) ? 'one with others' : 'something else'}: resume with the same options, or elsewhere`,
      );
    }
    // A line that was being written when everything stopped is made anew.
    const whole = text.lastIndexOf('\n') + 1;
    if (whole < text.length) truncateSync(this.#file, Buffer.byteLength(text.slice(0, whole)));
    for (const line of text.slice(end, whole).split('\n')) {
      if (line === '') continue;
      const parsed = JSON.parse(line) as Line;
      this.#done.set(parsed.key, parsed);
    }
  }

  /** Is this unit done? */
  has(key: string): boolean {
    return this.#done.has(key);
  }

  /** A unit of work whose result is JSON, done once. */
  async once<T>(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#done.get(key);
    if (known) {
      this.#counter.evaluations += known.evaluations;
      return known.value as T;
    }
    const before = this.#counter.evaluations;
    const value = await work();
    const line: Line = { key, value, evaluations: this.#counter.evaluations - before };
    this.#done.set(key, line);
    if (this.#folder !== undefined) appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
    return value;
  }

  /** A unit whose results are tensors, each in a file of its own that is there whole or not at all. */
  async tensors(
    key: string,
    make: (length: number) => StateArray,
    work: () => Promise<readonly StateArray[]>,
  ): Promise<readonly StateArray[]> {
    const path = this.#folder === undefined ? undefined : join(this.#folder, `${key}.bin`);
    const lengths = await this.once(key, async () => {
      const made = await work();
      if (path !== undefined) {
        writeFileSync(
          `${path}.part`,
          Buffer.concat(made.map((one) => new Uint8Array(one.buffer, one.byteOffset, one.byteLength))),
        );
        renameSync(`${path}.part`, path);
      }
      this.#fresh.set(key, made);
      return made.map((one) => one.length);
    });
    const fresh = this.#fresh.get(key);
    if (fresh) {
      this.#fresh.delete(key);
      return fresh;
    }
    const bytes = readFileSync(path!);
    let at = 0;
    return lengths.map((length) => {
      const array = make(length);
      new Uint8Array(array.buffer).set(bytes.subarray(at, at + array.byteLength));
      at += array.byteLength;
      return array;
    });
  }

  /** What has been made in this very run need not be read back. */
  readonly #fresh = new Map<string, readonly StateArray[]>();
}
