// What a command is at, from its first second on: one line on a terminal, one object a line for programs.
import { Presets, SingleBar } from 'cli-progress';
import { bytes, printable } from '../base/text.js';
import type { OnProgress, StageProgress } from '../pipelines/index.js';
import { tell, warn } from './say.js';

/** Told how far a command is. */
export interface Telling {
  /** undefined: nobody looks. */
  readonly onProgress: OnProgress | undefined;
  /** Which of several runs it is at, from 0; there is only one where this was never said. */
  at(run: number, runs: number): void;
  /** Tells what went on differently than asked for. */
  warn(message: string): void;
  /** Takes the line away. */
  stop(): void;
}

type Told = Telling & { readonly onProgress: OnProgress };

/** Tells a terminal, or with `json` a program, what a command is at; neither: warnings only. */
export function telling(json: boolean): Telling {
  const told = json ? objects() : process.stderr.isTTY ? line() : undefined;
  if (!told) return { onProgress: undefined, at: () => {}, warn, stop: () => {} };
  // Where all files are there, that is not worth a word.
  const isNews = ({ stage, fetched }: StageProgress) => stage !== 'fetch' || fetched !== 0;
  return { ...told, onProgress: (progress) => isNews(progress) && told.onProgress(progress) };
}

/** On stderr, so that what is on stdout stays the one object of the result. */
function objects(): Told {
  let place = {};
  const say = (event: string, data: object) => tell(JSON.stringify({ event, ...data, ...place }));
  return {
    onProgress: (progress) => say('progress', progress),
    at: (run, runs) => {
      place = { run, runs };
    },
    warn: (message) => say('warning', { message }),
    stop: () => {},
  };
}

/** A line that says how far it is, of how much, and what that is. */
function openBar(): { show(of: number, done: number, what: string): void; stop(): void } {
  const bar = new SingleBar(
    // A Ctrl-C ends the process at once: no listeners, a cursor that was never hidden, and a terminal that breaks lines as
    // before, as those here are cut.
    {
      format: '{bar} {what}',
      gracefulExit: false,
      hideCursor: null,
      linewrap: true,
      barsize: 20,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  );
  let started = false;
  return {
    show(of, done, words) {
      // The names of files of a hub are among them.
      const what = printable(words.replace(/[\n\t]/g, ' '));
      if (!started) bar.start(of, done, { what });
      started = true;
      bar.setTotal(of);
      bar.update(done, { what });
    },
    stop() {
      if (started) bar.stop();
      started = false;
    },
  };
}

function line(): Told {
  const { show, stop } = openBar();
  let place = '';
  return {
    onProgress: (progress) => {
      // Of the adaptive method nobody knows how many steps it will take.
      show(Math.max(1, progress.of, progress.done), progress.done, `${place}${inWords(progress)}`);
    },
    at: (run, runs) => {
      place = runs > 1 ? `run ${run + 1}/${runs}: ` : '';
    },
    warn: (message) => {
      // The line begins anew below.
      stop();
      warn(message);
    },
    stop,
  };
}

/** A stage as it stands in the line. */
export function inWords({ stage, done, of, seconds, left, file }: StageProgress): string {
  const rest = left === undefined || done === of ? '' : `, ${duration(left)} left`;
  if (stage === 'fetch') return `fetching ${bytes(done)} of ${bytes(of)}${rest}: ${file}`;
  if (stage === 'load') return `loading ${bytes(done)} of ${bytes(of)}${rest}`;
  if (stage === 'encode') return `encoding ${done}/${of}${rest}`;
  if (stage === 'decode') return `decoding${of > 1 ? ` ${done}/${of}` : ''}${rest}`;
  // The first call takes the memory that the others find.
  if (done === 0) return `step 0/${of || '?'}, the first call`;
  return `step ${done}/${of || '?'}, ${duration(seconds / done)} each${rest}`;
}

/** A time to wait. */
function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A line of a work whose pieces have other names; nothing where nobody looks. */
export async function withBar<T>(
  work: (show?: (of: number, done: number, what: string) => void) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY) return work();
  const { show, stop } = openBar();
  try {
    return await work(show);
  } finally {
    stop();
  }
}
