// Runs in the order they came, one at a time, each for as long as somebody listens.
import { randomBytes, randomInt } from 'node:crypto';
import { type Engine, Unavailable } from './engine.js';
import type { Limits } from './limits.js';
import type { Done, Step } from './messages.js';
import type { Settings } from './settings.js';

/** What a run tells those who listen, by the names of the events. */
export type RunEvent =
  | { event: 'queued'; data: { id: string; ahead: number } }
  | { event: 'started'; data: { id: string; seeds: number[]; settings: Settings } }
  | { event: 'step'; data: Step }
  | { event: 'done'; data: Done }
  | { event: 'cancelled'; data: { ms: number } }
  | { event: 'failed'; data: { error: string } };

export class Full extends Error {
  override name = 'Full';
  constructor(
    readonly waiting: number,
    /** Seconds after which it is worth trying again. */
    readonly retryAfter: number,
  ) {
    super(`Expected a place in the queue but all ${waiting} are taken; try again in ${retryAfter} s`);
  }
}

export class Refused extends Error {
  override name = 'Refused';
}

interface Entry {
  id: string;
  settings: Settings;
  tell: (event: RunEvent) => void;
  cancelled: boolean;
  /** How many were ahead when this was last told. */
  ahead: number;
}

/** Seconds that a network call may go on after a run's time is up before the process is ended. */
const GRACE = 10;

export class Queue {
  readonly #engine: Engine;
  readonly #limits: Limits;
  readonly #waiting: Entry[] = [];
  #running: Entry | undefined;
  #checking = 0;
  /** Seconds that runs took, smoothed. */
  #usual = 5;
  #closed = false;

  constructor(engine: Engine, limits: Limits) {
    this.#engine = engine;
    this.#limits = limits;
  }

  get state(): { running: number; waiting: number } {
    return { running: this.#running ? 1 : 0, waiting: this.#waiting.length + this.#checking };
  }

  /**
   * Takes a place and checks the settings against the model.
   *
   * @param tell told all that happens to the run, from `queued` on
   * @returns the run's id
   * @throws Full; Refused for what is wrong with the settings; Unavailable
   */
  async enter(settings: Settings, tell: (event: RunEvent) => void, signal: AbortSignal): Promise<string> {
    const { waiting, pixels, seconds } = this.#limits;
    if (this.#closed) throw new Unavailable('The server is shutting down');
    const model = this.#engine.model;
    if (!model) throw new Unavailable('The model is being loaded');
    const { width = model.width, height = model.height, count } = settings;
    if (width * height * count > pixels) {
      throw new Refused(
        `Expected at most ${pixels} pixels in all pictures of a run but received ${width} x ${height} x ${count}`,
      );
    }
    // The one that is being made has a place of its own.
    const taken = this.#waiting.length + this.#checking + (this.#running ? 1 : 0);
    if (taken > waiting) throw new Full(waiting, Math.ceil(Math.min(seconds, Math.max(1, this.#usual))));
    const id = randomBytes(16).toString('hex');
    this.#checking++;
    let error: string | undefined;
    try {
      error = await this.#engine.check(id, settings);
    } finally {
      this.#checking--;
    }
    if (error !== undefined) throw new Refused(error);
    if (signal.aborted || this.#closed) throw new Unavailable('The server is shutting down');
    this.#waiting.push({ id, settings, tell, cancelled: false, ahead: -1 });
    this.#advance();
    return id;
  }

  /** Ends a run, or takes it out of the queue. False where there is none of this id. */
  cancel(id: string): boolean {
    const at = this.#waiting.findIndex((entry) => entry.id === id);
    if (at >= 0) {
      const [entry] = this.#waiting.splice(at, 1);
      entry.tell({ event: 'cancelled', data: { ms: 0 } });
      this.#tellPlaces();
      return true;
    }
    if (this.#running?.id !== id) return false;
    this.#running.cancelled = true;
    this.#engine.cancel(id);
    return true;
  }

  /** Tells everybody that it is over. */
  close(): void {
    this.#closed = true;
    for (const { tell } of [...this.#waiting.splice(0), ...(this.#running ? [this.#running] : [])]) {
      tell({ event: 'failed', data: { error: 'The server is shutting down' } });
    }
  }

  #tellPlaces(): void {
    const before = this.#running ? 1 : 0;
    for (const [i, entry] of this.#waiting.entries()) {
      if (entry.ahead === i + before) continue;
      entry.ahead = i + before;
      entry.tell({ event: 'queued', data: { id: entry.id, ahead: entry.ahead } });
    }
  }

  #advance(): void {
    this.#tellPlaces();
    if (this.#running || this.#closed) return;
    const entry = this.#waiting.shift();
    if (!entry) return;
    this.#running = entry;
    this.#make(entry).finally(() => {
      this.#running = undefined;
      this.#advance();
    });
    this.#tellPlaces();
  }

  async #make(entry: Entry): Promise<void> {
    const { id, settings, tell } = entry;
    const { seconds, steps } = this.#limits;
    const started = performance.now();
    const seed = settings.seed ?? randomInt(2 ** 32 - settings.count);
    const seeds = Array.from({ length: settings.count }, (_, i) => seed + i);
    tell({ event: 'started', data: { id, seeds, settings: { ...settings, seed } } });
    let late = false;
    let grace: NodeJS.Timeout | undefined;
    const limit = setTimeout(() => {
      late = true;
      this.#engine.cancel(id);
      grace = setTimeout(() => this.#engine.kill(), GRACE * 1000);
    }, seconds * 1000);
    const outcome = await this.#engine.run(id, settings, seed, steps, {
      step: (data) => {
        if (!entry.cancelled && !late) tell({ event: 'step', data });
      },
    });
    clearTimeout(limit);
    clearTimeout(grace);
    const ms = performance.now() - started;
    if (outcome.type !== 'cancelled') this.#usual += (ms / 1000 - this.#usual) / 4;
    if (this.#closed) return;
    if (late) tell({ event: 'failed', data: { error: `The run took longer than the ${seconds} s that it may` } });
    else if (entry.cancelled) tell({ event: 'cancelled', data: { ms } });
    else if (outcome.type === 'done') tell({ event: 'done', data: outcome.data });
    else if (outcome.type === 'failed') tell({ event: 'failed', data: { error: outcome.error } });
    else tell({ event: 'cancelled', data: { ms } });
  }
}
