// How many pixels a cell of the terminal has, which only the terminal knows.
import type { WriteStream } from 'node:tty';

/** Pixels of a cell. */
export interface Cell {
  readonly width: number;
  readonly height: number;
}

/** What is typed on, as far as it is needed. */
export interface Keyboard extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  readonly isRaw?: boolean;
  setRawMode?(raw: boolean): unknown;
}

/** Over a slow line an answer takes its time; nothing is drawn until it is there. */
const PATIENCE = 300;
/** XTWINOPS 16: `CSI 6 ; height ; width t`. DA1, which every terminal answers, ends the wait where the first is not known. */
const QUESTION = '\x1b[16t\x1b[c';
// biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal answers begins with ESC
const [SIZE, ATTRIBUTES] = [/\x1b\[6;(\d{1,4});(\d{1,4})t/, /\x1b\[\?[\d;]*c/];

/**
 * Asks the terminal for the size of a cell; undefined where it does not say. What is typed meanwhile is lost but for Ctrl-C, which
 * reaches the process as ever.
 */
export async function askCell(keyboard: Keyboard, screen: Pick<WriteStream, 'write'>): Promise<Cell | undefined> {
  // Without a keyboard there is nobody to hear the answer, and somebody else may be reading.
  if (!keyboard.isTTY || !keyboard.setRawMode || keyboard.isRaw) return undefined;
  if (keyboard.listenerCount('data') + keyboard.listenerCount('readable') > 0) return undefined;
  let heard = '';
  let done: () => void;
  const answered = new Promise<void>((resolve) => {
    done = resolve;
  });
  const listen = (chunk: Buffer | string) => {
    heard += chunk;
    if (ATTRIBUTES.test(heard) || heard.includes('\x03')) done();
  };
  const timer = setTimeout(() => done(), PATIENCE);
  // So that the answer is not shown, and comes without a key.
  keyboard.setRawMode(true);
  keyboard.on('data', listen);
  try {
    screen.write(QUESTION);
    await answered;
  } finally {
    clearTimeout(timer);
    keyboard.off('data', listen);
    keyboard.setRawMode(false);
    keyboard.pause();
  }
  if (heard.includes('\x03')) process.kill(process.pid, 'SIGINT');
  const [height, width] = (SIZE.exec(heard) ?? []).slice(1).map(Number);
  return width > 0 && height > 0 ? { width, height } : undefined;
}
