// What the server and the process that draws tell each other.
import type { Coding } from '../image/formats.js';
import type { GraphDevice } from '../onnx/graph.js';
import type { Solving, Timings } from '../pipelines/index.js';
import type { Limits } from './limits.js';
import type { Settings } from './settings.js';

/** What the page is told about the model. */
export interface Model {
  name: string;
  width: number;
  height: number;
  /** Sides of pictures are multiples of this. */
  multiple: number;
  /** The guidance scale where a run does not say. */
  guidance: number;
  /** All words of a model that knows few; null for others. */
  words: string[] | null;
}

export interface Place {
  folder: string;
  device?: 'auto' | GraphDevice;
  dtype?: 'float32' | 'float16';
  memory?: 'auto' | 'low' | 'fast';
  /** Samples of a network call, at most; measured where absent. */
  maxBatch?: number;
  /** Do pictures not depend, bit for bit, on what is made beside them? */
  reproducible?: boolean;
}

/** Pictures that a run starts from, as they were sent. */
export interface Uploads {
  /** A file. */
  image: Uint8Array;
  /** A file: what is transparent in it is made anew, or where nothing is, what is white. */
  mask?: Uint8Array;
  /** Is what is black made anew in place of what is white? */
  inverted?: boolean;
  /** How much of the image is made anew; the pipeline's own. */
  strength?: number;
  /** What the image shows: it is edited, from this prompt to that of the settings. */
  source?: string;
  /** What pictures may have: a side, each, and in all. */
  most: Pick<Limits, 'side' | 'area' | 'pixels'>;
}

/** What a run is to do. */
export interface Job {
  settings: Settings;
  uploads?: Uploads;
  coding: Coding;
  /** Predictions of every step, a pixel a latent; or at most so many, evenly spaced, as large as the results. */
  previews: 'each' | number;
}

/** To the process that draws. */
export type Order =
  /** With `wait` nothing is loaded before the order to do so. */
  | { type: 'open'; place: Place; wait: boolean }
  | { type: 'load' }
  | { type: 'check'; id: string; job: Job }
  | { type: 'run'; id: string; job: Job; client: string; seed: number; maxNfe: number }
  | { type: 'cancel'; id: string };

/** What a run tells while it goes on. */
export interface Step {
  /** Completed steps of this batch, and how many there will be (0 with the adaptive method, where nobody knows). */
  step: number;
  steps: number;
  /** Evaluations of this batch. */
  nfe: number;
  /** The schedule's time that the state has reached. */
  t: number;
  batch: number;
  batches: number;
  /** Which picture of the run is the first of this batch. */
  first: number;
  /** Since the run began. */
  ms: number;
  /** Of these pictures. */
  width: number;
  height: number;
  /** What the network takes the pictures of this batch to be: files in base64. */
  images: string[];
}

export interface Done {
  /** Files in base64. */
  images: string[];
  width: number;
  height: number;
  nfe: number;
  solver: Solving;
  /** The name of the model's table that made the steps; absent where a solver did. */
  table?: string;
  seeds: number[];
  guidance: number;
  timings: Timings;
}

/** Bytes of the machine's memory that a model takes, as far as its graphs tell: with all its networks open, and with one at a time. */
export interface Needs {
  fast: number;
  low: number;
}

/** From the process that draws. */
export type Report =
  /** Known before anything is loaded; no needs of what is a card's. */
  | { type: 'described'; model: Model; needs: Needs | undefined }
  | { type: 'loading'; done: number; of: number }
  | { type: 'opened' }
  /** Bytes that the process has now, and the most that it had. */
  | { type: 'memory'; bytes: number; most: number }
  /** A network call, how many samples the next may have, and how many there is room for in runs that go on at once. */
  | { type: 'call'; samples: number; milliseconds: number; batch: number; room: number }
  | { type: 'broken'; error: string }
  | { type: 'checked'; id: string; error?: string }
  | { type: 'step'; id: string; data: Step }
  | { type: 'done'; id: string; data: Done }
  | { type: 'cancelled'; id: string }
  | { type: 'failed'; id: string; error: string };
