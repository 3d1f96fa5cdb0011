// node turns.mjs DIR FEEDS: the denoiser of a folder as a pipeline runs it, fed as reference.py says; makes a call for every line
// that comes in, and says in a line how long it took.
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { OrtNetwork } from 'dpm-solver/onnx';

const [, , model, said] = process.argv;
const network = existsSync(`${model}/unet`) ? 'unet' : 'transformer';
// As graphs of this size are opened in pipelines.
const session = await OrtNetwork.open(`${model}/${network}/model.onnx`, { memoryPattern: false, sharedMemory: true });
const arrays = { float32: Float32Array, float16: Uint16Array, int64: BigInt64Array, int32: Int32Array };

/** A number's bits in float16, of a number that this holds without rounding and is no subnormal. */
function half(/** @type {number} */ value) {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  return (value < 0 ? 0x8000 : 0) + ((exponent + 15) << 10) + (Math.abs(value) / 2 ** exponent - 1) * 1024;
}

const feeds = Object.fromEntries(
  Object.entries(JSON.parse(said)).map(([name, [type, dims, value]]) => {
    const data = new arrays[type](dims.reduce((product, dim) => product * dim, 1));
    data.fill(type === 'float16' ? half(value) : type === 'int64' ? BigInt(value) : value);
    return [name, { type, data, dims }];
  }),
);
const [name] = session.outputs.keys();

/** The size of an output, by which both are known to compute the same. */
function mean({ data, type }) {
  const read = (x) => {
    if (type !== 'float16') return Math.abs(x);
    const [exponent, part] = [(x >> 10) & 31, x & 1023];
    return exponent === 0 ? part * 2 ** -24 : (1 + part / 1024) * 2 ** (exponent - 15);
  };
  let sum = 0;
  for (const x of data) sum += read(x);
  return sum / data.length;
}

for await (const _ of createInterface({ input: process.stdin })) {
  const begun = performance.now();
  const made = await session.run(feeds, { outputs: [name] });
  const seconds = (performance.now() - begun) / 1000;
  console.log(JSON.stringify({ seconds, mean: mean(made[name]) }));
}
