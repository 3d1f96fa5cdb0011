// What goes on in the server, told to whoever counts it or writes it down.
import type { Done } from './messages.js';

/** A run that has begun or is over. */
export interface RunNote {
  id: string;
  /** The model's name. */
  model: string;
  client: string;
  user: string | undefined;
  /** Of the request that asked for it. */
  request: string | undefined;
  /** Seconds that it waited, and that it took. */
  waited: number;
  seconds: number;
}

/** What a run has come to. */
export interface Outcome {
  outcome: 'done' | 'cancelled' | 'failed';
  error?: string;
  done?: Done;
}

export interface Observer {
  /** A request has come; `request` tells of its answer. */
  asked?(note: { id: string; method: string; path: string; headers: () => Record<string, string> }): void;
  request?(note: { id: string; method: string; path: string; status: number; ms: number; client: string }): void;
  /** What another process is to be sent, so that it tells of the same request there; nothing where nobody traces it. */
  carrier?(request: string): Record<string, string> | undefined;
  /** Another process has sent that, of a request which is known here by this name. */
  carried?(request: string, carrier: Record<string, string>): void;
  started?(note: RunNote): void;
  ended?(note: RunNote & Outcome): void;
  /** A network call. */
  called?(note: { model: string; samples: number; seconds: number }): void;
  /** The process that draws with a model has ended by itself. */
  lost?(note: { model: string }): void;
  /** A model is in memory. */
  loaded?(note: { model: string; seconds: number; bytes: number }): void;
  /** A model has given back so many bytes; for another one, or since there was no room for it to begin with. */
  released?(note: { model: string; bytes: number; room?: string }): void;
}

/** All of them are told. */
export function all(observers: readonly Observer[]): Observer {
  return {
    asked: (note) => observers.forEach((one) => void one.asked?.(note)),
    request: (note) => observers.forEach((one) => void one.request?.(note)),
    carrier: (request) => {
      const found = observers.map((one) => one.carrier?.(request)).filter((one) => one !== undefined);
      return found.length > 0 ? Object.assign({}, ...found) : undefined;
    },
    carried: (request, carrier) => observers.forEach((one) => void one.carried?.(request, carrier)),
    started: (note) => observers.forEach((one) => void one.started?.(note)),
    ended: (note) => observers.forEach((one) => void one.ended?.(note)),
    called: (note) => observers.forEach((one) => void one.called?.(note)),
    lost: (note) => observers.forEach((one) => void one.lost?.(note)),
    loaded: (note) => observers.forEach((one) => void one.loaded?.(note)),
    released: (note) => observers.forEach((one) => void one.released?.(note)),
  };
}
