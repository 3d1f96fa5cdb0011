// Protocol buffers' wire format in a file, walked field by field: what is not asked for is skipped, be it gigabytes, which
// libraries that decode a message in memory cannot. lib/folder/wire-file.ts opens files, which pages do not have.

/** A field of a message: its number, and a number or the bytes from `start` to `end` of the file. */
export interface Field {
  readonly number: number;
  /** Of a varint, whose upper half counts where it is negative. */
  readonly value: number;
  readonly start: number;
  /** `start`, where it is a number. */
  readonly end: number;
}

/** The file ends before a message does, or what is there is no message. */
export class WireError extends Error {
  override name = 'WireError';
  constructor(
    /** Where the message should go on to, where it is the file that is too short. */
    readonly needs: number | undefined,
    message: string,
  ) {
    super(message);
  }
}

const WINDOW = 65536;
const TEXT = new TextDecoder('utf-8', { ignoreBOM: true });

/** Where bytes come from. */
export interface WireSource {
  readonly size: number;
  /** Fills as much of `to` as there is from byte `at` on, and says how much that was. */
  read(to: Uint8Array, at: number): number;
}

/** A file of protocol buffers. */
export class WireFile {
  readonly size: number;
  readonly #source: WireSource;
  readonly #window = new Uint8Array(WINDOW);
  #from = 0;
  #length = 0;

  constructor(source: WireSource) {
    this.#source = source;
    this.size = source.size;
  }

  /** A file that is in memory. */
  static of(bytes: Uint8Array): WireFile {
    return new WireFile({
      size: bytes.length,
      read: (to, at) => {
        const some = bytes.subarray(at, at + to.length);
        to.set(some);
        return some.length;
      },
    });
  }

  /**
   * The fields of the message that stands from `start` to `end`.
   *
   * @throws WireError for a file that is cut short, or is something else
   */
  *fields(start = 0, end = this.size): Generator<Field> {
    for (let at = start; at < end; ) {
      const tag = this.#varint(at);
      at = tag.end;
      const number = tag.value >>> 3;
      const type = tag.value & 7;
      if (number === 0 || tag.value > 0xffffffff) throw new WireError(undefined, `no field begins at byte ${at}`);
      let next: Field;
      if (type === 0) {
        const { value, end: after } = this.#varint(at);
        next = { number, value, start: after, end: after };
      } else if (type === 2) {
        const { value: length, end: from } = this.#varint(at);
        next = { number, value: length, start: from, end: from + length };
      } else if (type === 1 || type === 5) {
        next = { number, value: 0, start: at, end: at + (type === 1 ? 8 : 4) };
      } else throw new WireError(undefined, `a field of the unknown kind ${type} at byte ${at}`);
      if (next.end > end) throw this.#overrun(next.end, end);
      at = next.end;
      yield next;
    }
  }

  /** The numbers of a repeated field, which may be packed. */
  numbers({ start, end, value }: Field): number[] {
    if (start === end) return [value];
    const found: number[] = [];
    for (let at = start; at < end; ) {
      const one = this.#varint(at);
      found.push(one.value);
      at = one.end;
    }
    return found;
  }

  /** A field's bytes as text. */
  text({ start, end }: Field): string {
    const bytes = new Uint8Array(end - start);
    for (let at = 0; at < bytes.length; ) {
      this.#fill(start + at);
      const from = start + at - this.#from;
      const some = this.#window.subarray(from, Math.min(this.#length, from + bytes.length - at));
      bytes.set(some, at);
      at += some.length;
    }
    return TEXT.decode(bytes);
  }

  #varint(at: number): { value: number; end: number } {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      if (at + i >= this.size) throw this.#overrun(at + i + 1, this.size);
      this.#fill(at + i);
      const byte = this.#window[at + i - this.#from];
      // Ten bytes of ones are -1: more than a double holds, and never a length.
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return { value: value >= 2 ** 63 ? value - 2 ** 64 : value, end: at + i + 1 };
    }
    throw new WireError(undefined, `a number of more than ten bytes at byte ${at}`);
  }

  #fill(at: number): void {
    if (at >= this.#from && at < this.#from + this.#length) return;
    this.#from = at;
    this.#length = this.#source.read(this.#window, at);
    if (this.#length === 0) throw this.#overrun(at + 1, this.size);
  }

  #overrun(needs: number, end: number): WireError {
    const cut = end === this.size;
    return new WireError(cut ? needs : undefined, cut ? 'the file ends too soon' : `a field goes beyond byte ${end}`);
  }
}
