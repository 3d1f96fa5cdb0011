// Tensors in a file of the safetensors format (huggingface.co/docs/safetensors): the length of a header as eight bytes, little
// end first, the header in JSON with type, dims and place of every tensor, and their numbers one after the other.
import { readAtMost } from '../base/read.js';
import { bytes as amount } from '../base/text.js';

/** One tensor of a file. */
export interface StoredTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** What the header may take: the format's own limit. */
const MOST_HEADER = 100e6;
/** Of a file of latents: 100 of 4096 x 4096 pixels have 0.4 GB. */
const MOST_BYTES = 2 ** 31;

/**
 * The bytes of a file with one tensor.
 *
 * @param metadata words that go with it
 */
export function encodeTensor(
  name: string,
  { data, dims }: StoredTensor,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header = JSON.stringify({
    __metadata__: metadata,
    [name]: { dtype: 'F32', shape: dims, data_offsets: [0, data.byteLength] },
  });
  const words = Buffer.from(header);
  // Spaces, so that numbers begin at a multiple of eight.
  const head = Buffer.alloc(Math.ceil(words.length / 8) * 8, ' ');
  words.copy(head);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  return Buffer.concat([length, head, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]);
}

/**
 * The tensor of that name in a file, or the only one that there is.
 *
 * @param given the file's bytes, where `path` is but what messages call it
 * @throws Error in one sentence that names the file
 */
export function readTensor(
  path: string,
  name: string,
  given?: Buffer,
): StoredTensor & { metadata: Readonly<Record<string, string>> } {
  const file = given ?? readAtMost(path, MOST_BYTES, begins);
  const { header, begin } = readHeader(path, file);
  const names = Object.keys(header).filter((key) => key !== '__metadata__');
  const found = header[name] ?? (names.length === 1 ? header[names[0]] : undefined);
  const { dtype, shape, data_offsets: offsets } = (found ?? {}) as Record<string, unknown>;
  if (found === undefined || !isWhole(shape) || !isWhole(offsets) || offsets.length !== 2) {
    throw new Error(`Expected a tensor ${name} in ${path}, which has ${names.slice(0, 8).join(', ') || 'none'}`);
  }
  if (dtype !== 'F32') throw new Error(`Expected float32 for the tensor ${name} in ${path} but it is ${String(dtype)}`);
  const size = 4 * shape.reduce((a, b) => a * b, 1);
  const [from, to] = offsets;
  if (to - from !== size)
    throw new Error(`Expected ${amount(size)} for the tensor ${name} in ${path} but it has ${amount(to - from)}`);
  if (begin + to > file.length) {
    throw new Error(
      `Expected at least ${amount(begin + to)} in ${path} but it has ${amount(file.length)}: it was cut short`,
    );
  }
  const data = new Float32Array(size / 4);
  new Uint8Array(data.buffer).set(file.subarray(begin + from, begin + to));
  return { data, dims: shape, metadata: (header.__metadata__ ?? {}) as Record<string, string> };
}

/** Does it begin with the length of a header, and that with a bracket? */
function begins(head: Buffer): boolean {
  return head.length > 8 && Number(head.readBigUInt64LE(0)) <= MOST_HEADER && head[8] === 0x7b;
}

function readHeader(path: string, file: Buffer): { header: Record<string, unknown>; begin: number } {
  const length = file.length < 8 ? 0 : Number(file.readBigUInt64LE(0));
  const begin = 8 + length;
  try {
    if (length < 2 || length > MOST_HEADER || begin > file.length) throw new Error('no header');
    const header: unknown = JSON.parse(file.toString('utf8', 8, begin));
    if (typeof header !== 'object' || header === null || Array.isArray(header)) throw new Error('no header');
    return { header: header as Record<string, unknown>, begin };
  } catch (cause) {
    throw new Error(`Expected a safetensors file in ${path} but it is something else, or was cut short`, { cause });
  }
}

function isWhole(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}
