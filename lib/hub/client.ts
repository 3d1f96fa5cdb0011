// A Hugging Face hub, or one that answers as it does: what a repository has, and the bytes of its files.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, rmSync, statSync } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import { bytes as amount } from '../base/text.js';

/** A file of a repository. */
export interface HubFile {
  /** Relative to the repository. */
  readonly path: string;
  readonly size: number;
  /** Of its contents: SHA-256 of those kept by git-lfs, of others git's own (SHA-1 of a head and the bytes). */
  readonly hash: { readonly kind: 'sha256' | 'git'; readonly hex: string };
}

/** A repository at one commit. */
export interface Listing {
  readonly id: string;
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
}

/** Where a hub is, and who asks. */
export interface Access {
  /** Such as `https://huggingface.co`, without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/** How long a hub is waited for. */
export interface Patience {
  /** In a row, none of which brings anything. */
  readonly tries: number;
  /** Milliseconds without a word. */
  readonly silence: number;
}

/** The hub cannot be reached; what is in the cache may do. */
export class HubUnreachable extends Error {
  override name = 'HubUnreachable';
}

/** There is no such model on the hub, or none that may be known of. */
export class HubMissing extends Error {
  override name = 'HubMissing';
}

const PATIENCE: Patience = { tries: 5, silence: 30_000 };
/** Milliseconds before the second try, doubled for each one after it. */
const FIRST_WAIT = 500;
/** What a hub may ask for: its limits are those of five minutes. */
const MOST_WAIT = 300;

/**
 * What a repository has at a revision.
 *
 * @throws Error in one sentence: no such model or revision, a token that is missing or does not do; HubUnreachable
 */
export async function listRepository(
  id: string,
  revision: string,
  access: Access,
  patience: Patience = PATIENCE,
): Promise<Listing> {
  const path = `/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const answer = await persist(access, patience, () =>
    ask(access, path, {}, patience.silence, async (response, heard) => {
      if (!response.ok) return refuse(response, { id, revision }, access);
      heard();
      return response.text();
    }),
  );
  const wrong = (what: string) =>
    new Error(`Expected ${what} in what ${access.endpoint} says of ${id}; is that a Hugging Face hub?`);
  let json: { sha?: unknown; siblings?: unknown } | null;
  try {
    json = JSON.parse(answer);
  } catch {
    throw wrong('JSON');
  }
  const { sha, siblings } = json ?? {};
  if (typeof sha !== 'string' || !/^[\da-f]{40}$/.test(sha)) throw wrong('a commit');
  if (!Array.isArray(siblings)) throw wrong('a list of files');
  const files = new Map<string, HubFile>();
  for (const one of siblings as (Record<string, unknown> | null)[]) {
    const { rfilename: name, size, blobId, lfs } = one ?? {};
    const { sha256, size: whole } = (lfs ?? {}) as { sha256?: unknown; size?: unknown };
    if (typeof name !== 'string' || !isBelow(name)) throw wrong('names of files below it');
    const hex = sha256 ?? blobId;
    const bytes = whole ?? size;
    const kind = sha256 === undefined ? 'git' : 'sha256';
    if (typeof hex !== 'string' || !HASHES[kind].test(hex)) throw wrong('a checksum of every file');
    if (!(Number.isSafeInteger(bytes) && (bytes as number) >= 0)) throw wrong('a size of every file');
    files.set(name, { path: name, size: bytes as number, hash: { kind, hex } });
  }
  return { id, commit: sha, files };
}

const HASHES = { git: /^[\da-f]{40}$/, sha256: /^[\da-f]{64}$/ };

/** Is it a path that stays below where it starts, on every system? */
export function isBelow(path: string): boolean {
  if (/[\\\0]/.test(path) || /^[A-Za-z]:/.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

/**
 * Fetches a file to `part`, and goes on with what is there of it already.
 *
 * @param tell told how many bytes there are; what it throws ends the fetching
 * @throws Error in one sentence: a wrong checksum among others, and then nothing is there any more; HubUnreachable
 */
export async function fetchFile(
  { id, commit }: Listing,
  file: HubFile,
  part: string,
  access: Access,
  tell: (bytes: number) => void,
): Promise<void> {
  const path = `/${id}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`;
  for (let attempt = 0; ; attempt++) {
    await persist(
      access,
      PATIENCE,
      () => fetchRest(path, { id, revision: commit, file }, part, access, tell),
      () => sizeOf(part),
    );
    const found = await checksum(part, file);
    if (found === file.hash.hex) return;
    // Half of one file and half of another, for instance: once more, from nothing.
    rmSync(part, { force: true });
    if (attempt > 0) {
      throw new Error(
        `Expected the checksum ${file.hash.hex} of ${file.path} of ${id} but what ${access.endpoint} sends has ${found}`,
      );
    }
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** What is asked for. */
interface Wanted {
  readonly id: string;
  readonly revision: string;
  readonly file?: HubFile;
}

async function fetchRest(
  path: string,
  wanted: Wanted & { file: HubFile },
  part: string,
  access: Access,
  tell: (bytes: number) => void,
): Promise<void> {
  const { file } = wanted;
  let have = sizeOf(part);
  if (have > file.size) {
    rmSync(part);
    have = 0;
  }
  tell(have);
  if (have === file.size && have > 0) return;
  if (file.size === 0) {
    await pipeline(Readable.from([]), createWriteStream(part));
    return;
  }
  // Compressed, a range of it would be another one.
  const headers = { 'Accept-Encoding': 'identity', ...(have > 0 ? { Range: `bytes=${have}-` } : {}) };
  await ask(access, path, headers, PATIENCE.silence, async (response, heard) => {
    if (response.status === 416) {
      rmSync(part, { force: true });
      throw new Retry('it refuses the rest of a file');
    }
    if (!response.ok || response.body === null) return refuse(response, wanted, access);
    // A server without ranges, or a proxy, sends everything again.
    const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '');
    const from = response.status === 206 ? Number(range?.[1]) : 0;
    if (from !== have && from !== 0) throw new Retry('it sends another part of a file');
    let at = from;
    const count = new Transform({
      transform(chunk: Uint8Array, _, done) {
        heard();
        at += chunk.length;
        if (at > file.size) {
          done(new Retry(`it sends more than the ${amount(file.size)} that ${file.path} has`));
          return;
        }
        try {
          tell(at);
          done(null, chunk);
        } catch (cause) {
          done(cause as Error);
        }
      },
    });
    const source = Readable.fromWeb(response.body as ReadableStream);
    await pipeline(source, count, createWriteStream(part, { flags: from === 0 ? 'w' : 'a' }));
    if (at < file.size) throw new Retry(`it sent ${amount(at)} of the ${amount(file.size)} that ${file.path} has`);
  });
}

async function checksum(path: string, { hash, size }: HubFile): Promise<string> {
  const digest = createHash(hash.kind === 'sha256' ? 'sha256' : 'sha1');
  if (hash.kind === 'git') digest.update(`blob ${size}\0`);
  await pipeline(createReadStream(path), digest);
  return digest.digest('hex');
}

/** Something that may go better the next time. */
class Retry extends Error {
  constructor(
    message: string,
    /** Milliseconds that the server asked for. */
    readonly wait?: number,
  ) {
    super(message);
  }
}

/**
 * Does something until it goes well, for as long as every few tries bring something.
 *
 * @param progress grows with what has been done
 */
async function persist<T>(
  { endpoint, signal }: Access,
  { tries }: Patience,
  work: () => Promise<T>,
  progress: () => number = () => 0,
): Promise<T> {
  let failures = 0;
  for (;;) {
    const before = progress();
    try {
      return await work();
    } catch (cause) {
      signal?.throwIfAborted();
      const reason = passing(cause);
      if (reason === undefined) throw cause;
      failures = progress() > before ? 1 : failures + 1;
      if (failures >= tries || isForGood(cause)) {
        const times = failures > 1 ? ` in ${failures} tries` : '';
        throw new HubUnreachable(`${endpoint} could not be reached${times}: ${reason}`, { cause });
      }
      const asked = cause instanceof Retry ? cause.wait : undefined;
      await sleep(asked ?? FIRST_WAIT * 2 ** (failures - 1), undefined, { signal });
    }
  }
}

/** Of a connection that broke, or never was, the reason; undefined for full disks and the like. */
function passing(cause: unknown): string | undefined {
  if (cause instanceof Retry) return cause.message;
  const { message, cause: deeper } = cause as Error;
  // fetch's words, which say nothing, around the system's.
  if (!(cause instanceof TypeError && /^(?:fetch failed|terminated)$/.test(message))) return undefined;
  if (!(deeper instanceof Error)) return message;
  // Of several addresses that were tried.
  const [first] = deeper instanceof AggregateError ? deeper.errors : [deeper];
  return (first as Error).message || message;
}

/** Certificates do not get better by themselves. */
function isForGood(cause: unknown): boolean {
  const { code } = ((cause as Error).cause ?? {}) as { code?: unknown };
  return typeof code === 'string' && /CERT|SELF_SIGNED|UNABLE_TO_|TLS/.test(code);
}

/**
 * Asks, and gives up on a server that falls silent.
 *
 * @param read takes the answer; its `heard` says that something came
 */
async function ask<T>(
  { endpoint, token, signal }: Access,
  path: string,
  headers: Readonly<Record<string, string>>,
  silence: number,
  read: (response: Response, heard: () => void) => Promise<T>,
): Promise<T> {
  const quiet = new AbortController();
  const timer = setTimeout(() => quiet.abort(new Retry(`it said nothing for ${silence / 1000} s`)), silence);
  const authorization = token === undefined ? undefined : { Authorization: `Bearer ${token}` };
  try {
    const response = await fetch(`${endpoint}${path}`, {
      // fetch does not hand the token on to another origin, to which hubs redirect for large files.
      headers: { ...headers, 'User-Agent': 'dpm-solver', ...authorization },
      signal: AbortSignal.any([...(signal ? [signal] : []), quiet.signal]),
    });
    return await read(response, () => timer.refresh());
  } finally {
    clearTimeout(timer);
  }
}

/** The sentence for an answer that is none. */
async function refuse(response: Response, { id, revision, file }: Wanted, access: Access): Promise<never> {
  await response.body?.cancel().catch(() => undefined);
  const { status, headers } = response;
  if (status === 429 || status >= 500 || status === 408) throw new Retry(`it answers ${status}`, waitOf(headers));
  const { endpoint, token } = access;
  // Where large files are, an address is good for a while only; the hub has a new one.
  const host = new URL(response.url).host;
  if (host !== new URL(endpoint).host && status !== 404) throw new Retry(`${host} answers ${status}`);
  const what = file === undefined ? id : `${file.path} of ${id}`;
  const code = headers.get('x-error-code');
  if (status === 401 || status === 403) {
    if (code === 'GatedRepo') {
      throw new Error(
        `Expected a token of somebody who has accepted the terms of ${id}, which is done at ${endpoint}/${id}, but ${token === undefined ? 'there is none: set HF_TOKEN' : 'the one that was given may not read it'}`,
      );
    }
    throw new HubMissing(
      token === undefined
        ? `There is no ${what} at ${endpoint} that may be read without a token: mind the spelling, or set HF_TOKEN`
        : `Expected a token that may read ${what} at ${endpoint} but it answers ${status}: mind the spelling, or take another token`,
    );
  }
  if (status === 404) {
    throw new HubMissing(
      code === 'RevisionNotFound'
        ? `There is no revision ${revision} of ${id} at ${endpoint}`
        : `There is no ${what} at ${endpoint}`,
    );
  }
  throw new Error(`${endpoint} answers ${status} for ${what}`);
}

/** Milliseconds that a server asks for, in either of the ways that hubs do. */
function waitOf(headers: Headers): number | undefined {
  const limit = /\bt=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  const seconds = Number(headers.get('retry-after') ?? limit ?? 0);
  return seconds > 0 ? Math.min(seconds, MOST_WAIT) * 1000 : undefined;
}
