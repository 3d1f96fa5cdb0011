// A Hugging Face hub, or one that answers as it does: what a repository has, and the bytes of its files.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, rmSync, statSync } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { bytes as amount } from '../base/text.js';
import { type Access, ask, PATIENCE, type Patience, persist, Retry, refuse, several, type Wanted } from './http.js';

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
  /** By their paths; undefined where only {@link describe} tells what is in one. */
  readonly files: ReadonlyMap<string, HubFile | undefined>;
}

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
    ask(access, path, { silence: patience.silence }, async (response, heard) => {
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
  const files = new Map<string, HubFile | undefined>();
  for (const one of siblings as (Record<string, unknown> | null)[]) {
    const { rfilename: name, size, blobId, lfs } = one ?? {};
    const { sha256, size: whole } = (lfs ?? {}) as { sha256?: unknown; size?: unknown };
    if (typeof name !== 'string' || !isBelow(name)) throw wrong('names of files below it');
    files.set(name, fileOf(name, whole ?? size, sha256 ?? blobId));
  }
  return { id, commit: sha, files };
}

/** A file whose checksum says by its length of which kind it is; undefined for what is none. */
function fileOf(path: string, size: unknown, hex: unknown): HubFile | undefined {
  if (!(Number.isSafeInteger(size) && (size as number) >= 0)) return undefined;
  if (typeof hex !== 'string' || !/^(?:[\da-f]{40}|[\da-f]{64})$/.test(hex)) return undefined;
  return { path, size: size as number, hash: { kind: hex.length === 64 ? 'sha256' : 'git', hex } };
}

/**
 * Files of a repository, of which those that stand in for a hub may have told the names alone.
 *
 * @throws as {@link listRepository}; Error for a file that has no checksum
 */
export function describe(listing: Listing, paths: readonly string[], access: Access): Promise<HubFile[]> {
  const { id, commit, files } = listing;
  return several(paths, access, async (path, access) => {
    const known = files.get(path);
    if (known) return known;
    const head = await persist(access, PATIENCE, () =>
      headOf(pathOf(listing, path), { id, revision: commit, path }, access),
    );
    // Of large files what they are where the hub redirects to.
    const etag = (head.get('x-linked-etag') ?? head.get('etag'))?.replace(/^W\/|"/g, '');
    const file = fileOf(path, Number(head.get('x-linked-size') ?? head.get('content-length') ?? Number.NaN), etag);
    if (!file)
      throw new Error(
        `Expected size and checksum of ${path} in what ${access.endpoint} says of ${id}; is that a Hugging Face hub?`,
      );
    return file;
  });
}

/** What is said of a file, without going where the hub redirects to, unless to itself. */
async function headOf(path: string, wanted: Wanted, access: Access, redirects = 5): Promise<Headers> {
  const init = {
    method: 'HEAD',
    redirect: 'manual',
    headers: { 'Accept-Encoding': 'identity' },
    ...{ silence: PATIENCE.silence },
  } as const;
  return ask(access, path, init, async (response) => {
    const { status, headers } = response;
    if (status < 300 || status >= 400) return response.ok ? headers : refuse(response, wanted, access);
    const { origin, pathname, search } = new URL(headers.get('location') ?? '', response.url);
    if (headers.has('x-linked-etag') || origin !== new URL(access.endpoint).origin || redirects === 0) return headers;
    const base = new URL(access.endpoint).pathname.replace(/\/$/, '');
    return headOf(`${pathname.slice(base.length)}${search}`, wanted, access, redirects - 1);
  });
}

function pathOf({ id, commit }: Listing, file: string): string {
  return `/${id}/resolve/${commit}/${file.split('/').map(encodeURIComponent).join('/')}`;
}

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
  listing: Listing,
  file: HubFile,
  part: string,
  access: Access,
  tell: (bytes: number) => void,
): Promise<void> {
  const { id, commit } = listing;
  const path = pathOf(listing, file.path);
  for (let attempt = 0; ; attempt++) {
    await persist(
      access,
      PATIENCE,
      () => fetchRest(path, { id, revision: commit, path: file.path }, file, part, access, tell),
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

/** Bytes of a file; 0 where there is none. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

async function fetchRest(
  path: string,
  wanted: Wanted,
  file: HubFile,
  part: string,
  access: Access,
  tell: (bytes: number) => void,
): Promise<void> {
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
  await ask(access, path, { headers, silence: PATIENCE.silence }, async (response, heard) => {
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
