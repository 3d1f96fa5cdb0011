// What one visitor, or many at once, can ask of the server.
import type { Image } from '../image/image.js';

export interface Limits {
  /** Bytes of a request's body. */
  body: number;
  /** Characters of a prompt. */
  prompt: number;
  /** Network evaluations for a picture; the adaptive method stops with an error there. */
  steps: number;
  /** Pictures of a run. */
  count: number;
  /** Pixels of a picture's side. */
  side: number;
  /** Pixels of a picture, where the model's own size has no more: what a network call takes of time and memory grows by them. */
  area: number;
  /** Pixels of all pictures of a run. */
  pixels: number;
  /** Bytes of memory that all models may take together; what the machine, or the container, leaves where absent. */
  memory?: number;
  /** Runs that wait, besides the one that is made. */
  waiting: number;
  /** Runs of a model that are made at once, as far as there is room for them in network calls. */
  together: number;
  /** Runs that one client may have, waiting and being made; half of all places where absent. */
  perClient?: number;
  /** Bytes of pictures that are sent with a request, and of all that are being read at once. */
  upload: number;
  uploads: number;
  /** Seconds that a run may take once it has begun. */
  seconds: number;
  /** Seconds that it may take to see whether a run can be made: one prompt must not stop the process that draws. */
  checkSeconds: number;
  /** Open connections besides those that a run is told over; the one that was of use longest ago makes room. */
  connections: number;
  /** Bytes that the clients of runs that are over, and of other answers, may leave unread in all. */
  unread: number;
  /** Seconds for a request's head, and for the whole of it. */
  headSeconds: number;
  requestSeconds: number;
  /** Seconds without a byte in either direction, after which a connection is closed. */
  idleSeconds: number;
  /** Bytes of events that a slow reader may leave unread before steps are left out. */
  backlog: number;
}

export const defaultLimits: Readonly<Limits> = {
  body: 16 * 1024,
  prompt: 1000,
  steps: 200,
  count: 16,
  side: 2048,
  area: 1024 * 1024,
  pixels: 4 * 1024 * 1024,
  waiting: 32,
  together: 64,
  upload: 16 * 1024 * 1024,
  uploads: 64 * 1024 * 1024,
  seconds: 300,
  checkSeconds: 20,
  connections: 256,
  unread: 64 * 1024 * 1024,
  headSeconds: 10,
  requestSeconds: 15,
  idleSeconds: 60,
  backlog: 4 * 1024 * 1024,
};

/** Samples of runs that go on, for each that goes into a call: the next ones are encoded when the first are over. */
export const ROOM = 2;

type Size = Pick<Image, 'width' | 'height'>;

/** The pixels that a picture of a model may have: at least as many as the model's own size. */
export function areaOf({ area }: Pick<Limits, 'area'>, model: Size): number {
  return Math.max(area, model.width * model.height);
}

/** What is wrong with pictures that have more pixels, each or in all, than those of a run may have; nothing where they have not. */
export function tooManyPixels(
  { width, height }: Size,
  count: number,
  { area, pixels }: Pick<Limits, 'area' | 'pixels'>,
): string | undefined {
  if (width * height > area) return `Expected at most ${area} pixels in a picture but received ${width} x ${height}`;
  if (width * height * count <= pixels) return undefined;
  return `Expected at most ${pixels} pixels in all pictures of a run but received ${width} x ${height} x ${count}`;
}
