// The buffers that graphs read and write, and numbers put into them.

/** The element types that the networks of diffusion pipelines use. */
export type ElementType = 'float32' | 'float64' | 'float16' | 'int32' | 'int64';
export type ElementArray = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array;

/**
 * A buffer of ours that the graph reads or writes: `data` has as many elements as `dims` say, float16 as bits in a
 * `Uint16Array`. It is a feed in onnxruntime's eyes as it is.
 */
export interface Slot {
  type: ElementType;
  data: ElementArray;
  dims: readonly number[];
  location?: 'cpu';
}

const arrays: Record<ElementType, new (length: number) => ElementArray> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
};

/** A new buffer of zeros. */
export function slot(type: ElementType, dims: readonly number[]): Slot {
  return { type, data: new arrays[type](dims.reduce((n, d) => n * d, 1)), dims: [...dims], location: 'cpu' };
}

/**
 * A number as the graph wants it: written into every element of `slot`, rounded to the nearest where the type is an
 * integer (networks exported with integer timesteps know nothing between them).
 */
export function fill({ type, data }: Slot, value: number): void {
  if (type === 'int64') (data as BigInt64Array).fill(BigInt(Math.round(value)));
  else if (type === 'int32') (data as Int32Array).fill(Math.round(value));
  else if (type === 'float16') (data as Uint16Array).fill(toHalf(value));
  else (data as Float32Array).fill(value);
}

/**
 * The time's buffer in the type and shape that a graph declares: a scalar, one number, or one a sample.
 *
 * @param path of the graph, for messages
 */
export function timeSlot(
  { type, shape }: { readonly type: string; readonly shape: readonly (number | string)[] },
  batch: number,
  path: string,
): Slot {
  const dims = shape.map((d) => (typeof d === 'number' ? d : /batch/i.test(d) ? batch : 1));
  if (!['float32', 'float64', 'float16', 'int32', 'int64'].includes(type) || dims.length > 1) {
    throw new Error(`Expected a number for the input timestep of ${path}, which declares ${type} [${shape}]`);
  }
  return slot(type as ElementType, dims);
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The bits of `value` in float16, rounded to nearest, ties to even. */
export function toHalf(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(scratch[0]);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below 2^-14 halves are spaced 2^-24 apart, above by 2^-10 of their power of two.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  const units = roundEven(magnitude / 2 ** (exponent - 10));
  return sign | (units < 1024 ? units : ((exponent + 14) << 10) + units);
}

function roundEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}
