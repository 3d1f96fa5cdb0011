// The element types of tensors: onnxruntime's numbers for them, their names, and what holds them in JavaScript.

/** Names of element types, as onnxruntime-node spells them. */
export type OrtType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64';

/** What holds a tensor's elements: 64-bit integers are bigints, bool is bytes of 0 and 1, float16 its bits or itself. */
export type OrtData =
  | Float32Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float64Array
  | Uint32Array
  | BigUint64Array;

/** By onnxruntime's number; holes are types without elements of one size. */
const TYPES: readonly (readonly [type: OrtType, array: new (buffer: ArrayBuffer) => OrtData] | undefined)[] = [
  undefined,
  ['float32', Float32Array],
  ['uint8', Uint8Array],
  ['int8', Int8Array],
  ['uint16', Uint16Array],
  ['int16', Int16Array],
  ['int32', Int32Array],
  ['int64', BigInt64Array],
  undefined, // strings
  ['bool', Uint8Array],
  ['float16', Uint16Array],
  ['float64', Float64Array],
  ['uint32', Uint32Array],
  ['uint64', BigUint64Array],
];
const NUMBERS = new Map(TYPES.flatMap((entry, number) => (entry ? [[entry[0] as string, number]] : [])));

/** The type's name, or what it is where it has none. */
export function typeName(number: number): string {
  return TYPES[number]?.[0] ?? (number === 0 ? 'no tensor' : number === 8 ? 'string' : `onnxruntime's type ${number}`);
}

/** onnxruntime's number for a type, undefined where tensors of it cannot be made here. */
export function typeNumber(name: string): number | undefined {
  return NUMBERS.get(name);
}

/** A view of `buffer` as that type's array. */
export function view(number: number, buffer: ArrayBuffer): OrtData {
  return new TYPES[number]![1](buffer);
}

/** `'a Float32Array'` and its like: what a tensor of that type has for its data. */
export function expectedArray(number: number): string {
  const { name } = TYPES[number]![1];
  return name === 'Uint16Array' && typeName(number) === 'float16' ? 'a Uint16Array or Float16Array' : article(name);
}

/** Can `data` hold elements of that type? By what it says of itself: arrays may come from another realm. */
export function holds(number: number, data: unknown): data is OrtData {
  if (!ArrayBuffer.isView(data)) return false;
  const name = arrayName(data);
  return name === TYPES[number]![1].name || (name === 'Float16Array' && typeName(number) === 'float16');
}

/** `'Float32Array'` and its like. */
export function arrayName(data: ArrayBufferView): string {
  return String((data as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? 'DataView');
}

/** `'a Float32Array'`, `'an Int8Array'`. */
export function article(name: string): string {
  return `${/^[AEIOU](?!int)/.test(name) ? 'an' : 'a'} ${name}`;
}
