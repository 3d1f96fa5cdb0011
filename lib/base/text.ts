// Words of messages: what was meant by what was typed, and the gist of what others say.

/** The candidate that `word` is most likely a misspelling of; none if all are too different. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A third of the letters may be wrong: 'stesp' finds 'steps', 'x' finds nothing.
  let least = Math.floor(word.length / 3) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      best = candidate;
      least = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length];
}

/** Text without what a terminal would obey: control characters as JSON escapes them, but for line breaks and tabs. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => (c === '\n' || c === '\t' ? c : escaped(c)));
}

/** A UTF-16 unit as JSON escapes it. */
export function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The first line of another program's message, without its full stop. */
export function firstLine(message: unknown): string {
  return String(message).trim().split('\n', 1)[0].replace(/\.$/, '');
}

/**
 * Why a package that only some have could not be loaded, and what to do about that.
 *
 * @param what is done with it, as the beginning of a sentence
 * @param install all that is to be installed for that
 */
export function whyNotLoaded(name: string, what: string, cause: NodeJS.ErrnoException, install = name): string {
  // Only the package itself: a file missing inside it is a broken installation, and the message then says which.
  if (cause.code === 'ERR_MODULE_NOT_FOUND' && cause.message.includes(`'${name}'`)) {
    return `${what} needs the package ${name}, which is not installed: npm install ${install}`;
  }
  return `${name} is installed but could not be loaded: ${firstLine(cause.message)}`;
}

/** A number of bytes as people read it: `'3.4 GB'`, in powers of ten as disks and downloads are counted. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} bytes`;
  const power = Math.min(4, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${['', 'kB', 'MB', 'GB', 'TB'][power]}`;
}
