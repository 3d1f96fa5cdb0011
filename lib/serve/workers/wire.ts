// What front ends and workers agree on: names in Redis, times, and what they tell each other.
import { createHash } from 'node:crypto';
import type { Job, Model, Uploads } from '../messages.js';
import type { RunEvent } from '../runs.js';

/**
 * Of all that stands in this file. It is part of every name in Redis, so that front ends and workers which do not
 * understand each other never meet: while a service is updated, each side goes on with its own.
 */
export const PROTOCOL = 1;

/** Of BullMQ's keys; the queue of a model has its name. */
export const PREFIX = `dpm-solver:${PROTOCOL}`;

/** Milliseconds without a sign of life after which a worker's runs are given to others. The same for all workers. */
export const LOCK = 5000;
/** Milliseconds between looks for such runs. The queue has one clock for all workers, so it must be the same, too. */
export const LOOK = 5000;
/** How often a run may be left by its worker: a machine that is taken away is not the run's fault. */
export const MOST_LEFT = 20;
/** From so many on it may be, and the run is made alone, so that it takes none along. */
export const SUSPECT_LEFT = 3;
/** How often a run may end the process that draws. */
export const MOST_LOST = 3;
/** Milliseconds between signs of life, and between looks at what may have been missed. */
export const BEAT = 1000;
/** Seconds that a sign of life of a worker is good for, and one of a front end: it may be cut off for a while. */
export const WORKER_SECONDS = 10;
export const FRONT_SECONDS = 60;
/** Seconds that what is over may be asked for. */
export const KEPT = 3600;

/** Keys and channels beside BullMQ's, none of which can be a queue's: their names have a slash. */
export const names = {
  /** A set of the ids of workers, and of each what it says of itself. */
  workers: `${PREFIX}:/workers`,
  worker: (id: string) => `${PREFIX}:/worker/${id}`,
  /** A hash: of each model what is known of it, which stays when no worker is there. */
  models: `${PREFIX}:/models`,
  /** There while a front end is. */
  front: (id: string) => `${PREFIX}:/front/${id}`,
  /** There where nobody wants the run any more. */
  cancelled: (run: string) => `${PREFIX}:/cancelled/${run}`,
  /** A hash: pictures that a run starts from. */
  inputs: (run: string) => `${PREFIX}:/inputs/${run}`,
  /** Channels: to all workers, to one, and to one front end. */
  cancel: `${PREFIX}:/cancel`,
  toWorker: (id: string) => `${PREFIX}:/to-worker/${id}`,
  toFront: (id: string) => `${PREFIX}:/to-front/${id}`,
  /** A hash in which versions of the protocol are noted, by role; the same for all of them. */
  versions: 'dpm-solver:versions',
};

/** What a run is in the queue. */
export interface Task {
  /** The front end that listens. */
  front: string;
  /** Who asks, for turns. */
  client: string;
  /** With the seed. */
  job: Omit<Job, 'uploads'>;
  /** Of whoever traces the request: `traceparent` and what else there is. */
  trace?: Record<string, string>;
  /** What there is of pictures that the run starts from, whose bytes are kept apart. */
  uploads?: Omit<Uploads, 'image' | 'mask'>;
}

/** What a run has come to. */
export interface Result {
  /** Where it is stored. */
  key: string;
}

/** What a worker says of itself. */
export interface Worker {
  id: string;
  version: string;
  /** Its models' names. */
  models: string[];
  /** Where it stores results. */
  store: string;
}

/** What is known of a model. */
export interface Known {
  model: Model;
  /** Of its files. */
  print: string;
  /** Samples of every network call, where bits are promised. */
  reproducible: number | null;
}

/** To a front end. `attempt` counts how often a run was begun. */
export type Note =
  | { type: 'event'; run: string; attempt: number; event: RunEvent & { event: 'started' | 'step' } }
  /** A run is over: its result is stored under the key, or what has become of it stands in the queue. */
  | { type: 'over'; run: string; key?: string }
  | { type: 'checked'; id: string; error?: string };

/** To a worker. */
export type Question = { type: 'check'; id: string; front: string; model: string; task: Task; seconds: number };

/** What a run fails with where nobody listens any more. */
export const CANCELLED = 'cancelled';
export const UNHEARD = 'nobody listens';

/** The name of a model's queue: BullMQ separates names by colons. */
export const queueOf = (model: string): string => encodeURIComponent(model);

/** JSON with the keys of objects in one order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

const digest = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The name of a run's result: what decides its pictures, and nothing else. */
export function keyOf({ settings, coding, uploads }: Job, made: { version: string; name: string } & Known): string {
  const { image, mask, ...how } = uploads ?? {};
  const { version, name, print, reproducible } = made;
  const pictures = [image, mask].map((bytes) => bytes && digest(bytes));
  return digest(canonical({ protocol: PROTOCOL, version, name, print, reproducible, settings, coding, how, pictures }));
}
