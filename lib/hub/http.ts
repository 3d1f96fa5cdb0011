// Requests to a hub: asked again where that may help, given up on where it falls silent, and a sentence for every other answer.
import { setTimeout as sleep } from 'node:timers/promises';

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

export const PATIENCE: Patience = { tries: 5, silence: 30_000 };
/** Milliseconds before the second try, doubled for each one after it. */
const FIRST_WAIT = 500;
/** What a hub may ask for: its limits are those of five minutes. */
const MOST_WAIT = 300;

/** What is asked for. */
export interface Wanted {
  readonly id: string;
  readonly revision: string;
  /** Of a file. */
  readonly path?: string;
}

/** Files that come at once. */
const AT_ONCE = 4;

/**
 * Does the same with several things, a few at once; the first failure ends them all.
 *
 * @param work is to ask with the access that it is given, whose signal tells of failures
 */
export async function several<T, R>(
  things: readonly T[],
  access: Access,
  work: (thing: T, access: Access) => Promise<R>,
): Promise<R[]> {
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(access.signal ? [access.signal] : [])]);
  let failure: { reason: unknown } | undefined;
  const results: R[] = [];
  const queue = things.entries();
  const worker = async () => {
    // One iterator for all of them: each takes the next.
    for (const [i, thing] of queue) {
      if (failure) return;
      try {
        results[i] = await work(thing, { ...access, signal });
      } catch (reason) {
        failure ??= { reason };
        failed.abort(reason);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (failure) throw failure.reason;
  return results;
}

/** Something that may go better the next time. */
export class Retry extends Error {
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
export async function persist<T>(
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
export async function ask<T>(
  { endpoint, token, signal }: Access,
  path: string,
  { silence, headers, ...init }: RequestInit & { silence: number },
  read: (response: Response, heard: () => void) => Promise<T>,
): Promise<T> {
  const quiet = new AbortController();
  const timer = setTimeout(() => quiet.abort(new Retry(`it said nothing for ${silence / 1000} s`)), silence);
  const authorization = token === undefined ? undefined : { Authorization: `Bearer ${token}` };
  try {
    const response = await fetch(`${endpoint}${path}`, {
      // fetch does not hand the token on to another origin, to which hubs redirect for large files.
      ...init,
      headers: { ...headers, 'User-Agent': 'dpm-solver', ...authorization },
      signal: AbortSignal.any([...(signal ? [signal] : []), quiet.signal]),
    });
    return await read(response, () => timer.refresh());
  } finally {
    clearTimeout(timer);
  }
}

/** The sentence for an answer that is none. */
export async function refuse(response: Response, { id, revision, path }: Wanted, access: Access): Promise<never> {
  await response.body?.cancel().catch(() => undefined);
  const { status, headers } = response;
  if (status === 429 || status >= 500 || status === 408) throw new Retry(`it answers ${status}`, waitOf(headers));
  const { endpoint, token } = access;
  // Where large files are, an address is good for a while only; the hub has a new one.
  const host = new URL(response.url).host;
  if (host !== new URL(endpoint).host && status !== 404) throw new Retry(`${host} answers ${status}`);
  const what = path === undefined ? id : `${path} of ${id}`;
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
  const limit = /\br=0\b.*\bt=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  const seconds = Number(headers.get('retry-after') ?? limit ?? 0);
  return seconds > 0 ? Math.min(seconds, MOST_WAIT) * 1000 : undefined;
}
