// Runs the addon that is compiled to WebAssembly: the part of Node-API that it calls, in JavaScript, so that it has the
// same functions, the same checks and the same messages as the native one, from the same sources.
//
// WebAssembly sees its own memory only. Before a call every typed array among the arguments is copied in, afterwards
// those that the function writes are copied back; arrays that share bytes share them inside, too. A call that throws
// writes nothing back.
//
// Arrays that a run makes for itself need no copies: they lie in the memory of an instance of the module that is made
// for this run, and calls that get one of them go there. That memory has its size from the start, as growing would take
// the arrays away from those who hold them; what does not fit into it is done by the first instance, whose memory grows.
// An instance is gone when nobody holds an array of it any more, as with every other array.

import { ARENA, type ArrayClass, type Take } from './arena.js';
import { Blocks, type Memory, PAGE } from './memory.js';

/** The WebAssembly interface, as far as it is used here: neither Node's types nor ES2023's have it. */
interface WebAssemblyInterface {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: Record<string, Record<string, unknown>>) => { exports: unknown };
  validate(bytes: Uint8Array): boolean;
}
const { WebAssembly } = globalThis as unknown as { WebAssembly?: WebAssemblyInterface };

interface Exports {
  memory: Memory;
  __indirect_function_table: { get(index: number): (env: number, info: number) => number };
  _initialize(): void;
  napi_register_wasm_v1(env: number, exports: number): number;
}

type AnyFunction = (...args: unknown[]) => unknown;

/**
 * Positions of the arguments that a function writes; a number below 0 is one (counted as -1 - position) of which it
 * may leave a part alone, so that it has to be copied in as well.
 */
const WRITES: Record<string, readonly number[]> = {
  step: [~11, 16, 17, 18, 19],
  quantile: [4],
  guide: [~0],
  errorNorm: [7],
  standardDeviation: [2],
  convert: [1],
  torchSeed: [~0],
  torchRandn: [~0, ~1],
  torchSkip: [~0],
  philoxRandn: [~5],
  philoxBlock: [~0],
  noiseElementary: [1],
  noiseWord: [1],
  elementary: [2],
};
/** Functions that write one row: rows and its index are their first arguments. */
const ROWS = [
  ...['predictionRow', 'updateRow', 'uniPCRow', 'saSolverRow', 'lmsRow'],
  ...['ddimRow', 'pndmRow', 'edmPredictionRow', 'keepNoise'],
];
const ROW_LENGTH = 32;
/** Working space, whose contents nobody wants: position 5 of step. */
const SCRATCH = 5;

/** napi_status */
const OK = 0;
const INVALID_ARGUMENT = 1;
const NUMBER_EXPECTED = 6;
const BOOLEAN_EXPECTED = 7;
const STRING_EXPECTED = 3;
const GENERIC_FAILURE = 9;
/** napi_valuetype */
const VALUE_TYPES = ['undefined', 'null', 'boolean', 'number', 'string', 'symbol', 'object', 'function', '', 'bigint'];
/** napi_typedarray_type */
const ARRAY_TYPES: ReadonlyMap<string, number> = new Map(
  [
    'Int8Array',
    'Uint8Array',
    'Uint8ClampedArray',
    'Int16Array',
    'Uint16Array',
    'Int32Array',
    'Uint32Array',
    'Float32Array',
    'Float64Array',
    'BigInt64Array',
    'BigUint64Array',
    'Float16Array',
  ].map((name, k) => [name, k]),
);
const typedArrayName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!
  .get!;
/** What an array is, whatever somebody has defined on it: no getter of a caller's runs, and no length of his counts. */
const own = <T>(name: string): ((array: Uint8Array) => T) => {
  const { get } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), name)!;
  return (array) => get!.call(array);
};
const lengthOf = own<number>('length');
const byteLengthOf = own<number>('byteLength');
const byteOffsetOf = own<number>('byteOffset');
const bufferOf = own<ArrayBuffer>('buffer');
const isTypedArray = (value: unknown): value is Uint8Array => typedArrayName.call(value) !== undefined;

/** Alignment of what is copied in: an array lies as it lies in its buffer, relative to a line of the cache. */
const LINE = 64;
/** Between the arrays of a run: such as are read and written together should not meet in the same sets of a cache. */
const STAGGER = 5 * LINE;
/** A run's memory has this much for the text of errors and the like. */
const SPARE = 1 << 20;
/** Instead of a result: the call has to be made by the first instance. */
const ELSEWHERE = Symbol('elsewhere');
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** A stretch of some buffer, and where its copy is. */
interface Region {
  readonly buffer: ArrayBufferLike;
  start: number;
  end: number;
  address: number;
  /** What it holds is read. */
  read: boolean;
}

/** Does this engine run WebAssembly with 128-bit vectors? `bytes` is the module. */
export function supported(bytes: Uint8Array): boolean {
  return WebAssembly?.validate(bytes) ?? false;
}

/** The functions of the module in `bytes`, as the native addon exports them. Throws an Error where it cannot run. */
export function instantiate(bytes: Uint8Array): Record<string, unknown> {
  if (!WebAssembly) throw new Error('Expected WebAssembly for dpm-solver but this JavaScript engine has none');
  if (!supported(bytes)) {
    throw new Error('Expected WebAssembly with 128-bit vectors for dpm-solver but this JavaScript engine has none');
  }
  const runtime = new Runtime(new WebAssembly.Module(bytes), WebAssembly);
  const { exports } = runtime;
  (exports as Record<symbol, unknown>)[ARENA] = (tensors: number, room: number) => runtime.arena(tensors, room);
  exports.cudaInfo = () => ({
    available: false,
    reason: 'the WebAssembly build of dpm-solver has no CUDA: npx cmake-js compile makes the native addon',
    library: '',
    code: 0,
    driver: null,
    runtime: null,
    devices: [],
  });
  return exports;
}

class Runtime {
  readonly exports: Record<string, unknown> = {};
  readonly #module: object;
  readonly #interface: WebAssemblyInterface;
  /** The first instance, in that of a run. */
  readonly #first: Runtime | null;
  /** Where each function is in the table, which is the same in all instances. */
  readonly #callbacks = new Map<string, number>();
  /** A run's own: made when first called. */
  readonly #functions = new Map<string, AnyFunction>();
  /** Whose memory a buffer is. */
  readonly #homes = new WeakMap<ArrayBufferLike, Runtime>();
  #hasHomes = false;
  /** Ended by a trap: its stack is not what it was. */
  #broken = false;
  readonly #wasm: Exports;
  readonly #blocks: Blocks;
  #bytes: Uint8Array;
  #view: DataView;
  /** Values by handle; those of a call are forgotten after it. 0 is no value. */
  readonly #values: unknown[] = [undefined];
  readonly #references = new Map<number, unknown>();
  #nextReference = 1;
  #pending = false;
  #exception: unknown;
  #arguments: readonly unknown[] = [];
  #regions: Region[] = [];
  /** The block that arguments are copied into: kept, so that equal calls allocate once. */
  #block = 0;
  #blockBytes = 0;
  #lastError = 0;

  constructor(module: object, wasm: WebAssemblyInterface, first: Runtime | null = null) {
    this.#module = module;
    this.#interface = wasm;
    this.#first = first;
    const dpm = {
      allocate: (bytes: number) => this.#allocate(bytes >>> 0),
      release: (address: number) => this.#blocks.release(address >>> 0),
    };
    const imports = { napi: this.#napi(), dpm };
    this.#wasm = new wasm.Instance(module, imports).exports as Exports;
    this.#blocks = new Blocks(this.#wasm.memory);
    this.#bytes = new Uint8Array(this.#wasm.memory.buffer);
    this.#view = new DataView(this.#wasm.memory.buffer);
    this.#wasm._initialize();
    if (first) return;
    this.#wasm.napi_register_wasm_v1(1, this.#handle(this.exports));
    this.#values.length = 1;
    this.#throwPending();
  }

  // ---- the memory of a run -------------------------------------------------------------------------------------------

  /** See MakeArena. */
  arena(tensors: number, room: number): Take | null {
    let home: Runtime;
    let block: number;
    try {
      home = new Runtime(this.#module, this.#interface, this);
      block = home.#seal(tensors, room);
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
    const { buffer } = home.#bytes;
    this.#homes.set(buffer, home);
    this.#hasHomes = true;
    const end = block + tensors;
    let at = Math.ceil(block / LINE) * LINE;
    return <T extends ArrayBufferView>(Class: ArrayClass<T>, length: number): T | null => {
      const bytes = length * Class.BYTES_PER_ELEMENT;
      if (at + bytes > end) return null;
      const array = new Class(buffer as ArrayBuffer, at, length);
      at = Math.ceil((at + bytes) / LINE) * LINE + STAGGER;
      return array;
    };
  }

  /** Takes all of the memory that a run will need; where its tensors go. */
  #seal(tensors: number, room: number): number {
    const pages = (bytes: number) => Math.ceil((bytes + LINE) / PAGE) * PAGE;
    this.#blocks.seal(pages(tensors) + pages(room) + SPARE);
    this.#refresh();
    this.#block = this.#blocks.allocate(pages(room));
    this.#blockBytes = pages(room) - LINE;
    return this.#blocks.allocate(pages(tensors));
  }

  #homeOf(args: readonly unknown[]): Runtime | undefined {
    for (const array of args) {
      if (!isTypedArray(array)) continue;
      const home = this.#homes.get(bufferOf(array));
      if (home) return home;
    }
    return undefined;
  }

  #function(name: string): AnyFunction {
    let made = this.#functions.get(name);
    if (!made) {
      made = this.#makeFunction(name, this.#first!.#callbacks.get(name)!);
      this.#functions.set(name, made);
    }
    return made;
  }

  // ---- calls ---------------------------------------------------------------------------------------------------------

  #makeFunction(name: string, callback: number): AnyFunction {
    this.#callbacks.set(name, callback);
    const run = this.#wasm.__indirect_function_table.get(callback);
    const writes = WRITES[name] ?? [];
    const whole = new Set(writes.filter((k) => k >= 0));
    if (name === 'step') whole.add(SCRATCH);
    const written = ROWS.includes(name) ? [0] : writes.map((k) => (k < 0 ? ~k : k));
    const here: AnyFunction = (...args) => this.#call(run, args, whole, written, name === 'step');
    const call: AnyFunction = this.#first
      ? here
      : (...args) => {
          const home = this.#hasHomes ? this.#homeOf(args) : undefined;
          const result = home ? home.#function(name)(...args) : ELSEWHERE;
          return result === ELSEWHERE ? here(...args) : result;
        };
    if (!ROWS.includes(name)) return call;
    return (...args) => {
      const [rows, index] = args;
      // Of many rows only one is of interest.
      const count = typedArrayName.call(rows) === 'Float64Array' ? lengthOf(rows as Uint8Array) / ROW_LENGTH : 0;
      if (Number.isInteger(count) && Number.isInteger(index) && (index as number) >= 0 && (index as number) < count) {
        const at = byteOffsetOf(rows as Uint8Array) + (index as number) * ROW_LENGTH * 8;
        args[0] = new Float64Array(bufferOf(rows as Uint8Array), at, ROW_LENGTH);
        args[1] = 0;
      }
      return call(...args);
    };
  }

  #call(
    run: (env: number, info: number) => number,
    args: readonly unknown[],
    whole: ReadonlySet<number>,
    written: readonly number[],
    isStep: boolean,
  ): unknown {
    const ofRun = this.#first !== null;
    if (this.#broken) return ELSEWHERE;
    this.#arguments = args;
    this.#blocks.refused = false;
    try {
      if (!this.#copyIn(args, whole)) return ELSEWHERE;
      const result = this.#values[run(1, 1)];
      if (ofRun && this.#blocks.refused) {
        // Such a call has written nothing: it is made again where there is more memory.
        this.#pending = false;
        this.#exception = undefined;
        return ELSEWHERE;
      }
      this.#throwPending();
      // A step that has met a prediction that is not finite leaves its outputs undefined: better as they were.
      if (!isStep || result === -1) {
        for (const k of written) this.#copyOut(args[k]);
      }
      return result;
    } catch (error) {
      if (!ofRun || !this.#blocks.refused) throw error;
      this.#broken = true;
      return ELSEWHERE;
    } finally {
      this.#values.length = 1;
      this.#arguments = [];
      this.#regions = [];
    }
  }

  #throwPending(): void {
    if (!this.#pending) return;
    const exception = this.#exception;
    this.#pending = false;
    this.#exception = undefined;
    throw exception;
  }

  #copyIn(args: readonly unknown[], whole: ReadonlySet<number>): boolean {
    const memory = this.#bytes.buffer;
    const regions: Region[] = [];
    for (let k = 0; k < args.length; k++) {
      const array = args[k];
      if (!isTypedArray(array) || byteLengthOf(array) === 0) continue;
      const [buffer, start] = [bufferOf(array), byteOffsetOf(array)];
      if (buffer === memory) continue;
      const end = start + byteLengthOf(array);
      let found: Region | undefined;
      for (let r = regions.length - 1; r >= 0; r--) {
        const region = regions[r];
        if (region.buffer !== buffer || region.start >= end || region.end <= start) continue;
        // What shares bytes is copied once, together.
        if (found) {
          found.start = Math.min(found.start, region.start);
          found.end = Math.max(found.end, region.end);
          regions.splice(r, 1);
        } else {
          found = region;
          found.start = Math.min(found.start, start);
          found.end = Math.max(found.end, end);
        }
        found.read = true;
      }
      if (!found) regions.push({ buffer, start, end, address: 0, read: !whole.has(k) });
    }
    let bytes = 0;
    for (const region of regions) {
      region.address = bytes + (region.start % LINE);
      bytes = Math.ceil((region.address + region.end - region.start) / LINE) * LINE;
    }
    if (bytes > this.#blockBytes) {
      if (this.#first) return false;
      this.#grow(bytes);
    }
    const base = Math.ceil(this.#block / LINE) * LINE;
    for (const region of regions) {
      region.address += base;
      if (!region.read) continue;
      this.#bytes.set(new Uint8Array(region.buffer, region.start, region.end - region.start), region.address);
    }
    this.#regions = regions;
    return true;
  }

  #grow(bytes: number): void {
    this.#blocks.release(this.#block);
    this.#blockBytes = 0;
    this.#block = this.#allocate(bytes + LINE);
    if (this.#block === 0) {
      throw new Error(`Out of memory: WebAssembly could not get ${bytes} bytes for the tensors of one call`);
    }
    this.#blockBytes = bytes;
  }

  #copyOut(array: unknown): void {
    if (!isTypedArray(array) || byteLengthOf(array) === 0) return;
    const [buffer, byteOffset, byteLength] = [bufferOf(array), byteOffsetOf(array), byteLengthOf(array)];
    if (buffer === this.#bytes.buffer) return;
    const address = this.#addressOf(array);
    new Uint8Array(buffer, byteOffset, byteLength).set(this.#bytes.subarray(address, address + byteLength));
  }

  #addressOf(array: Uint8Array): number {
    const [buffer, byteOffset] = [bufferOf(array), byteOffsetOf(array)];
    if (buffer === this.#bytes.buffer) return byteOffset;
    for (const region of this.#regions) {
      if (region.buffer === buffer && region.start <= byteOffset && byteOffset < region.end) {
        return region.address + byteOffset - region.start;
      }
    }
    return 0;
  }

  // ---- memory and handles --------------------------------------------------------------------------------------------

  #allocate(bytes: number): number {
    const address = this.#blocks.allocate(bytes);
    this.#refresh();
    return address;
  }

  /** Memory that has grown is another buffer. Nothing grows it but the blocks: to look each time would take longer. */
  #refresh(): void {
    const { buffer } = this.#wasm.memory;
    if (this.#bytes.buffer === buffer) return;
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
  }

  #memory(): DataView {
    return this.#view;
  }

  #handle(value: unknown): number {
    return this.#values.push(value) - 1;
  }

  #give(result: number, value: unknown): number {
    this.#memory().setUint32(result, this.#handle(value), true);
    return OK;
  }

  /** UTF-8 of a given length, or up to a zero byte; "" at 0. */
  #text(address: number, length = -1): string {
    if (address === 0) return '';
    const end = length >= 0 ? address + length : this.#bytes.indexOf(0, address);
    return decoder.decode(this.#bytes.slice(address, end));
  }

  #throw(error: unknown): number {
    // A further error of the same call is dropped, as by the engine.
    if (this.#pending) return GENERIC_FAILURE;
    this.#pending = true;
    this.#exception = error;
    return OK;
  }

  // ---- Node-API ------------------------------------------------------------------------------------------------------

  #napi(): Record<string, (...args: number[]) => number> {
    const values = this.#values;
    const bool = (result: number, value: boolean) => {
      this.#memory().setUint8(result, value ? 1 : 0);
      return OK;
    };
    type ErrorClass = new (message: string) => Error;
    const thrower = (Class: ErrorClass) => (_: number, _code: number, message: number) =>
      this.#throw(new Class(this.#text(message)));
    const maker = (Class: ErrorClass) => (_: number, _code: number, message: number, result: number) =>
      this.#give(result, new Class(String(values[message])));
    return {
      napi_typeof: (_, value, result) => {
        const v = values[value];
        this.#memory().setInt32(result, v === null ? 1 : VALUE_TYPES.indexOf(typeof v), true);
        return OK;
      },
      napi_is_array: (_, value, result) => bool(result, Array.isArray(values[value])),
      // Not a SharedArrayBuffer, and of any realm.
      napi_is_arraybuffer: (_, value, result) =>
        bool(result, Object.prototype.toString.call(values[value]) === '[object ArrayBuffer]'),
      napi_is_typedarray: (_, value, result) => bool(result, isTypedArray(values[value])),
      napi_get_value_double: (_, value, result) => {
        const v = values[value];
        if (typeof v !== 'number') return NUMBER_EXPECTED;
        this.#memory().setFloat64(result, v, true);
        return OK;
      },
      napi_get_value_bool: (_, value, result) => {
        const v = values[value];
        return typeof v === 'boolean' ? bool(result, v) : BOOLEAN_EXPECTED;
      },
      napi_get_value_string_utf8: (_, value, to, size, result) => {
        const v = values[value];
        if (typeof v !== 'string') return STRING_EXPECTED;
        const text = encoder.encode(v);
        const memory = this.#memory();
        let length = text.length;
        if (to !== 0) {
          length = size > 0 ? Math.min(length, size - 1) : 0;
          this.#bytes.set(text.subarray(0, length), to);
          if (size > 0) memory.setUint8(to + length, 0);
        }
        if (result !== 0) memory.setUint32(result, length, true);
        return OK;
      },
      napi_get_typedarray_info: (_, value, type, length, data, buffer, offset) => {
        const v = values[value];
        const kind = ARRAY_TYPES.get(typedArrayName.call(v));
        if (kind === undefined) return INVALID_ARGUMENT;
        const array = v as Uint8Array;
        const memory = this.#memory();
        if (type !== 0) memory.setInt32(type, kind, true);
        if (length !== 0) memory.setUint32(length, lengthOf(array), true);
        if (data !== 0) memory.setUint32(data, this.#addressOf(array), true);
        if (buffer !== 0) memory.setUint32(buffer, this.#handle(bufferOf(array)), true);
        if (offset !== 0) memory.setUint32(offset, byteOffsetOf(array), true);
        return OK;
      },
      napi_get_cb_info: (_, _info, count, to, receiver, data) => {
        const args = this.#arguments;
        const memory = this.#memory();
        if (count !== 0) {
          const room = memory.getUint32(count, true);
          for (let k = 0; to !== 0 && k < room; k++) memory.setUint32(to + 4 * k, this.#handle(args[k]), true);
          memory.setUint32(count, args.length, true);
        }
        if (receiver !== 0) memory.setUint32(receiver, this.#handle(undefined), true);
        if (data !== 0) memory.setUint32(data, 0, true);
        return OK;
      },
      napi_get_undefined: (_, result) => this.#give(result, undefined),
      napi_create_double: (_, value, result) => this.#give(result, value),
      napi_create_uint32: (_, value, result) => this.#give(result, value >>> 0),
      napi_create_string_utf8: (_, text, length, result) =>
        this.#give(result, this.#text(text, length >>> 0 === 0xffffffff ? -1 : length)),
      napi_create_object: (_, result) => this.#give(result, {}),
      napi_create_array_with_length: (_, length, result) => this.#give(result, new Array(length)),
      napi_create_function: (_, name, length, callback, _data, result) =>
        this.#give(result, this.#makeFunction(this.#text(name, length >>> 0 === 0xffffffff ? -1 : length), callback)),
      napi_coerce_to_string: (_, value, result) => this.#give(result, String(values[value])),
      napi_set_named_property: (_, object, name, value) => {
        (values[object] as Record<string, unknown>)[this.#text(name)] = values[value];
        return OK;
      },
      napi_set_element: (_, object, index, value) => {
        (values[object] as unknown[])[index] = values[value];
        return OK;
      },
      napi_create_reference: (_, value, _count, result) => {
        this.#references.set(this.#nextReference, values[value]);
        this.#memory().setUint32(result, this.#nextReference++, true);
        return OK;
      },
      napi_get_reference_value: (_, reference, result) => this.#give(result, this.#references.get(reference)),
      napi_delete_reference: (_, reference) => {
        this.#references.delete(reference);
        return OK;
      },
      napi_open_handle_scope: (_, result) => {
        this.#memory().setUint32(result, 1, true);
        return OK;
      },
      napi_close_handle_scope: () => OK,
      napi_is_exception_pending: (_, result) => bool(result, this.#pending),
      napi_get_and_clear_last_exception: (_, result) => {
        const exception = this.#exception;
        this.#pending = false;
        this.#exception = undefined;
        return this.#give(result, exception);
      },
      napi_throw: (_, value) => this.#throw(values[value]),
      napi_throw_error: thrower(Error),
      napi_throw_type_error: thrower(TypeError),
      napi_throw_range_error: thrower(RangeError),
      napi_create_error: maker(Error),
      napi_create_type_error: maker(TypeError),
      napi_create_range_error: maker(RangeError),
      napi_get_last_error_info: (_, result) => {
        // Four words: no message, nothing of the engine's, no code, and a status.
        this.#lastError ||= this.#allocate(16);
        const memory = this.#memory();
        for (let at = 0; at < 12; at += 4) memory.setUint32(this.#lastError + at, 0, true);
        memory.setUint32(this.#lastError + 12, GENERIC_FAILURE, true);
        memory.setUint32(result, this.#lastError, true);
        return OK;
      },
      napi_fatal_error: (location, locationLength, message, length) => {
        throw new Error(`${this.#text(location, locationLength)}: ${this.#text(message, length)}`);
      },
      // node-addon-api wraps thrown primitives by these; the addon throws none.
      napi_define_properties: () => GENERIC_FAILURE,
      napi_has_property: () => GENERIC_FAILURE,
      napi_get_property: () => GENERIC_FAILURE,
    };
  }
}
