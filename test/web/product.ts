// A network that has the same bits wherever it is made.
import { writeGraph } from '../../lib/onnx/write.js';

/** A product by numbers that are its second input: one rounding. */
export function productGraph(type: 'float32' | 'float16'): Uint8Array {
  const shape = ['batch', 3, 'h', 'w'];
  const cast = (from: string, to: string, number: number) =>
    ({ type: 'Cast', name: to, inputs: [from], outputs: [to], attributes: { to: number } }) as const;
  return writeGraph({
    inputs: [
      { name: 'sample', type, dims: shape },
      { name: 'timestep', type: 'float32', dims: [] },
      { name: 'gain', type: 'float32', dims: shape },
    ],
    outputs: [{ name: 'out', type, dims: shape }],
    nodes: [
      cast('sample', 'wide', 1),
      { type: 'Mul', inputs: ['wide', 'gain'], outputs: ['product'] },
      cast('product', 'out', type === 'float16' ? 10 : 1),
    ],
  });
}
