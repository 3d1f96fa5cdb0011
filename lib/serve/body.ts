// Bodies of requests.

/** What requests have is flat; JSON that nests deep takes many times as long to read as it does to send. */
const DEEPEST = 8;

/**
 * What a body in JSON holds.
 *
 * @throws Error for one that is none, or that nests deep
 */
export function parseBody(text: string): unknown {
  if (nestsDeeper(text, DEEPEST)) throw new SyntaxError('Expected JSON that nests less deep');
  return JSON.parse(text);
}

/** Are more than `most` brackets open anywhere in it? Those in strings do not count: a prompt may have them. */
function nestsDeeper(text: string, most: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x5b || c === 0x7b) {
      if (++depth > most) return true;
    } else if (c === 0x5d || c === 0x7d) depth--;
  }
  return false;
}
