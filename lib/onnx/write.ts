// Small ONNX graphs made here: what happens to tensors that stay on a device. Field numbers are those of onnx.proto.
import { concat, field } from '../folder/message.js';

/** IR version 8 and operators of version 17: what onnxruntime 1.20 and later read. */
const IR_VERSION = 8;
const OPERATORS = 17;
/** Numbers of TensorProto's types. */
const TYPES = { float32: 1, int32: 6, int64: 7, float16: 10, float64: 11 } as const;

/** An input or output; a dimension is its name where it is not known. */
export interface WrittenValue {
  readonly name: string;
  readonly type: keyof typeof TYPES;
  readonly dims: readonly (number | string)[];
}

/** A node: its attributes are whole numbers, or lists of them. */
export interface WrittenNode {
  readonly type: string;
  readonly name?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** A graph. */
export interface WrittenGraph {
  readonly inputs: readonly WrittenValue[];
  readonly outputs: readonly WrittenValue[];
  readonly nodes: readonly WrittenNode[];
  /** Values of type int64 in one dimension, by their names: sizes and axes. */
  readonly sizes?: Readonly<Record<string, readonly number[]>>;
}

/** The number of an element type, as Cast takes it. */
export const typeNumber = (type: keyof typeof TYPES): number => TYPES[type];

/** The bytes of an ONNX file with the graph. */
export function writeGraph({ inputs, outputs, nodes, sizes = {} }: WrittenGraph): Uint8Array {
  // GraphProto: node 1, name 2, initializer 5, input 11, output 12. ModelProto: ir_version 1, graph 7, opset_import 8.
  const graph = [
    ...nodes.map((node) => field(1, nodeOf(node))),
    field(2, 'graph'),
    ...Object.entries(sizes).map(([name, values]) => field(5, sizesOf(name, values))),
    ...inputs.map((value) => field(11, valueInfo(value))),
    ...outputs.map((value) => field(12, valueInfo(value))),
  ];
  return concat([field(1, IR_VERSION), field(7, graph), field(8, [field(2, OPERATORS)])]);
}

/** NodeProto: input 1, output 2, name 3, op_type 4, attribute 5. AttributeProto: name 1, i 3, ints 8, type 20 (INT 2, INTS 7). */
function nodeOf({ type, name: own, inputs, outputs, attributes = {} }: WrittenNode): Uint8Array[] {
  return [
    ...inputs.map((name) => field(1, name)),
    ...outputs.map((name) => field(2, name)),
    ...(own === undefined ? [] : [field(3, own)]),
    field(4, type),
    ...Object.entries(attributes).map(([name, value]) =>
      field(
        5,
        typeof value === 'number'
          ? [field(1, name), field(3, value), field(20, 2)]
          : [field(1, name), ...value.map((one) => field(8, one)), field(20, 7)],
      ),
    ),
  ];
}

/** ValueInfoProto: name 1, type 2. TypeProto: tensor_type 1, with elem_type 1 and shape 2, which has dim 1 of value 1 or name 2. */
function valueInfo({ name, type, dims }: WrittenValue): Uint8Array[] {
  const shape = dims.map((dim) => field(1, [typeof dim === 'number' ? field(1, dim) : field(2, dim)]));
  return [field(1, name), field(2, [field(1, [field(1, TYPES[type]), field(2, shape)])])];
}

/** TensorProto: dims 1, data_type 2, int64_data 7, name 8. */
function sizesOf(name: string, values: readonly number[]): Uint8Array[] {
  // A size of -1 is ten bytes on the wire; none is needed here.
  return [field(1, values.length), field(2, TYPES.int64), ...values.map((value) => field(7, value)), field(8, name)];
}
