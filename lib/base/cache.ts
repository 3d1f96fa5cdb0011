// What was found out once and is kept for other processes: JSON in the user's cache folder.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

interface Entry<T> {
  readonly when: number;
  readonly value: T;
}

/** Entries beyond this many are forgotten, the oldest first. */
const MOST = 200;

/** One file of the cache folder. What is read may be anybody's: whoever reads it has to look at it. */
export class Cache<T> {
  readonly #name: string;

  /** @param name of the file, without its ending */
  constructor(name: string) {
    this.#name = name;
  }

  /** What was kept under a key, and when, in milliseconds of `Date.now()`. */
  read(key: string): Entry<T> | undefined {
    const entry = this.#entries()[key];
    return typeof entry?.when === 'number' ? entry : undefined;
  }

  /** Keeps a value; a folder that cannot be written to costs finding it out again, and nothing else. */
  keep(key: string, value: T): void {
    try {
      const file = this.#file();
      const entries = Object.entries({ ...this.#entries(), [key]: { when: Date.now(), value } });
      entries.sort(([, a], [, b]) => (b?.when ?? 0) - (a?.when ?? 0));
      mkdirSync(dirname(file), { recursive: true });
      // Another process may be reading it.
      const own = `${file}.${process.pid}`;
      writeFileSync(own, JSON.stringify(Object.fromEntries(entries.slice(0, MOST))));
      renameSync(own, file);
    } catch {
      // Said above.
    }
  }

  #entries(): Record<string, Entry<T> | undefined> {
    try {
      const entries = JSON.parse(readFileSync(this.#file(), 'utf8'));
      return typeof entries === 'object' && entries !== null ? entries : {};
    } catch {
      // None yet, or none that can be read.
      return {};
    }
  }

  #file(): string {
    return join(cacheFolder(), 'dpm-solver', `${this.#name}.json`);
  }
}

/** Where this system keeps what can be made again. */
function cacheFolder(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (XDG_CACHE_HOME) return XDG_CACHE_HOME;
  if (process.platform === 'darwin') return join(homedir(), 'Library/Caches');
  if (process.platform === 'win32') return LOCALAPPDATA || join(homedir(), 'AppData/Local');
  return join(homedir(), '.cache');
}
