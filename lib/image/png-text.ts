// Words in a PNG file: text (tEXt, or iTXt beyond Latin-1) beside the picture, and what others store there (tEXt, zTXt, iTXt).
// Prompts are in any script. PNG specification (third edition), 11.3.3.
import { crc32, inflateSync } from 'node:zlib';
import { bufferOf } from './image.js';

const SIGNATURE = 8;
/** Length, type and check sum of a chunk. */
const AROUND = 12;
/** Of an inflated text; what is longer is no prompt. */
const LONGEST = 2 ** 20;

/** The file with texts by keyword (1 to 79 characters of Latin-1), uncompressed, before the picture's data. */
export function withText(png: Uint8Array, texts: Readonly<Record<string, string>>): Uint8Array {
  // The header is the first chunk, of 13 bytes.
  const at = SIGNATURE + AROUND + 13;
  // More programs read the plain kind, which is Latin-1.
  const chunks = Object.entries(texts).map(([keyword, text]) =>
    /^[\n\x20-\x7e\xa0-\xff]*$/.test(text)
      ? chunk('tEXt', Buffer.from(`${keyword}\0${text}`, 'latin1'))
      : chunk('iTXt', Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')])),
  );
  return Buffer.concat([png.subarray(0, at), ...chunks, png.subarray(at)]);
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(AROUND + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** The texts of a PNG file by keyword; of several with one keyword the first. Chunks that are damaged have none. */
export function readText(png: Uint8Array): Map<string, string> {
  const bytes = bufferOf(png);
  const texts = new Map<string, string>();
  for (let at = SIGNATURE; at + AROUND <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    if (at + AROUND + length > bytes.length) break;
    const [keyword, text] = textOf(type, bytes.subarray(at + 8, at + 8 + length)) ?? [];
    if (keyword !== undefined && text !== undefined && !texts.has(keyword)) texts.set(keyword, text);
    at += AROUND + length;
  }
  return texts;
}

function textOf(type: string, data: Buffer): [keyword: string, text: string] | undefined {
  const end = data.indexOf(0);
  if (!['tEXt', 'zTXt', 'iTXt'].includes(type) || end < 1) return undefined;
  const keyword = data.toString('latin1', 0, end);
  if (type === 'tEXt') return [keyword, data.toString('latin1', end + 1)];
  try {
    if (type === 'zTXt') return [keyword, inflated(data.subarray(end + 2)).toString('latin1')];
    const language = data.indexOf(0, end + 3);
    const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
    if (translated < 0) return undefined;
    const text = data.subarray(translated + 1);
    return [keyword, (data[end + 1] === 1 ? inflated(text) : text).toString('utf8')];
  } catch {
    return undefined;
  }
}

function inflated(data: Buffer): Buffer {
  return inflateSync(data, { maxOutputLength: LONGEST });
}
