// Protocol buffers' wire format, written: what lib/folder/wire.ts reads.

/** A whole number of at least 0 in seven bits a byte. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  return Uint8Array.from([...bytes, rest]);
}

/** A field of bytes: its tag, how many they are, and they. */
export function framed(number: number, parts: readonly Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [varint(8 * number + 2), varint(length), ...parts];
}

/** A field of a message: text, a whole number of at least 0, or a message, which is the fields that it has. */
export function field(number: number, value: string | number | readonly Uint8Array[]): Uint8Array {
  if (typeof value === 'number') return concat([varint(8 * number), varint(value)]);
  return concat(framed(number, typeof value === 'string' ? [new TextEncoder().encode(value)] : value));
}

/** One after the other; not by `Buffer`, which pages do not have. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
