// The cache that the hub's own tools share, as huggingface_hub lays it out: in models--ORG--NAME the contents of files as
// blobs/CHECKSUM, commits as snapshots/COMMIT with links to them, and what a branch or tag stands for as refs/NAME.
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, hostname } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { isBelow, sizeOf } from './client.js';

/** Variables of the surroundings, as `process.env` has them. */
type Environment = Readonly<Record<string, string | undefined>>;

/** Where the hub's tools keep what they fetch: `HF_HUB_CACHE`, or below `HF_HOME`, or the user's cache folder. */
export function cacheFolder(env: Environment = process.env): string {
  return path(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hubHome(env), 'hub'));
}

/** The token of whoever asks, from `HF_TOKEN` or where `hf auth login` keeps it. */
export function storedToken(env: Environment = process.env): string | undefined {
  const named = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN)?.trim();
  if (named) return named;
  const file = path(env.HF_TOKEN_PATH || join(hubHome(env), 'token'));
  return existsSync(file) ? readFileSync(file, 'utf8').trim() || undefined : undefined;
}

function hubHome({ HF_HOME, XDG_CACHE_HOME }: Environment): string {
  return path(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'));
}

/** With the user's folder for ~, as Python's expanduser has it. */
function path(text: string): string {
  return resolve(text.replace(/^~(?=$|[\\/])/, () => homedir()));
}

/** What there is of a repository. */
export class Store {
  readonly folder: string;

  /** @param cache the folder of all repositories */
  constructor(cache: string, id: string) {
    this.folder = join(cache, `models--${id.replace('/', '--')}`);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The folder of a branch, a tag or a commit, where there is one. */
  find(revision: string): string | undefined {
    const ref = join(this.folder, 'refs', revision);
    const commit = isFile(ref) ? readFileSync(ref, 'utf8').trim() : revision;
    const folder = this.snapshot(commit);
    return isBelow(commit) && existsSync(folder) ? folder : undefined;
  }

  /** From now on a branch or tag is this commit. */
  point(revision: string, commit: string): void {
    const ref = join(this.folder, 'refs', revision);
    if (isFile(ref) && readFileSync(ref, 'utf8') === commit) return;
    mkdirSync(dirname(ref), { recursive: true });
    const own = `${ref}.${owner()}`;
    writeFileSync(own, commit);
    renameSync(own, ref);
  }

  #blob(hex: string): string {
    return join(this.folder, 'blobs', hex);
  }

  /** Are contents of this checksum there? */
  has(hex: string, size: number): boolean {
    return statSync(this.#blob(hex), { throwIfNoEntry: false })?.size === size;
  }

  /** Bytes of them that are not. */
  lacks(hex: string, size: number): number {
    if (this.has(hex, size)) return 0;
    return size - Math.max(0, ...this.#parts(hex).map((part) => Math.min(size, sizeOf(part))));
  }

  /** What there is of contents that are not whole. */
  #parts(hex: string): string[] {
    const folder = dirname(this.#blob(hex));
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).filter((name) => name.startsWith(`${hex}.`) && PART.test(name));
    return names.map((name) => join(folder, name));
  }

  /**
   * Contents of a checksum, which `fetch` brings where they are not there. Of several processes that want the same, one
   * fetches, and the others wait; what one leaves unfinished another goes on with.
   *
   * @param fetch brings the rest of a file, which may be there in part, and sees to it that it is right
   * @param tell told how many bytes there are, while another process fetches
   */
  async bring(
    { hex, size }: { hex: string; size: number },
    fetch: (part: string) => Promise<void>,
    tell: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const blob = this.#blob(hex);
    mkdirSync(dirname(blob), { recursive: true });
    const own = `${blob}.${owner()}.incomplete`;
    while (!this.has(hex, size)) {
      const parts = this.#parts(hex);
      const busy = parts.find(isBusy) ?? (fetching.has(own) ? own : undefined);
      if (busy !== undefined) {
        tell(Math.min(size, sizeOf(busy)));
        await sleep(POLL, undefined, { signal });
        continue;
      }
      fetching.add(own);
      try {
        // The longest of what others have left, unless somebody else was faster.
        const [longest] = parts.sort((a, b) => sizeOf(b) - sizeOf(a));
        if (longest === undefined) {
          writeFileSync(own, '');
          // Two that begin at the same time both step back, and one of them is the first to come again.
          if (this.#parts(hex).some((part) => part !== own && isBusy(part))) {
            rmSync(own);
            await sleep(Math.random() * POLL, undefined, { signal });
            continue;
          }
        } else if (longest !== own && !move(longest, own)) continue;
        await fetch(own);
        try {
          // Gone where somebody took it for left.
          if (!move(own, blob)) continue;
        } catch (cause) {
          // Another process was done before, and on Windows a blob that is read cannot be replaced.
          if (!this.has(hex, size)) throw cause;
          rmSync(own);
        }
        for (const part of parts) rmSync(part, { force: true });
        return;
      } finally {
        // Free for others.
        if (sizeOf(own) > 0) move(own, `${blob}.left.incomplete`);
        else rmSync(own, { force: true });
        fetching.delete(own);
      }
    }
  }

  /**
   * Puts the contents of a checksum into a snapshot, by a link where the system has them.
   *
   * @param copy a file that may be written to later
   */
  place(hex: string, target: string, copy = false): void {
    const there = lstatSync(target, { throwIfNoEntry: false });
    // What is no link was copied here, whole, or is somebody's own.
    if (there && (!there.isSymbolicLink() || existsSync(target))) return;
    if (there) rmSync(target);
    mkdirSync(dirname(target), { recursive: true });
    const blob = this.#blob(hex);
    if (!copy) {
      try {
        symlinkSync(relative(dirname(target), blob), target);
        return;
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return;
        // Windows asks for a right that few have, and some file systems have no links.
      }
    }
    const own = `${target}.${owner()}`;
    copyFileSync(blob, own);
    renameSync(own, target);
  }
}

/** What this process is fetching. */
const fetching = new Set<string>();

/** Who fetches a file stands in its name: `PROCESS-THREAD-MACHINE`, or nobody any more. */
const PART = /^[\da-f]+\.(?:(\d+)-(\d+)-([\w.-]+)|left)\.incomplete$/;
/** Milliseconds between looks at what another process fetches. */
const POLL = 250;
/** Milliseconds after which one that has not grown is nobody's. A hub may ask to wait for five minutes. */
const STALE = 600_000;

function owner(): string {
  return `${process.pid}-${threadId}-${hostname().replace(/[^\w.-]/g, '_')}`;
}

/** Is somebody at it? */
function isBusy(part: string): boolean {
  const [, pid, thread, host] = PART.exec(basename(part)) ?? [];
  if (pid === undefined) return false;
  if (`${pid}-${thread}-${host}` === owner()) return fetching.has(part);
  const { mtimeMs = 0 } = statSync(part, { throwIfNoEntry: false }) ?? {};
  if (Date.now() - mtimeMs > STALE) return false;
  // Of processes of other machines, which share the folder, nothing is known but that.
  if (!owner().endsWith(`-${host}`)) return true;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (cause) {
    // It is there, and another user's.
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Renames a file; false where it has gone. */
function move(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw cause;
  }
}

function isFile(name: string): boolean {
  return statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
}

/**
 * The name of the model in a folder: that of the repository for a snapshot in the hub's cache, whose own is a checksum, and
 * what is below it; the folder's own otherwise.
 */
export function modelName(folder: string): string {
  const parts = resolve(folder).split(/[\\/]/);
  const at = parts.findLastIndex((part, i) => /^models--[^-].*--/.test(part) && parts[i + 1] === 'snapshots');
  if (at < 0 || !/^[\da-f]{40}$/.test(parts[at + 2] ?? '')) return basename(resolve(folder));
  return [parts[at].split('--').slice(2).join('--'), ...parts.slice(at + 3)].join('/');
}
