// Multiples of tensors and of noise, outside of any run.

import { allocate, makeTensor, type Tensor, type TensorType, type TensorView } from '../base/tensor.js';
import { ROW } from './coefficients.js';
import { addon, type NetworkArray, type StateArray } from './native.js';

/**
 * a x + n z, by the first sums of `rows`: one row for each sample, or one for all. In x's class and type, in memory of
 * its own; float16 is worked on in float32.
 *
 * @internal
 */
export function combine(
  x: TensorView,
  z: { readonly data: NetworkArray; readonly type: TensorType } | null,
  rows: Float64Array,
  threads = 0,
): Tensor {
  const type = x.type === 'float64' ? 'float64' : 'float32';
  const as = (view: { readonly data: NetworkArray; readonly type: TensorType }): StateArray => {
    if (view.type === type) return view.data as StateArray;
    const wide = allocate(type, view.data.length) as StateArray;
    addon.convert(view.data, wide);
    return wide;
  };
  const state = as(x);
  const result = allocate(x.type, x.length, x.data);
  const out = x.type === type ? (result as StateArray) : (allocate(type, x.length) as StateArray);
  const nothing = null;
  addon.step(
    rows,
    0,
    rows.length / ROW.length,
    0,
    threads,
    nothing,
    state,
    nothing,
    nothing,
    nothing,
    state,
    nothing,
    nothing,
    nothing,
    nothing,
    z ? as(z) : nothing,
    nothing,
    out,
    nothing,
    x.type === type ? nothing : result,
  );
  return makeTensor(x.source, x.type, result, x.dims);
}
