// What goes on, a line of JSON each, with the request that it belongs to. No prompts: they are their authors' affair.
import type { Logger, LoggerOptions } from 'pino';
import type { Observer } from './observe.js';
import { optional } from '../base/optional.js';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * A log on the standard error output.
 *
 * @throws Missing where pino is not there
 */
export async function openLog(level: LogLevel): Promise<Observer> {
  type Pino = ((options: LoggerOptions, stream: unknown) => Logger) & { destination(to: number): unknown };
  const pino = await optional<Pino>('pino', 'The flag --log');
  const log = pino(
    { level, base: undefined, timestamp: () => `,"time":"${new Date().toISOString()}"` },
    pino.destination(2),
  );
  return {
    request: (note) => log[note.status >= 500 ? 'error' : 'info'](note, 'request'),
    started: ({ seconds: _, ...note }) => log.info(note, 'run started'),
    ended: ({ done, ...note }) => {
      const made = done ? { pictures: done.images.length, nfe: done.nfe } : {};
      log[note.outcome === 'failed' ? 'error' : 'info']({ ...note, ...made }, `run ${note.outcome}`);
    },
    called: (note) => log.debug(note, 'network call'),
    loaded: (note) => log.info(note, 'model loaded'),
    released: (note) =>
      log.info(note, note.room === undefined ? 'model not loaded for want of room' : 'model released'),
    lost: (note) => log.error(note, 'the process that draws has ended unexpectedly'),
  };
}
