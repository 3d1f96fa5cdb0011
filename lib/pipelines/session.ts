// Pictures for many at once: calls that share the network.
import { knownOptions, wholeNumber } from '../base/check.js';
import { BatchMemory } from './batch-memory.js';
import type { Shape } from './denoiser.js';
import { denoisingBytes } from './memory.js';
import type { GenerateOptions, Generation } from './options.js';
import type { Parts } from './parts.js';
import { SharedNetwork } from './shared-network.js';

/** How calls of {@link DiffusionPipeline.session} share the network. */
export interface SessionOptions {
  /**
   * Samples of a network call, at most: a picture is one, two under classifier-free guidance. Where absent, as many as a call of
   * the pipeline makes at once, and from there on, on the CPU, as many more as there is memory for (of the machine or the
   * container, by what its graph says that a sample takes and calls were seen to take), to 64; and no more than make it
   * faster, which is measured on the way.
   */
  maxBatch?: number;
  /**
   * Fills every call up to `maxBatch` samples, whose bits depend on how many there are: a picture is then the same,
   * bit for bit, whatever is made beside it. It costs what full calls cost. Without it pictures are the same within the
   * network's rounding; false.
   */
  reproducible?: boolean;
  /** Told of every network call. */
  onCall?: (call: NetworkCall) => void;
}

/** A network call that a session has made. */
export interface NetworkCall {
  /** Samples of runs that it had. */
  samples: number;
  /** What it took. */
  milliseconds: number;
}

/** What a call of a session takes. */
export interface SessionCallOptions extends GenerateOptions {
  /** Whom it is for: clients take turns, whatever each of them asks for; all the same one where absent. */
  client?: string;
}

/**
 * Runs that share network calls. Whatever asks for an evaluation while the network is busy goes into the next call, at its own
 * time and with its own guidance, where the graph takes a time for each sample; where it takes one for all, those that are at
 * the same time share a call, and the others take turns. Pictures of different sizes take turns as well. Clients, and their
 * sizes, are served by deficit round robin; `signal` takes a run out between two evaluations.
 */
export class PipelineSession {
  readonly #parts: Parts;
  readonly #network: SharedNetwork;
  readonly #generate: (parts: Parts, options: GenerateOptions) => Promise<Generation>;

  /** @internal */
  constructor(
    parts: Parts,
    options: SessionOptions,
    generate: (parts: Parts, options: GenerateOptions) => Promise<Generation>,
  ) {
    knownOptions(options, ['maxBatch', 'reproducible', 'onCall'], 'The session');
    const { maxBatch, reproducible, onCall } = options;
    if (maxBatch !== undefined) wholeNumber(maxBatch, 'maxBatch', 1);
    this.#parts = parts;
    const { denoiser, limits, onHost } = parts;
    const memoryOf = ([, height, width]: Shape): BatchMemory =>
      new BatchMemory(denoisingBytes(denoiser.graph, height, width, 1, limits.patch));
    this.#network = new SharedNetwork(denoiser, {
      ...{ maxBatch, reproducible, onCall },
      ...(onHost ? { memoryOf } : {}),
    });
    this.#generate = generate;
  }

  /**
   * Makes pictures as calling the pipeline does, beside those of other calls.
   *
   * @throws as {@link DiffusionPipeline.generate}
   */
  generate(options: SessionCallOptions): Promise<Generation> {
    const { client = '', ...own } = options;
    return this.#generate({ ...this.#parts, shared: this.#network.for(client) }, own);
  }

  /**
   * Samples that a network call may have at present.
   *
   * @param size pixels; the model's own where absent
   */
  most(
    size: {
      /** Of a picture. */
      width?: number;
      /** Of a picture. */
      height?: number;
    } = {},
  ): number {
    const { channels, factor, size: own } = this.#parts.limits;
    const { width = own.width, height = own.height } = size;
    return this.#network.most([channels, height / factor, width / factor]);
  }
}
