// What the interfaces know of whoever makes runs: this machine's queue, or one that many machines share.
import type { Loading } from './engine.js';
import type { Job, Model } from './messages.js';
import type { RunEvent } from './queue.js';
import type { Client } from './turns.js';

/** What is known of a model that is served. */
export interface Drawer {
  readonly name: string;
  /** What is known of it; undefined while nothing is. */
  readonly about: Model | undefined;
  /** The same while it is in memory, here or on another machine. */
  readonly model: Model | undefined;
  /** Is it to be loaded when somebody asks for it? */
  readonly released: boolean;
  /** What it takes of this machine's. */
  readonly memory: { readonly bytes: number };
  /** Why it cannot, where it is not being loaded. */
  readonly absent?: string;
  readonly loading: Loading | undefined;
  /** Whole seconds until it is worth asking again, at least 1. */
  readonly readyIn: number;
}

/** Takes runs, and tells what happens to them. */
export interface Runs {
  /** Are runs taken? */
  readonly open: boolean;
  readonly state: { running: number; waiting: number };
  /**
   * Takes a place and checks what is asked for against the model.
   *
   * @param tell told all that happens to the run, from `queued` on
   * @returns the run's id
   * @throws Full; Refused for what is wrong with the job; Unavailable
   */
  enter(
    drawer: Drawer,
    job: Job,
    client: Client,
    tell: (event: RunEvent) => void,
    signal: AbortSignal,
    request?: string,
  ): Promise<string>;
  /** Ends a run, or takes it out of the queue. False where there is none of this id. */
  cancel(id: string): boolean;
  /** Takes no new runs, and waits for those that are here, for `ms` at most. */
  drain(ms: number): Promise<void>;
  /** Tells everybody that it is over. */
  close(): void;
}
