// Words in JPEG and WebP files: what PNG files have as text lies in EXIF here, where the web UIs put it. sharp writes EXIF through
// libexif, which takes all that is not ASCII for question marks; prompts are in any script. EXIF 3.0 (CIPA DC-008), 4.6; TIFF 6.0;
// the WebP container specification, "Extended File Format".
import { bufferOf } from './image.js';

/** What a file says of itself. */
export interface Exif {
  /** ImageDescription, UTF-8. */
  readonly description?: string;
  /** UserComment, in which A1111 has what it calls parameters. */
  readonly comment?: string;
}

const [DESCRIPTION, EXIF_IFD, USER_COMMENT] = [0x010e, 0x8769, 0x9286];
const [ASCII, LONG, UNDEFINED] = [2, 4, 7];
/** Bytes of an entry of a TIFF folder: tag, type, count, and the value or where it lies. */
const ENTRY = 12;
/** Begins the APP1 segment of a JPEG file that is EXIF; some write it in WebP files, too. */
const MARK = Buffer.from('Exif\0\0', 'latin1');
/** What the length of a segment can say, less its own two bytes. */
const MOST_SEGMENT = 2 ** 16 - 1 - 2;
/** Flag of the extended WebP header. */
const HAS_EXIF = 0x08;

/** The file with words in it; of a JPEG, which holds 64 kB of them, those that there is room for, the description first. */
export function withExif(file: Uint8Array, exif: Exif): Uint8Array {
  const bytes = bufferOf(file);
  if (isWebp(bytes)) return intoWebp(bytes, tiffOf(exif));
  const fitting = [exif, { description: exif.description }, {}].find((one) => segmentOf(one).length <= MOST_SEGMENT);
  const segment = segmentOf(fitting ?? {});
  const head = Buffer.from([0xff, 0xe1, 0, 0]);
  head.writeUInt16BE(segment.length + 2, 2);
  // Behind the start of the picture and JFIF's segment, which want to be the first.
  const at = bytes[3] === 0xe0 ? 4 + bytes.readUInt16BE(4) : 2;
  return Buffer.concat([bytes.subarray(0, at), head, segment, bytes.subarray(at)]);
}

const segmentOf = (exif: Exif) => Buffer.concat([MARK, tiffOf(exif)]);

/** A TIFF file of two folders and no picture. */
function tiffOf({ description, comment }: Exif): Buffer {
  const text = description === undefined ? undefined : Buffer.from(`${description}\0`, 'utf8');
  // The character code comes first, and the text in this file's order of bytes, which is the one that A1111 reads.
  const words = comment === undefined ? undefined : Buffer.from(`UNICODE\0`, 'latin1');
  const note = words && Buffer.concat([words, Buffer.from(comment as string, 'utf16le').swap16()]);
  const header = Buffer.from('MM\0*\0\0\0\x08', 'latin1');
  const count = (text ? 1 : 0) + (note ? 1 : 0);
  const first = header.length;
  const second = first + 2 + ENTRY * count + 4;
  const values = second + (note ? 2 + ENTRY + 4 : 0);
  const own: Buffer[] = [];
  if (text) own.push(entry(DESCRIPTION, ASCII, text.length, values, text));
  if (note) own.push(entry(EXIF_IFD, LONG, 1, second));
  const behind = values + (text && text.length > 4 ? text.length : 0);
  const folders = [folder(own), ...(note ? [folder([entry(USER_COMMENT, UNDEFINED, note.length, behind)])] : [])];
  return Buffer.concat([header, ...folders, ...(text && text.length > 4 ? [text] : []), ...(note ? [note] : [])]);
}

/** Of what has four bytes or fewer the value stands in place of where it lies. */
function entry(tag: number, type: number, count: number, at: number, value?: Buffer): Buffer {
  const bytes = Buffer.alloc(ENTRY);
  bytes.writeUInt16BE(tag, 0);
  bytes.writeUInt16BE(type, 2);
  bytes.writeUInt32BE(count, 4);
  if (value && value.length <= 4) bytes.set(value, 8);
  else bytes.writeUInt32BE(at, 8);
  return bytes;
}

function folder(entries: readonly Buffer[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeUInt16BE(entries.length);
  // Four bytes of zero: there is no next one.
  return Buffer.concat([count, ...entries, Buffer.alloc(4)]);
}

export function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

export function isWebp(bytes: Uint8Array): boolean {
  const text = bufferOf(bytes).toString('latin1', 0, 12);
  return text.startsWith('RIFF') && text.endsWith('WEBP');
}

/** The chunks of a WebP file. */
function* chunksOf(bytes: Buffer): Generator<{ type: string; at: number; data: Buffer }> {
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4);
    if (at + 8 + length > bytes.length) return;
    yield { type: bytes.toString('latin1', at, at + 4), at, data: bytes.subarray(at + 8, at + 8 + length) };
    // They begin at even places.
    at += 8 + length + (length % 2);
  }
}

function chunk(type: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, 'latin1');
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
}

function intoWebp(bytes: Buffer, exif: Buffer): Buffer {
  const [first] = chunksOf(bytes);
  let rest = bytes.subarray(12);
  let header: Buffer;
  if (first.type === 'VP8X') {
    header = Buffer.from(first.data);
    rest = bytes.subarray(first.at + 8 + first.data.length);
  } else {
    header = Buffer.alloc(10);
    const { width, height } = sizeOf(first);
    header.writeUIntLE(width - 1, 4, 3);
    header.writeUIntLE(height - 1, 7, 3);
  }
  header[0] |= HAS_EXIF;
  const body = Buffer.concat([Buffer.from('WEBP', 'latin1'), chunk('VP8X', header), rest, chunk('EXIF', exif)]);
  return chunk('RIFF', body);
}

/** Of a picture whose file has no extended header; both kinds without transparency. RFC 6386, 9.1; WebP Lossless, 3. */
function sizeOf({ type, data }: { type: string; data: Buffer }): { width: number; height: number } {
  if (type === 'VP8L') {
    const bits = data.readUInt32LE(1);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { width: data.readUInt16LE(6) & 0x3fff, height: data.readUInt16LE(8) & 0x3fff };
}

/** What a JPEG or WebP file says of itself; nothing where it has no EXIF, or damaged one. */
export function readExif(file: Uint8Array): Exif {
  const bytes = bufferOf(file);
  const found = isWebp(bytes) ? exifOfWebp(bytes) : isJpeg(bytes) ? exifOfJpeg(bytes) : undefined;
  if (!found) return {};
  const marked = found.subarray(0, MARK.length).equals(MARK);
  try {
    return readTiff(marked ? found.subarray(MARK.length) : found);
  } catch {
    return {};
  }
}

function exifOfWebp(bytes: Buffer): Buffer | undefined {
  for (const { type, data } of chunksOf(bytes)) if (type === 'EXIF') return data;
  return undefined;
}

function exifOfJpeg(bytes: Buffer): Buffer | undefined {
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const [kind, length] = [bytes[at + 1], bytes.readUInt16BE(at + 2)];
    // What follows is the picture itself.
    if (kind === 0xda || length < 2) return undefined;
    const data = bytes.subarray(at + 4, at + 2 + length);
    if (kind === 0xe1 && data.subarray(0, MARK.length).equals(MARK)) return data;
    at += 2 + length;
  }
  return undefined;
}

/** @throws RangeError for what lies outside of it */
function readTiff(tiff: Buffer): Exif {
  const little = tiff.toString('latin1', 0, 2) === 'II';
  const short = (at: number) => (little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const long = (at: number) => (little ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at));
  /** Where a tag's value lies in a folder, and how many bytes it has. */
  const find = (at: number, tag: number): { at: number; count: number } | undefined => {
    for (let i = 0; i < short(at); i++) {
      const own = at + 2 + ENTRY * i;
      if (short(own) !== tag) continue;
      const count = long(own + 4);
      // Both of the texts have values of a byte each.
      return { at: count <= 4 ? own + 8 : long(own + 8), count };
    }
    return undefined;
  };
  const bytesAt = (where: ReturnType<typeof find>) => where && tiff.subarray(where.at, where.at + where.count);
  const first = long(4);
  const pointer = find(first, EXIF_IFD);
  const description = bytesAt(find(first, DESCRIPTION))?.toString('utf8').replace(/\0+$/, '');
  const comment = pointer && bytesAt(find(long(pointer.at), USER_COMMENT));
  return {
    ...(description === undefined ? {} : { description }),
    ...(comment === undefined ? {} : { comment: commentOf(comment) }),
  };
}

/** The text behind its character code. */
function commentOf(bytes: Buffer): string {
  const code = bytes.toString('latin1', 0, 8).replace(/\0+$/, '');
  const text = bytes.subarray(8);
  if (code !== 'UNICODE') return text.toString('utf8').replace(/\0+$/, '');
  const even = text.subarray(0, text.length - (text.length % 2));
  // Writers do not agree on the order of bytes: in most texts nearly all upper ones are zero.
  const zeros = [0, 0];
  for (const [i, byte] of even.entries()) if (byte === 0) zeros[i % 2]++;
  const words = zeros[0] >= zeros[1] ? Buffer.from(even).swap16() : even;
  return words.toString('utf16le').replace(/\0+$/, '');
}
