// Any value in any place of everything that the addon exports. One function, `fuzz`, for test/fuzz/napi.test.ts (a few
// seconds) and scripts/fuzz.mjs (as long as one likes).
//
// A call is described by plain data, so that fast-check can print, shrink and repeat it; `attempt` makes the arguments
// anew and checks what the addon promises:
// - it returns, or throws a TypeError or RangeError that reads "Expected X for NAME but received V", on one line;
// - a call that throws has written nothing anywhere, one that returns nothing beside the arrays that it was given;
// - no code of the caller's runs in between (getters, valueOf, proxies' traps).
import { types } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import fc from 'fast-check';
import { addon } from '../../lib/addon/native.js';

// ---- values, as descriptions ----------------------------------------------------------------------------------------

const KINDS = [
  ...['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array'],
  ...['Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array', 'Float16Array'],
] as const;
type Kind = (typeof KINDS)[number];

const STATES = [
  ...['plain', 'plain', 'plain', 'detached', 'shrunk', 'grown', 'following', 'emptied', 'shared', 'growable'],
  ...['wasm', 'wasm grown', 'foreign', 'subclass', 'proxy'],
] as const;
type State = (typeof STATES)[number];

/** A typed array: `length` elements from `at` on in one of a few memories, so that views may overlap. */
interface ViewOf {
  is: 'view';
  kind: Kind;
  memory: number;
  at: number;
  length: number;
  state: State;
}
type Value = ViewOf | { is: 'value'; value: unknown } | { is: 'odd'; which: keyof typeof ODD };

const value = (of: unknown): Value => ({ is: 'value', value: of });
const view = (kind: Kind, length: number, memory = 0, at = 0, state: State = 'plain'): Value => ({
  ...{ is: 'view', kind, memory, at, length, state },
});

/** Code of the caller's that ran. */
let ran = 0;
const trap = () => {
  ran++;
  throw new Error('code of the caller ran');
};
const getters = () =>
  Object.defineProperties(
    {},
    Object.fromEntries(
      ['length', 'buffer', 'byteLength', 'byteOffset', 'constructor', 'then', '0', 'toString', 'valueOf']
        .map((name): [string | symbol, PropertyDescriptor] => [name, { get: trap }])
        .concat([[Symbol.toPrimitive, { get: trap }]]),
    ),
  );
const traps = new Proxy({}, { get: () => trap });

/** Things that are no buffer and no number, or look like one. Made anew for every call. */
const ODD = {
  getters,
  'getters on a view': () =>
    Object.defineProperties(new Float32Array(8), {
      length: { get: trap },
      buffer: { get: trap },
      byteLength: { get: trap },
      constructor: { get: trap },
    }),
  'a view without prototype': () => Object.setPrototypeOf(new Float64Array(64), null),
  'a view with another prototype': () => Object.setPrototypeOf(new Uint8Array(64), Float64Array.prototype),
  'a prototype of views': () => Float32Array.prototype,
  'an object made from a view': () => Object.create(new Float32Array(8)),
  'a proxy of a view': () => new Proxy(new Float32Array(8), traps),
  'a proxy of a function': () => new Proxy(() => 1, traps),
  'a revoked proxy': () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  'a number object': () => Object.assign(new Number(1), { valueOf: trap, toString: trap }),
  'a throwing valueOf': () => ({ valueOf: trap, toString: trap, [Symbol.toPrimitive]: trap }),
  'a data view': () => new DataView(new ArrayBuffer(64)),
  'an array buffer': () => new ArrayBuffer(256),
  'a shared buffer': () => new SharedArrayBuffer(256),
  'a node buffer': () => Buffer.alloc(64),
  'an array': () => [1, 2, 3],
  'a function': () => trap,
  'a class': () => class {},
  'an async function': () => async () => 1,
  'a symbol': () => Symbol('s'),
  'a long string': () => 'x\ny'.repeat(30_000),
  'half a surrogate': () => '\ud800'.repeat(50),
  'an error': () => new Error('e'),
  'a date': () => new Date(),
  'a regular expression': () => /x/,
  'a map': () => new Map(),
  'a weak reference': () => new WeakRef({}),
  'a promise': () => Promise.resolve(1),
  'a module': (): unknown => addon,
  'the global': (): unknown => globalThis,
  arguments: () =>
    (function () {
      // biome-ignore lint/complexity/noArguments: that is the value wanted
      return arguments;
    })(),
  'a huge bigint': () => 2n ** 200n,
} satisfies Record<string, () => unknown>;

const MEMORY = 16384;
/** TypeScript has it in the browser's declarations only. */
const { WebAssembly: Wasm } = globalThis as unknown as {
  WebAssembly: {
    Memory: new (o: { initial: number; maximum: number }) => { buffer: ArrayBuffer; grow(n: number): void };
  };
};
type Resizable = ArrayBuffer & { resize(bytes: number): void };
type Growable = SharedArrayBuffer & { grow(bytes: number): void };
const foreign = createContext({});
/** Array classes of another realm. */
const foreignKind = (kind: Kind) => runInContext(kind, foreign) as typeof Float32Array;
const known = (kind: Kind) => (globalThis as unknown as Record<Kind, typeof Float32Array | undefined>)[kind];

/** The memories of one call. */
class Memories {
  private readonly made = new Map<string, ArrayBuffer | SharedArrayBuffer>();
  private readonly views: ArrayBufferView[] = [];
  /** What to do when all arguments are there. */
  private readonly later: (() => void)[] = [];

  private memory(which: number, state: State): ArrayBuffer | SharedArrayBuffer {
    const name = `${which} ${state}`;
    const there = this.made.get(name);
    if (there) return there;
    let memory: ArrayBuffer | SharedArrayBuffer;
    const most = { maxByteLength: 2 * MEMORY };
    if (state === 'shared') memory = new SharedArrayBuffer(MEMORY);
    else if (state === 'growable') {
      memory = new (SharedArrayBuffer as unknown as new (n: number, o: object) => Growable)(MEMORY, most);
      this.later.push(() => (memory as Growable).grow(MEMORY + 8));
    } else if (state === 'wasm' || state === 'wasm grown') {
      const wasm = new Wasm.Memory({ initial: 1, maximum: 2 });
      memory = wasm.buffer;
      if (state === 'wasm grown') this.later.push(() => wasm.grow(1)); // detaches
    } else if (state === 'shrunk' || state === 'grown' || state === 'following' || state === 'emptied') {
      memory = new (ArrayBuffer as unknown as new (n: number, o: object) => Resizable)(MEMORY, most);
      const bytes = { shrunk: 8, grown: MEMORY + 8, following: 200, emptied: 0 }[state];
      this.later.push(() => (memory as Resizable).resize(bytes));
    } else {
      memory = new ArrayBuffer(MEMORY);
      if (state === 'detached') this.later.push(() => structuredClone(memory, { transfer: [memory as ArrayBuffer] }));
    }
    // Finite floats of any type, so that calls go through.
    new Float32Array(memory, 0, MEMORY / 4).forEach((_, i, all) => {
      all[i] = 1.5 + ((i * 7) % 11);
    });
    this.made.set(name, memory);
    return memory;
  }

  /** All of a plain memory. */
  whole(which: number): Float64Array {
    return new Float64Array(this.memory(which, 'plain'));
  }

  make(from: Value): unknown {
    if (from.is === 'value') return from.value;
    if (from.is === 'odd') return ODD[from.which]();
    const own = known(from.kind);
    if (!own) return new Uint16Array(from.length); // no Float16Array here
    const array = from.state === 'foreign' ? foreignKind(from.kind) : own;
    const memory = this.memory(
      from.memory,
      ['proxy', 'subclass', 'foreign'].includes(from.state) ? 'plain' : from.state,
    );
    const at = from.at * array.BYTES_PER_ELEMENT;
    const made =
      from.state === 'following'
        ? new array(memory as ArrayBuffer, at)
        : from.state === 'subclass'
          ? new (class extends array {
              override get length(): number {
                return trap();
              }
            })(memory as ArrayBuffer, at, from.length)
          : new array(memory as ArrayBuffer, at, from.length);
    this.views.push(made);
    return from.state === 'proxy' ? new Proxy(made, {}) : made;
  }

  /** To be called after all of `make`. */
  settle(): void {
    for (const change of this.later) change();
  }

  /** A copy of all; without what the arguments cover if `beside`. */
  snapshot(beside = false): Uint8Array[] {
    return [...this.made.values()].map((memory) => {
      if (memory.byteLength === 0) return new Uint8Array(); // detached: there is nothing to look at
      const copy = new Uint8Array(memory).slice();
      for (const { buffer, byteOffset, byteLength } of beside ? this.views : []) {
        if (buffer === memory) copy.fill(0, byteOffset, byteOffset + byteLength);
      }
      return copy;
    });
  }
}

// ---- what a fitting call looks like ---------------------------------------------------------------------------------

const [BATCH, N] = [2, 24];
const TOTAL = BATCH * N;
const zero = value(0);
const one = value(1);
const f64 = (length: number, memory: number) => view('Float64Array', length, memory);
/** Rows: memory 7 holds 1.5, 8.5, ... as float32; as float64 those are no transforms, so rows have a memory of zeros. */
const rowsCall = (...rest: Value[]) => [view('Float64Array', 64, 7), one, ...rest];
const nodes = (count: number) => view('Float64Array', 4 * count, 8);

const FITTING: Record<string, Value[]> = {
  step: [
    ...[view('Float64Array', 32 * BATCH, 7), zero, value(BATCH), one, one, view('Uint8Array', 64, 9)],
    // x, m, u, g, base, p, d1, d2, d3, z, d0, out, out2, next: each at its own place.
    ...Array.from({ length: 14 }, (_, k) => view('Float32Array', TOTAL, 0, k * TOTAL)),
  ],
  guide: [
    ...[view('Float64Array', 32 * BATCH, 7), zero, value(BATCH), view('Float64Array', 10, 7), one],
    ...[view('Float32Array', TOTAL), view('Float32Array', 2 * TOTAL, 1), view('Float32Array', TOTAL, 2)],
  ],
  quantile: [view('Float32Array', TOTAL), value(BATCH), value(0.9), one, f64(BATCH, 1)],
  errorNorm: [
    ...[view('Float32Array', TOTAL), view('Float32Array', TOTAL, 1), view('Float32Array', TOTAL, 2)],
    ...[value(BATCH), value(0.1), value(0.1), one, f64(BATCH, 3)],
  ],
  standardDeviation: [view('Float32Array', TOTAL), value(BATCH), f64(BATCH, 1)],
  convert: [view('Float32Array', TOTAL), view('Uint16Array', TOTAL, 1)],
  scratchBytes: [zero, value(BATCH), value(1000), value(0.9), one],
  info: [],
  limit: [zero, one, ...Array.from({ length: 6 }, (_, k) => view('Float32Array', 64, k))],
  predictionRow: rowsCall(zero, zero, one, value(7.5), nodes(1)),
  updateRow: rowsCall(zero, zero, zero, value(2), zero, zero, value(0), nodes(5)),
  uniPCRow: rowsCall(zero, value(2), value(2), zero, nodes(5)),
  ddimRow: rowsCall(zero, value(0.5), zero, nodes(2)),
  pndmRow: rowsCall(zero, nodes(2), f64(4, 1)),
  edmPredictionRow: rowsCall(zero, value(0.5), nodes(1)),
  saSolverRow: rowsCall(zero, value(2), value(2), value(0), value(0), nodes(5)),
  lmsRow: rowsCall(value(2), f64(5, 1)),
  keepNoise: rowsCall(nodes(1)),
  elementary: [value('exp'), f64(16, 0), f64(16, 1)],
  phi: [one, value(0.5)],
  weight: [zero, one, value(0.5), zero],
  torchSeed: [view('Uint32Array', 628, 0), one, zero],
  torchRandn: [view('Uint32Array', 628, 7), view('Float32Array', 40, 1), value(3), value(33)],
  torchSkip: [view('Uint32Array', 628, 7), value(1000), value(true)],
  philoxRandn: [one, one, one, one, value(5), view('Float32Array', 40, 1), value(1), value(30)],
  philoxBlock: [view('Uint32Array', 4), one, one],
  noiseElementary: [f64(4, 0), f64(12, 1)],
  noiseWord: [one, f64(3, 1)],
  cudaPlan: [f64(36, 1), value(2), value(16384), one, zero, one],
};
/** Functions that take addresses and do as they are told, once there is a CUDA library to tell it to. */
const cuda = (name: string) => /^cuda(?!Plan$|Info$)/.test(name);
const hasCuda = (addon.cudaInfo as () => { runtime: string | null })().runtime !== null;
export const FUNCTIONS = Object.keys(addon).filter(
  (name) => typeof addon[name] === 'function' && !(cuda(name) && hasCuda),
);

// ---- any value ------------------------------------------------------------------------------------------------------

const numbers = fc.oneof(
  fc.constantFrom(
    ...[0, -0, 1, 2, 3, 4, 5, 24, 31, 32, 48, 63, 64, 623, 624, 625, 628, 1024, 1025, -1, 0.5, 1.5, 1e-320, 5e-324],
    ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.MAX_VALUE, Number.EPSILON],
    ...[2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 60, 2 ** 63, 2 ** 64, -(2 ** 31)],
  ),
  fc.integer({ min: 0, max: 130 }),
  fc.double(),
);
const views: fc.Arbitrary<Value> = fc
  .record({
    kind: fc.oneof(fc.constantFrom<Kind>('Float32Array', 'Float64Array', 'Uint32Array'), fc.constantFrom(...KINDS)),
    memory: fc.integer({ min: 0, max: 9 }),
    at: fc.integer({ min: 0, max: 700 }),
    length: fc.oneof(
      fc.constantFrom(0, 1, 2, 3, 4, 8, 12, 16, 20, 24, 32, 40, 47, 48, 49, 64, 96, 144, 624, 627, 628, 629),
      fc.integer({ min: 0, max: 700 }),
    ),
    state: fc.constantFrom(...STATES),
  })
  .map((of) => ({ is: 'view', ...of }));
const any: fc.Arbitrary<Value> = fc.oneof(
  views,
  numbers.map(value),
  fc.constantFrom(...Object.keys(ODD)).map((which): Value => ({ is: 'odd', which: which as keyof typeof ODD })),
  fc
    .oneof(
      fc.constantFrom(undefined, null, true, false, '', 'exp', 'log1p', '0', 0n, 1n, -1n),
      fc.anything({ withBigInt: true, withTypedArray: true, withSparseArray: true, withNullPrototype: true }),
    )
    .map(value),
);

export interface Call {
  name: string;
  args: Value[];
  self: Value;
  construct: boolean;
}

const calls: fc.Arbitrary<Call> = fc.constantFrom(...FUNCTIONS).chain((name) => {
  const fitting = FITTING[name];
  const anything = fc.array(any, { maxLength: 21 });
  const args = fitting
    ? fc.oneof(
        { arbitrary: anything, weight: 1 },
        {
          // A fitting call with some of its arguments replaced, missing, or more of them than wanted.
          weight: 7,
          arbitrary: fc
            .record({
              changes: fc.array(fc.tuple(fc.nat(Math.max(0, fitting.length)), any), { maxLength: 4 }),
              keep: fc.oneof({ arbitrary: fc.constant(99), weight: 9 }, { arbitrary: fc.nat(20), weight: 1 }),
            })
            .map(({ changes, keep }) => {
              const list = fitting.slice();
              for (const [at, replacement] of changes) list[at] = replacement;
              return Array.from(list.slice(0, keep), (argument) => argument ?? value(undefined));
            }),
        },
      )
    : anything;
  return fc.record({
    name: fc.constant(name),
    args,
    self: fc.oneof({ arbitrary: fc.constant(value(undefined)), weight: 5 }, { arbitrary: any, weight: 1 }),
    construct: fc.integer({ min: 0, max: 19 }).map((k) => k === 0),
  });
});

/** Would keep the processor busy for seconds, as documented: the time a skip takes grows with its length. */
function slow({ name, args }: Call): boolean {
  const n = args[1];
  return name === 'torchSkip' && n?.is === 'value' && typeof n.value === 'number' && n.value > 2 ** 20;
}

const MESSAGE = /^Expected [^\n]+ but received [^\n]+$/;

/** Returns what is wrong with the outcome, or null, and whether the call went through. */
export function attempt(call: Call): { wrong: string | null; taken: boolean } {
  if (slow(call)) return { wrong: null, taken: false };
  const memories = new Memories();
  // What fitting calls take as rows, as a generator's state, as nodes: zeros, with ones where nodes have alpha, sigma.
  for (const which of [7, 8]) {
    const own = memories.whole(which);
    own.fill(0);
    if (which === 8) for (let k = 0; k < 5; k++) own.set([0.8 - 0.1 * k, 0.6, 0.3 - 0.2 * k, 0], 4 * k);
    if (which === 7) for (let k = 0; k < 8; k++) own.set([1, 0.5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0.5, 0.5], 32 * k);
  }
  const args = call.args.map((argument) => memories.make(argument));
  const self = memories.make(call.self);
  memories.settle();
  const [before, beside] = [memories.snapshot(), memories.snapshot(true)];
  const target = addon[call.name] as (...all: unknown[]) => unknown;
  ran = 0;
  let error: unknown;
  let taken = true;
  try {
    const result = call.construct ? Reflect.construct(target, args) : Reflect.apply(target, self, args);
    if (types.isPromise(result)) result.catch(() => {});
  } catch (caught) {
    error = caught;
    taken = false;
  }
  if (ran > 0) return { wrong: 'ran code of the caller', taken };
  const differ = (a: Uint8Array[], b: Uint8Array[]) => a.some((bytes, k) => Buffer.compare(bytes, b[k]!) !== 0);
  if (taken) return { wrong: differ(beside, memories.snapshot(true)) ? 'wrote beside its arguments' : null, taken };
  if (!(error instanceof Error)) return { wrong: `threw ${String(error)}`, taken };
  const { message } = error;
  const noLibrary =
    (cuda(call.name) && /^Expected the CUDA library but /.test(message)) ||
    (call.name === 'ortLibrary' && /^Expected the library of onnxruntime-node to be loaded /.test(message));
  if (!noLibrary && error.constructor !== TypeError && error.constructor !== RangeError) {
    return { wrong: `threw ${error.constructor.name}: ${message}`, taken };
  }
  if (!noLibrary && !MESSAGE.test(message)) return { wrong: `said ${JSON.stringify(message.slice(0, 200))}`, taken };
  if (!noLibrary && message.length > 300) return { wrong: `said ${message.length} characters`, taken };
  return { wrong: differ(before, memories.snapshot()) ? `wrote, then threw: ${message}` : null, taken };
}

/** Tries calls for so many seconds, or so many of them; how many went through and how many were refused, by function. */
export function fuzz(limit: { seconds?: number; calls?: number; seed?: number }): Map<string, [number, number]> {
  const counts = new Map<string, [number, number]>(FUNCTIONS.map((name) => [name, [0, 0]]));
  fc.assert(
    fc.property(calls, (call) => {
      const { wrong, taken } = attempt(call);
      counts.get(call.name)![taken ? 0 : 1]++;
      if (wrong) throw new Error(`${call.name} ${wrong}`);
    }),
    {
      includeErrorInReport: true,
      numRuns: limit.calls ?? Number.MAX_SAFE_INTEGER,
      ...(limit.seconds === undefined ? {} : { interruptAfterTimeLimit: limit.seconds * 1000 }),
      ...(limit.seed === undefined ? {} : { seed: limit.seed }),
    },
  );
  return counts;
}
