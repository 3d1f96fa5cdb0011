// A run and the request that asked for it: it goes on for as long as somebody is there to be told.
import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import { type Env, full, refuse, unavailable } from './answers.js';
import { Unavailable } from './engine.js';
import type { Job } from './messages.js';
import { type Letter, Outbox } from './outbox.js';
import { type Drawer, Full, Refused, type RunEvent, type Runs } from './runs.js';

export interface FollowOptions {
  queue: Runs;
  /** Characters of events that may wait for the reader. */
  backlog: number;
  keep: Keep;
}

/**
 * Keeps the connection of a request, however many others there are, until what it returns is called; `waiting` counts
 * the characters that are to be written after that.
 */
export type Keep = (request: IncomingMessage, waiting: () => number) => () => void;

/** What a request follows. */
export interface Followed {
  /** Its events, written by `write`. */
  outbox: Outbox;
  /** Nobody listens any more: the run ends. */
  leave(): void;
}

/**
 * Enters a run for a request.
 *
 * @param write what the reader is sent for an event; nothing for those that are not its business
 * @param user whom the client asks for
 * @returns the answer instead, where the run cannot be entered
 */
export async function follow(
  { queue, backlog, keep }: FollowOptions,
  c: Context<Env>,
  engine: Drawer,
  job: Job,
  write: (event: RunEvent) => string | undefined,
  user?: string,
): Promise<Followed | Response> {
  const outbox = new Outbox(backlog);
  const { signal } = c.req.raw;
  // Until the run is over: what is then left to read is the reader's affair.
  const release = keep(c.env.incoming, () => outbox.size);
  // A reader that goes away frees its place.
  const leave = (): void => {
    outbox.end();
    queue.cancel(id);
  };
  const tell = (event: RunEvent): void => {
    const data = write(event);
    if (data !== undefined) outbox.push({ event: event.event, data });
    if (event.event !== 'done' && event.event !== 'cancelled' && event.event !== 'failed') return;
    outbox.end();
    release();
    signal.removeEventListener('abort', leave);
  };
  let id: string;
  try {
    id = await queue.enter(engine, job, { id: c.get('client'), user }, tell, signal, c.get('request'));
  } catch (error) {
    release();
    if (error instanceof Refused) return refuse(c, 400, error.message, paramOf(error.message));
    if (error instanceof Unavailable) return unavailable(c, error.message, error.retryAfter);
    if (!(error instanceof Full)) throw error;
    return full(c, error.message, error.retryAfter);
  }
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  return { outbox, leave };
}

/** The field that a sentence is about: all of them say it in one way. */
export function paramOf(sentence: string): { param?: string } {
  const param = /^(?:Expected .*? for|There is no setting) '?([A-Za-z]\w*)'?(?: but received| with |[,;]|$)/.exec(
    sentence,
  )?.[1];
  return param === undefined ? {} : { param };
}

/** Seconds between signs of life on a stream where nothing happens. */
const PULSE = 10;

/** A run's events as they come, as server-sent ones: `send` writes one. */
export function streamOf(
  c: Context<Env>,
  { outbox, leave }: Followed,
  send: (stream: SSEStreamingApi, letter: Letter) => Promise<void>,
): Response {
  return streamSSE(c, async (stream) => {
    stream.onAbort(leave);
    while (!stream.aborted) {
      const letter = await outbox.next(PULSE * 1000);
      if (letter === null) break;
      // Waits for a slow reader; one that takes nothing is cut off by the socket's timeout.
      if (letter) await send(stream, letter);
      else await stream.write(':\n\n');
    }
  });
}

/** The last event of a run that is told as a whole. */
export async function lastOf(c: Context<Env>, { outbox }: Followed): Promise<Letter | undefined> {
  // Nothing is sent meanwhile, which must not be taken for a connection that nobody is at.
  const { socket } = c.env.incoming;
  const idle = socket.timeout ?? 0;
  socket.setTimeout(0);
  socket.setKeepAlive(true, PULSE * 1000);
  let last: Letter | undefined;
  try {
    for (;;) {
      const letter = await outbox.next(PULSE * 1000);
      if (letter === null) return last;
      if (letter) last = letter;
    }
  } finally {
    socket.setTimeout(idle);
  }
}

/** A run that came to nothing: it would again, unless the server has itself been disturbed. */
export function failed(c: Context<Env>, last: Letter | undefined): Response {
  const { error, refused } = (
    last?.event === 'failed' ? JSON.parse(last.data) : { error: 'The run was cancelled' }
  ) as { error: string; refused?: boolean };
  if (refused) return refuse(c, 400, error, paramOf(error));
  if (/shutting down|ended unexpectedly/.test(error)) return unavailable(c, error, 5);
  c.header('x-should-retry', 'false');
  return refuse(c, 500, error);
}
