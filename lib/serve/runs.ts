// What the interfaces know of whoever makes runs, this machine's queue or one that many machines share, and what both do alike.
import { randomInt } from 'node:crypto';
import { asksTwice } from '../pipelines/guidance.js';
import type { Loading } from './engine.js';
import { areaOf, type Limits, tooManyPixels } from './limits.js';
import type { Done, Job, Model, Step } from './messages.js';
import type { Outcome } from './observe.js';
import type { Settings } from './settings.js';
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
  /** Samples that a network call of it may have now; 0 before a call, and of other machines. */
  readonly batch: number;
  /** Why it cannot, where it is not being loaded. */
  readonly absent?: string;
  readonly loading: Loading | undefined;
  /** Whole seconds until it is worth asking again, at least 1. */
  readonly readyIn: number;
}

/** What a run tells those who listen, by the names of the events. */
export type RunEvent =
  /** `seconds`: until it begins, as far as can be said. */
  | { event: 'queued'; data: { id: string; ahead: number; seconds?: number } }
  | { event: 'loading'; data: { id: string; model: string; done: number; of: number } }
  | { event: 'started'; data: { id: string; seeds: number[]; settings: Settings } }
  | { event: 'step'; data: Step }
  | { event: 'done'; data: Done }
  | { event: 'cancelled'; data: { ms: number } }
  /** `refused`: what was asked for is wrong, which is found out late where a model had to be loaded first. */
  | { event: 'failed'; data: { error: string; refused?: true } };

/** What tells of a run's result, or the way to it, and not of how long it will take. */
export function isNews({ event }: RunEvent): boolean {
  return event !== 'queued' && event !== 'loading' && event !== 'started';
}

/** What a run comes to. */
export type Ending = RunEvent & { event: 'done' | 'cancelled' | 'failed' };

/** The same for who observes. */
export function outcomeOf({ event, data }: Ending): Outcome {
  return {
    outcome: event,
    ...(event === 'failed' ? { error: data.error } : {}),
    ...(event === 'done' ? { done: data } : {}),
  };
}

/** The seed of a run, any where nobody says which, and those of its pictures. */
export function seedsOf({ seed: said, count }: Settings): { seed: number; seeds: number[] } {
  const seed = said ?? randomInt(2 ** 32 - count);
  return { seed, seeds: Array.from({ length: count }, (_, i) => seed + i) };
}

/** There is no place: in the queue, or for one client in it. */
export class Full extends Error {
  override name = 'Full';
  constructor(
    places: string,
    /** Seconds after which one will be free, as far as can be said. */
    readonly retryAfter: number,
  ) {
    super(`Expected a place in the queue but ${places}; try again in ${retryAfter} s`);
  }
}

export class Refused extends Error {
  override name = 'Refused';
}

/** Samples that an evaluation of a run has. */
export function rowsOf({ count, guidance, guidanceVariant }: Settings, model: Model): number {
  return count * (asksTwice(guidance ?? model.guidance, guidanceVariant) ? 2 : 1);
}

/**
 * Samples that an evaluation of a job has, and how much is to be done in all: pixels times evaluations, and pixels of pictures.
 *
 * @throws Refused where that is more than a run may have
 */
export function sizeOf(
  { settings }: Job,
  model: Model,
  limits: Limits,
): { rows: number; work: number; pictures: number } {
  const { width = model.width, height = model.height, count, steps } = settings;
  const tooMany = tooManyPixels({ width, height }, count, { ...limits, area: areaOf(limits, model) });
  if (tooMany !== undefined) throw new Refused(tooMany);
  const rows = rowsOf(settings, model);
  return { rows, work: width * height * rows * steps, pictures: width * height * count };
}

/** @throws Full where a client has as many of the places as one may have; `holders` have one each */
export function checkShare(
  holders: readonly Client[],
  client: Client,
  { waiting, perClient = Math.max(1, Math.ceil((waiting + 1) / 2)) }: Limits,
  freeIn: () => number,
): void {
  if (holders.filter(({ id }) => id === client.id).length < perClient) return;
  throw new Full(`this client has the ${perClient} that one may have`, freeIn());
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
