// JSON as the files of models have it: Python writes NaN and Infinity as numbers, editors put a byte order mark in front,
// and what stands in a file may be anything.

/** No file of a model nests nearly as deep; code that walks through what it holds does so by recursion. */
const MOST_DEPTH = 100;

/** Strings, which are left alone, and Python's numbers that are none in JSON. */
const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\bInfinity\b|\bNaN\b/gs;
/** Stands for NaN, for which JSON has no number at all. */
const NOT_A_NUMBER = '\u0000NaN';

/**
 * The value in a text of JSON, with Python's NaN, Infinity and -Infinity as numbers. Of a key that is there twice the last
 * value counts, as in Python; every key is the object's own, whatever its name.
 *
 * @throws Error in words that go on after "could not be read as JSON: "
 */
export function parseJson(text: string): unknown {
  const plain = text.startsWith('\ufeff') ? text.slice(1) : text;
  if (isDeeper(plain, MOST_DEPTH)) throw new Error(`it nests more than ${MOST_DEPTH} deep`);
  try {
    return JSON.parse(plain);
  } catch (cause) {
    const own = plain.replace(STRING_OR_NUMBER, (found) => (found.startsWith('"') ? found : inJson(found)));
    if (own !== plain) {
      try {
        return JSON.parse(own, (_, value) => (value === NOT_A_NUMBER ? Number.NaN : value));
      } catch {
        // What is wrong, and where, is told of the text as it came.
      }
    }
    throw explained(plain) ?? cause;
  }
}

function inJson(number: string): string {
  if (number === 'NaN') return JSON.stringify(NOT_A_NUMBER);
  // Beyond the largest double.
  return number.startsWith('-') ? '-1e999' : '1e999';
}

/** The mistakes that have a name. */
function explained(text: string): Error | undefined {
  const lines = text.split('\n', 2000);
  const conflict = lines.findIndex((line) => /^(?:<{7}|>{7})(?: |\r?$)/.test(line));
  if (conflict >= 0)
    return new Error(`git's conflict marks are in it (${lines[conflict].slice(0, 7)} in line ${conflict + 1})`);
  if (text.startsWith('version https://git-lfs')) {
    return new Error('it is a git-lfs pointer, not the file itself: fetch it with git lfs pull');
  }
  return undefined;
}

/** Are more than `most` brackets open anywhere in a text of JSON? Those in strings do not count: a prompt may have them. */
export function isDeeper(text: string, most: number): boolean {
  let depth = 0;
  let inside = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inside) {
      if (code === BACKSLASH) i++;
      else if (code === QUOTE) inside = false;
    } else if (code === QUOTE) inside = true;
    else if (code === BRACE || code === BRACKET) {
      if (++depth > most) return true;
    } else if (code === BRACE_END || code === BRACKET_END) depth--;
  }
  return false;
}

const [QUOTE, BACKSLASH, BRACE, BRACE_END, BRACKET, BRACKET_END] = [...'"\\{}[]'].map((c) => c.charCodeAt(0));
