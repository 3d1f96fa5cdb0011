// Tensors are anything shaped { data, dims, type? }: read once, made again in the class that came in.
import { isPromise, list, show, wrongType } from './check.js';

/** State, history and noise: one float32 or float64 number an element. */
export type StateArray = Float32Array | Float64Array;
/** What a network may give or take besides: float16, as a `Float16Array` or as the bits in a `Uint16Array`. */
export type NetworkArray = StateArray | Uint16Array;

/** The types of numbers that states and outputs may have. */
export type TensorType = 'float32' | 'float64' | 'float16';

/**
 * Anything with data and dims: a plain object, or a tensor of onnxruntime or transformers.js. `dims[0]` is the batch.
 * `data` is a Float32Array, Float64Array, Float16Array, or a Uint16Array with `type: 'float16'`.
 */
export interface Tensor {
  /** As many numbers as the product of `dims`, row-major. */
  readonly data: unknown;
  /** One or more sizes of at least 1. */
  readonly dims: readonly number[];
  /** What `data` says where absent; needed for float16 in a Uint16Array. */
  readonly type?: string;
}

/** A tensor's parts, read once and checked: some tensor classes are proxies, each access of which costs. @internal */
export interface TensorView {
  readonly data: NetworkArray;
  readonly dims: readonly number[];
  readonly type: TensorType;
  readonly batch: number;
  readonly length: number;
  readonly source: Tensor;
}

const TYPE_OF: Record<string, TensorType> = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  Float16Array: 'float16',
  Uint16Array: 'float16',
};

function tagOf(data: unknown): string | undefined {
  return ArrayBuffer.isView(data) ? (data as NetworkArray)[Symbol.toStringTag] : undefined;
}

/**
 * Reads a tensor.
 *
 * @throws TypeError for what is no tensor or holds another kind of numbers, RangeError where dims and data disagree
 * @internal
 */
export function readTensor(tensor: unknown, name: string): TensorView {
  if (typeof tensor !== 'object' || tensor === null) {
    const unnamed = tensor === undefined && isOutput(name);
    throw noTensor(name, `${show(tensor)}${unnamed ? ': is that the name of the output, and is it returned?' : ''}`);
  }
  const { data, dims, type } = tensor as Tensor;
  const tag = tagOf(data);
  const own = tag === undefined ? undefined : TYPE_OF[tag];
  // Only now, since each access to some classes of tensors costs.
  const other = data === undefined && dims === undefined ? inPlaceOf(tensor) : undefined;
  if (other !== undefined) throw noTensor(name, other);
  if (tag === undefined || own === undefined || (tag === 'Uint16Array' && type !== 'float16')) {
    throw new TypeError(
      `Expected a Float32Array, Float64Array, Float16Array, or a Uint16Array with type 'float16', for ${name}.data but received ${show(data)}${tag?.startsWith('Uint8') ? ': pixels are v / 127.5 - 1 for a network' : Array.isArray(data) ? ': Float32Array.from() makes one of numbers' : ''}`,
    );
  }
  if (type !== undefined && type !== own) {
    throw new TypeError(`Expected type '${own}', as its ${tag} says, for ${name}.type but received ${show(type)}`);
  }
  const sizes = readDims(dims, name, tensor);
  const length = sizes.reduce((product, size) => product * size, 1);
  const numbers = data as NetworkArray;
  if (numbers.length !== length) {
    throw new RangeError(
      `Expected ${length} elements, the product of its dims [${sizes.join(', ')}], for ${name}.data but received ${numbers.length}${isDetached(numbers) ? ': its buffer is detached, as one is that was given to a worker or disposed of' : ''}`,
    );
  }
  return { data: numbers, dims: sizes, type: own, batch: sizes[0], length, source: tensor as Tensor };
}

/** Is it what a network gave? */
const isOutput = (name: string) => / output\b/.test(name);

function noTensor(name: string, received: string): TypeError {
  return new TypeError(`Expected a tensor { data, dims, type? } for ${name} but received ${received}`);
}

/** What was given in place of a tensor, and what to do about it; undefined for what says nothing. */
function inPlaceOf(value: object): string | undefined {
  if (isPromise(value)) return `${show(value)}: await it`;
  if (ArrayBuffer.isView(value)) return `${show(value)} alone: { data, dims } says its sizes, too`;
  if (Array.isArray(value) && ArrayBuffer.isView(value[0]?.data)) return 'an array of tensors: pass one of them';
  if (Array.isArray(value))
    return 'an array: randn(dims, { seed }) makes noise, { data, dims } a tensor of your numbers';
  // What a session's run resolves to: the outputs by name.
  const outputs = Object.entries(value).filter(([, output]) => ArrayBuffer.isView(output?.data));
  if (outputs.length === 0) return undefined;
  const [first] = outputs[0];
  return outputs.length === 1
    ? `a map of outputs: pass its ${show(first)}`
    : `a map of the outputs ${list(
        outputs.map(([key]) => show(key)),
        'and',
      )}: pass one of them`;
}

/** Was the memory below an array given away? */
function isDetached(numbers: NetworkArray): boolean {
  if (numbers.byteLength !== 0) return false;
  try {
    // ArrayBuffer.prototype.detached is younger than the oldest Node that is supported.
    new Uint8Array(numbers.buffer);
    return false;
  } catch {
    return true;
  }
}

function readDims(dims: unknown, name: string, tensor: object): number[] {
  if (typeof dims !== 'object' || dims === null || !Number.isSafeInteger((dims as ArrayLike<unknown>).length)) {
    const shape = dims === undefined && 'shape' in tensor;
    throw wrongType('an array of sizes', `${name}.dims`, dims, shape ? 'its shape has to be called dims' : '');
  }
  const sizes = Array.from(dims as ArrayLike<unknown>);
  if (sizes.length === 0 || sizes.some((size) => !Number.isSafeInteger(size) || (size as number) < 1)) {
    throw new RangeError(
      `Expected one or more sizes of at least 1 for ${name}.dims but received [${sizes.map(String).join(', ')}]`,
    );
  }
  return sizes as number[];
}

/** An array for `length` numbers of `type`, of the class of `like` where that holds this type. @internal */
export function allocate(type: TensorType, length: number, like?: NetworkArray): NetworkArray {
  if (type === 'float32') return new Float32Array(length);
  if (type === 'float64') return new Float64Array(length);
  if (like !== undefined && TYPE_OF[tagOf(like) ?? ''] === 'float16') {
    return new (like.constructor as new (length: number) => NetworkArray)(length);
  }
  return new Uint16Array(length);
}

/** A tensor of the class of `like`: a plain object where that is one. @internal */
export function makeTensor(like: Tensor, type: TensorType, data: NetworkArray, dims: readonly number[]): Tensor {
  const Class: unknown = like.constructor;
  // The prototype of Object is the last of its chain, in every realm.
  const proto = typeof Class === 'function' ? Class.prototype : Object.prototype;
  if (proto && Object.getPrototypeOf(proto) === null) return { type, data, dims: [...dims] };
  return new (Class as new (type: string, data: unknown, dims: number[]) => Tensor)(type, data, [...dims]);
}

/** Do two lists of sizes agree? @internal */
export function sameDims(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** RangeError for a tensor of other sizes than were expected. @internal */
export function wrongDims(expected: readonly number[], name: string, received: readonly number[]): RangeError {
  const [batch, channels, ...space] = expected;
  const last = expected.length > 2 && sameDims(received, [batch, ...space, channels]);
  const single = batch === 1 && sameDims(received, expected.slice(1));
  const times = (which: number, factor: number) =>
    sameDims(
      received,
      expected.map((size, i) => (i === which ? factor * size : size)),
    );
  let hint = last ? ': channels come before height and width' : single ? ': the first of dims is the batch' : '';
  if (isOutput(name) && times(0, 2)) hint = ': that is the batch twice, and guidance makes one prediction of both';
  if (isOutput(name) && times(0, 0.5)) hint = ': guidance takes both predictions, of a batch that comes twice';
  if (isOutput(name) && times(1, 2))
    hint = ': of twice the channels the first half is the prediction, the rest its variance';
  return new RangeError(
    `Expected dims [${expected.join(', ')}] for ${name} but received [${received.join(', ')}]${hint}`,
  );
}
