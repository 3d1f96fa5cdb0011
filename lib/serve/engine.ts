// The process that draws, seen from the server: started, asked, and started again when it ends.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { modelName } from '../hub/index.js';
import type { Done, Job, Model, Needs, Order, Place, Report, Step } from './messages.js';
import type { Observer } from './observe.js';

/** What a run may tell. */
export interface Listener {
  step(data: Step): void;
}

/** How a run ended. */
export type Outcome = { type: 'done'; data: Done } | { type: 'cancelled' } | { type: 'failed'; error: string };

/** The engine cannot draw just now. */
export class Unavailable extends Error {
  override name = 'Unavailable';
  constructor(
    message: string,
    /** Seconds after which it is worth trying again. */
    readonly retryAfter: number,
  ) {
    super(message);
  }
}

/** A process that draws, not told anything yet. */
function forkArtist(): ChildProcess {
  // The sources are run as they are in development.
  const file = import.meta.url.endsWith('.ts') ? './artist.ts' : './artist.js';
  return fork(fileURLToPath(new URL(file, import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
}

/** What a run fails with whose process has ended: no fault of its own, as far as is known. */
export const GONE = 'The process that draws has ended unexpectedly; it is being started again';

/** The longest time of a timer, in milliseconds: one that is set for longer than Node can count fires at once. */
const MOST_MS = 2 ** 31 - 1;
/** The same in whole seconds. */
export const LONGEST = Math.floor(MOST_MS / 1000);

/** Milliseconds of a timer. */
export function timeOf(seconds: number): number {
  return Math.min(seconds * 1000, MOST_MS);
}

/** Bytes of a model that have been read, of how many. */
export interface Loading {
  readonly done: number;
  readonly of: number;
}

export class Engine {
  readonly #place: Place;
  readonly #fork: () => ChildProcess;
  #child: ChildProcess | undefined;
  #model: Model | undefined;
  /** What was said of the model before it was loaded; it is known of one that is released, too. */
  #known: { model: Model; needs: Needs | undefined } | undefined;
  /** Is it not there because there was no room for it, or being loaded since somebody asks for it? */
  #away = false;
  #begun = false;
  /** Goes on with a start that has only looked at the model's files. */
  #goOn: (() => void) | undefined;
  #memory = { bytes: 0, most: 0, run: false };
  #opening: Promise<Model> | undefined;
  #loading: Loading | undefined;
  /** Told of the bytes that are read. */
  onLoading: ((loading: Loading) => void) | undefined;
  readonly #checks = new Map<string, { resolve(error: string | undefined): void; reject(error: Error): void }>();
  readonly #runs = new Map<string, { listener: Listener; cancelled: boolean; resolve(outcome: Outcome): void }>();
  #room = 0;
  #batch = 0;
  #closed = false;
  /** Starts in a row that came to nothing. */
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  /** Milliseconds that the last start took, and when the one that goes on began. */
  #took = 2000;
  #since: { at: number } | undefined;

  /** The model's name, where the server has several. */
  readonly name: string;
  readonly #observer: Observer;

  /** @param forked makes the process; for tests another one */
  constructor(
    place: Place,
    forked: () => ChildProcess = forkArtist,
    {
      name = modelName(place.folder),
      observer = {},
      onLoading,
    }: { name?: string; observer?: Observer; onLoading?: (loading: Loading) => void } = {},
  ) {
    this.#place = place;
    this.#fork = forked;
    this.name = name;
    this.#observer = observer;
    this.onLoading = onLoading;
  }

  /** How far the model is while it is being loaded. */
  get loading(): Loading | undefined {
    return this.#loading;
  }

  /** What is known of the model; undefined while it is being loaded again. */
  get model(): Model | undefined {
    return this.#model;
  }

  /** What is known of a model that runs can be asked of: loaded, or loaded when it is its turn. */
  get about(): Model | undefined {
    return this.#model ?? (this.#away ? this.#known?.model : undefined);
  }

  /** Is it to be loaded when somebody asks for it? */
  get released(): boolean {
    return this.#away && this.#opening === undefined;
  }

  /** Has it, or will it have by itself, a process? */
  get held(): boolean {
    return this.#begun && !this.released;
  }

  /** Bytes of memory that its process has and the most that it had, 0 before they are known; and has it made a run? */
  get memory(): { readonly bytes: number; readonly most: number; readonly run: boolean } {
    return this.#memory;
  }

  /** What its graphs say that it will take of the machine's memory; undefined before they were looked at, and on a card. */
  get needs(): Needs | undefined {
    return this.#known?.needs;
  }

  /** How it shares the memory where that was said. */
  get sharing(): Place['memory'] {
    return this.#place.memory;
  }

  /** Seconds until the model is likely to be loaded again, from how long it took before; in whole ones, at least 1. */
  get readyIn(): number {
    const waited = this.#since === undefined ? 0 : performance.now() - this.#since.at;
    return Math.max(1, Math.ceil((this.#took - waited) / 1000));
  }

  /** Samples that network calls of several runs have room for; 0 where one run is made after the other. */
  get room(): number {
    return this.#room;
  }

  /** Samples that a network call may have now; 0 before the first. */
  get batch(): number {
    return this.#batch;
  }

  /** Of the process that draws, for tests. @internal */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Loads the model in a process of its own. Rejects with what is wrong with it. */
  open(): Promise<Model> {
    if (this.#model) return Promise.resolve(this.#model);
    clearTimeout(this.#retry);
    const opening = this.#opening ?? this.#launch(undefined);
    if (this.#goOn) {
      // What passed while it only was looked at says nothing of loading.
      if (this.#since) this.#since.at = performance.now();
      this.#goOn();
      this.#goOn = undefined;
    }
    return opening;
  }

  /** Looks at the model's files; {@link open} goes on from there. Rejects with what is wrong with them. */
  describe(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#launch(resolve).catch(reject);
    });
  }

  /** Gives its memory back; {@link open} loads it again. Nothing may be under way. */
  async release(): Promise<void> {
    const child = this.#child;
    this.#away = true;
    clearTimeout(this.#retry);
    this.#model = undefined;
    this.#loading = undefined;
    this.#child = undefined;
    this.#opening = undefined;
    this.#goOn = undefined;
    this.#memory = { ...this.#memory, bytes: 0 };
    await ended(child);
  }

  /**
   * What is wrong with what is asked for, in one sentence; undefined where it can be run. Where that takes longer than
   * `seconds` the process is stuck in it, and is ended: there are tokenizers that some prompts keep busy for hours.
   */
  check(id: string, job: Job, seconds: number): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      if (!this.#model) return reject(new Unavailable('The model is being loaded', this.readyIn));
      const timer = setTimeout(() => {
        resolve(`Expected settings that can be checked within ${seconds} s but these took longer`);
        this.#checks.delete(id);
        this.kill();
      }, timeOf(seconds));
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          settle(value);
        };
      };
      this.#checks.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#send({ type: 'check', id, job });
    });
  }

  /** Makes the pictures. */
  run(id: string, job: Job, client: string, seed: number, maxNfe: number, listener: Listener): Promise<Outcome> {
    return new Promise((resolve) => {
      const run = { listener, cancelled: false, resolve };
      this.#runs.set(id, run);
      // Where the process has just ended, the next one takes over.
      this.open().then(
        () => {
          if (this.#runs.get(id) !== run) return;
          if (!run.cancelled) {
            this.#send({ type: 'run', id, job, client, seed, maxNfe });
            return;
          }
          this.#runs.delete(id);
          resolve({ type: 'cancelled' });
        },
        (error: Error) => {
          if (this.#runs.get(id) === run) this.#runs.delete(id);
          resolve({ type: 'failed', error: error.message });
        },
      );
    });
  }

  /** Ends a run after the network call that it is in. */
  cancel(id: string): void {
    const run = this.#runs.get(id);
    if (run) run.cancelled = true;
    this.#send({ type: 'cancel', id });
  }

  /** Ends the process in the middle of whatever it does; another one is started. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await ended(this.#child);
  }

  /** @param looked called when the model's files have been looked at, which is all that is done before `#goOn` is called */
  #launch(looked: (() => void) | undefined): Promise<Model> {
    const opening = this.#begin(looked).finally(() => {
      if (this.#opening === opening) this.#opening = undefined;
    });
    this.#opening = opening;
    return opening;
  }

  async #begin(looked: (() => void) | undefined): Promise<Model> {
    const since = { at: performance.now() };
    this.#since = since;
    this.#begun = true;
    try {
      const model = await this.#start(looked);
      this.#took = performance.now() - since.at;
      return model;
    } finally {
      if (this.#since === since) this.#since = undefined;
    }
  }

  async #start(looked: (() => void) | undefined): Promise<Model> {
    let child: ChildProcess;
    try {
      child = this.#fork();
    } catch (cause) {
      // What the system has no memory for is thrown, before it is known that this start is the one under way.
      queueMicrotask(() => this.#lost());
      throw new Error(`The process that draws could not be started: ${(cause as Error).message}`, { cause });
    }
    this.#child = child;
    return new Promise((resolve, reject) => {
      child.on('message', (report: Report) => {
        if (report.type === 'loading') {
          this.#loading = { done: report.done, of: report.of };
          this.onLoading?.(this.#loading);
        } else if (report.type === 'described') {
          this.#known = { model: report.model, needs: report.needs };
          looked?.();
        } else if (report.type === 'memory') {
          const most = Math.max(report.most, this.#memory.most);
          if (this.#child === child) this.#memory = { ...this.#memory, bytes: report.bytes, most };
        } else if (report.type === 'opened') {
          const { model } = this.#known as { model: Model };
          // One that was released meanwhile is on its way out.
          if (this.#child !== child) return;
          this.#loading = undefined;
          this.#failures = 0;
          this.#away = false;
          this.#model = model;
          resolve(model);
        } else if (report.type === 'broken') {
          reject(new Error(report.error));
          child.kill('SIGKILL');
        } else if (report.type === 'call') {
          this.#room = report.room;
          this.#batch = report.batch;
          const { samples, milliseconds } = report;
          this.#observer.called?.({ model: this.name, samples, seconds: milliseconds / 1000 });
        } else this.#hear(report);
      });
      const lost = (why: string): void => {
        reject(new Error(why));
        if (this.#child === child) this.#lost();
      };
      child.on('error', (error) => {
        // One that never began (no more processes, or files) has no exit either.
        if (child.pid === undefined) lost(`The process that draws could not be started: ${error.message}`);
      });
      child.on('exit', () => lost('The process that draws ended before the model was loaded'));
      if (looked) this.#goOn = () => this.#send({ type: 'load' });
      this.#send({ type: 'open', place: this.#place, wait: looked !== undefined });
    });
  }

  #hear(report: Exclude<Report, { type: 'described' | 'loading' | 'opened' | 'memory' | 'broken' | 'call' }>): void {
    if (report.type === 'checked') {
      this.#checks.get(report.id)?.resolve(report.error);
      this.#checks.delete(report.id);
      return;
    }
    const run = this.#runs.get(report.id);
    if (!run) return;
    if (report.type === 'step') {
      run.listener.step(report.data);
      return;
    }
    this.#runs.delete(report.id);
    if (report.type === 'done') this.#memory.run = true;
    run.resolve(report);
  }

  /** Nobody waits for an answer that will not come. */
  #lost(): void {
    const opened = this.#model !== undefined;
    if (opened && !this.#closed) this.#observer.lost?.({ model: this.name });
    this.#model = undefined;
    this.#loading = undefined;
    this.#child = undefined;
    this.#goOn = undefined;
    this.#memory = { ...this.#memory, bytes: 0 };
    // Who asks from now on gets another one, and not what has come of this.
    this.#opening = undefined;
    for (const { reject } of this.#checks.values()) reject(new Unavailable(GONE, this.readyIn));
    this.#checks.clear();
    for (const { resolve } of this.#runs.values()) resolve({ type: 'failed', error: GONE });
    this.#runs.clear();
    // The first start is the caller's to judge.
    if (this.#closed || (!opened && this.#failures === 0)) return;
    const wait = Math.min(30, 2 ** this.#failures - 1) * 1000;
    this.#failures++;
    this.#retry = setTimeout(() => this.open().catch(() => undefined), wait);
  }

  #send(order: Order): void {
    // Where the process has just ended, its exit answers.
    if (this.#child?.connected) this.#child.send(order, () => undefined);
  }
}

/** Ends a process that has not ended, and waits until it has. */
async function ended(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}
