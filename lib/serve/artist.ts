// The process that draws. A network call may block its event loop (where it has no thread of its own), so it is not the
// server's; and being a process it can be ended in the middle of one, and takes nobody along when it ends by itself.
import { resolve } from 'node:path';
import { Missing } from '../base/optional.js';
import { escaped } from '../base/text.js';
import { MOST_VOCABULARY, readJson } from '../folder/files.js';
import { type Coding, coder, encodePicture, OWN } from '../image/formats.js';
import type { Image } from '../image/image.js';
import { modelName } from '../hub/index.js';
import { loadRuntime } from '../onnx/runtime.js';
import {
  DiffusionPipeline,
  type EditOptions,
  type GenerateOptions,
  type PipelineSession,
  type Progress,
} from '../pipelines/index.js';
import { fewSteps, isFixed, namedScheduler } from '../pipelines/solvers.js';
import { areaOf, ROOM, tooManyPixels } from './limits.js';
import type { Job, Model, Order, Place, Report } from './messages.js';
import type { Settings } from './settings.js';
import { partialImages } from './partial.js';
import { readUploads, resized, sizesFor } from './uploads.js';

let pipe: DiffusionPipeline;
let session: PipelineSession;
/** Samples of a call before anything is known of how long they take. */
let usual = 1;
let folder = '';
const going = new Map<string, AbortController>();

/** Nobody is left to hear it where that fails, and what is going on is for nobody. */
const send = (report: Report): void => {
  if (process.connected) process.send!(report, undefined, undefined, (error) => error && process.exit());
};

/** An error in one line, which tells the model's name but not where it lies. */
function sentence(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0];
  return text.replaceAll(resolve(folder), modelName(folder)).replaceAll(folder, modelName(folder));
}

/** What loading waits for. */
let load: () => void = () => undefined;

async function open(place: Place, wait: boolean): Promise<void> {
  const asked = wait ? new Promise<void>((resolve) => (load = resolve)) : Promise.resolve();
  try {
    folder = place.folder;
    const { device, dtype, memory, maxBatch, reproducible } = place;
    // onnxruntime's own log would repeat at length what the error says in a sentence.
    (await loadRuntime()).env.logLevel = 'fatal';
    const onProgress = ({ done, of }: { done: number; of: number }): void => send({ type: 'loading', done, of });
    const options = { ...{ device, dtype, memory }, onProgress };
    pipe = await DiffusionPipeline.described(folder, options, async ({ defaults, needs }) => {
      const model: Model = { name: modelName(folder), ...defaults, words: readWords() };
      send({ type: 'described', model, needs });
      await asked;
    });
    session = pipe.session({ maxBatch, reproducible, onCall: tellCall });
    usual = session.most();
    tellMemory();
    send({ type: 'opened' });
    // The first run's steps would wait for it to be told.
    pipe.preparePreviews().catch(() => undefined);
  } catch (error) {
    // Whoever starts the server may know where its model lies.
    send({ type: 'broken', error: error instanceof Error ? error.message : String(error) });
  }
}

/**
 * Of every network call the server is told, and how many samples of runs there is room for. Where small calls are as fast as large
 * ones no fewer runs are let in for that: they take turns, and nobody waits for the whole of another's.
 */
function tellCall(call: { samples: number; milliseconds: number }): void {
  const batch = session.most();
  send({ type: 'call', ...call, batch, room: ROOM * Math.max(batch, usual) });
  tellMemory();
}

function tellMemory(): void {
  send({ type: 'memory', bytes: process.memoryUsage.rss(), most: 1024 * process.resourceUsage().maxRSS });
}

/** The words of a tokenizer that knows few of them. */
function readWords(): string[] | null {
  try {
    const { model } = readJson(folder, ['tokenizer/tokenizer.json'], MOST_VOCABULARY).json as {
      model?: { type?: string; vocab?: Record<string, number> };
    };
    if (model?.type !== 'WordLevel') return null;
    const words = Object.keys(model.vocab ?? {}).filter((word) => !/^[[<]/.test(word));
    return words.length <= 64 ? words : null;
  } catch {
    return null;
  }
}

/** The pipeline's options for a run. */
async function optionsOf(settings: Settings, seed: number, maxNfe: number): Promise<GenerateOptions> {
  const { prompt, negativePrompt, solver, order, steps, method, skipType, thresholding, denoiseToZero } = settings;
  const { guidance, guidanceInterval, guidanceVariant, guidanceEta, guidanceNorm, guidanceMomentum } = settings;
  const { guidanceRescale, count, width, height } = settings;
  const own = { order, method, skipType, thresholding, denoiseToZero };
  const asked = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  const most = method === 'adaptive' ? { maxNfe } : {};
  // What nobody says is the model's own: the solver and grid of its scheduler file, or a table of its folder.
  const named = solver === undefined ? {} : fewSteps(await namedScheduler(solver, pipe), steps);
  return {
    ...{ prompt, negativePrompt, steps, guidance, seed, count, width, height },
    ...{ guidanceInterval, guidanceVariant, guidanceEta, guidanceNorm, guidanceMomentum, guidanceRescale },
    scheduler: isFixed(solver) ? named.scheduler : { ...named.scheduler, ...asked, ...most },
  };
}

/**
 * An edit's options, from those of a run that starts from the picture: it goes there and back by a solver that can do both.
 */
function editOf(options: GenerateOptions, source: string): EditOptions {
  const { prompt, scheduler = {}, count = 1, width: _, height: __, ...rest } = options;
  if ('step' in scheduler) {
    throw new TypeError('Expected a solver of DPM-Solver, or ddim, for solver with source, which goes there and back');
  }
  if (count > 1) throw new RangeError(`Expected 1 for count with source but received ${count}`);
  if (source === prompt) throw new RangeError('Expected a source other than the prompt but received the same');
  const { method = 'multistep', ...choices } = scheduler;
  if (method !== 'multistep') {
    throw new TypeError(
      `Expected multistep for method with source, which goes there and back, but received '${method}'`,
    );
  }
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return { ...given, ...choices, source, target: prompt } as EditOptions;
}

/** What a job comes to: the options, with pictures in a size that the model takes. */
async function readJob({ settings, uploads, coding }: Job, seed: number, maxNfe: number): Promise<GenerateOptions> {
  const options = await optionsOf(settings, seed, maxNfe);
  await coder(coding.format);
  if (!uploads) {
    await pipe.check(options);
    return options;
  }
  const read = await readUploads(uploads);
  const most = { ...uploads.most, area: areaOf(uploads.most, pipe.defaults) };
  const sizes = sizesFor(read.image, settings, pipe.defaults, most);
  let refusal: Error | undefined;
  for (const size of sizes) {
    try {
      const tooMany = tooManyPixels(size, settings.count, most);
      if (tooMany !== undefined) throw new RangeError(tooMany);
      const made = { ...options, ...size, ...(await resized(read, size)) };
      await pipe.check(made);
      if (uploads.source !== undefined) {
        editOf(made, uploads.source);
        await pipe.check({ ...made, prompt: uploads.source });
      }
      return made;
    } catch (error) {
      if (refusal && error instanceof Missing) throw new Missing(`${refusal.message}; ${error.message}`);
      refusal = error as Error;
    }
  }
  throw refusal;
}

async function check(id: string, job: Job): Promise<void> {
  try {
    await readJob(job, job.settings.seed ?? 0, 1000);
    send({ type: 'checked', id });
  } catch (error) {
    send({ type: 'checked', id, error: sentence(error) });
  }
}

async function run(id: string, job: Job, client: string, seed: number, maxNfe: number): Promise<void> {
  const { settings, coding, previews } = job;
  const abort = new AbortController();
  going.set(id, abort);
  const started = performance.now();
  const { signal } = abort;
  try {
    const options = await readJob(job, seed, maxNfe);
    // Batches may differ in size: the first picture of each is what those before have left.
    let [first, batch, size] = [0, 0, 0];
    let told: Promise<unknown> = Promise.resolve();
    const wanted = new Wanted(previews);
    const result = { width: options.width ?? pipe.defaults.width, height: options.height ?? pipe.defaults.height };
    const onStep = (progress: Progress): void => {
      const { step, steps, nfe, t, x, preview, batch: at, batches } = progress;
      if (at !== batch) [batch, first] = [at, first + size];
      size = x.dims[0];
      if (!wanted.takes(progress)) return;
      const from = first;
      const ms = performance.now() - started;
      const pictures = previews === 'each' ? preview() : partialImages(preview, result);
      // After the step, whose time this is not; one after the other, so that they keep their order.
      told = told.then(async () => {
        const made = await pictures;
        // Without a picture there is nothing to tell: such an event is a partial image.
        if (made.length === 0 && previews !== 'each') return;
        const images = await Promise.all(made.map((image) => toBase64(image, coding)));
        const [{ width, height } = { width: 0, height: 0 }] = made;
        const data = { step, steps, nfe, t, batch: at, batches, first: from, ms, width, height, images };
        if (!signal.aborted) send({ type: 'step', id, data });
      });
      // The error comes out where it is awaited.
      told.catch(() => undefined);
    };
    const { source } = job.uploads ?? {};
    const generation =
      source === undefined
        ? await session.generate({ ...options, client, onStep, signal })
        : await pipe.edit({ ...editOf(options, source), onStep, signal });
    const { images, nfe, solver, table, seeds, guidance, timings } = generation;
    await told;
    signal.throwIfAborted();
    const { width, height } = images[0];
    const files: string[] = [];
    for (const [i, image] of images.entries()) {
      files.push(await toBase64(image, coding, { ...settings, guidance, table, seed: seeds[i], count: 1 }));
      signal.throwIfAborted();
    }
    const made = { width, height, nfe, solver, table, seeds, guidance, timings };
    send({ type: 'done', id, data: { images: files, ...made } });
  } catch (error) {
    send(signal.aborted ? { type: 'cancelled', id } : { type: 'failed', id, error: sentence(error) });
  } finally {
    going.delete(id);
    tellMemory();
  }
}

/** Which steps are shown. */
class Wanted {
  readonly #previews: Job['previews'];
  #shown = 0;
  #start: number | undefined;

  constructor(previews: Job['previews']) {
    this.#previews = previews;
  }

  /** Evenly spaced before the end: of the steps, or where nobody knows how many there will be, of time. */
  takes({ step, steps, t }: Progress): boolean {
    if (this.#previews === 'each') return true;
    const all = this.#previews + 1;
    const next = this.#shown + 1;
    if (next === all) return false;
    this.#start ??= t;
    const due = steps > 0 ? step >= Math.round((next * steps) / all) : t <= this.#start * (1 - next / all);
    // The last step's is the result.
    if (!due || step === steps) return false;
    this.#shown++;
    return true;
  }
}

const inAscii = (json: string) => json.replace(/[^\x20-\x7e]/g, escaped);

/** A file, which says what it was made from; letters beyond ASCII are escaped, so that every reader has them. */
async function toBase64(image: Image, coding: Coding, settings?: object): Promise<string> {
  const texts = settings && { [OWN]: inAscii(JSON.stringify({ model: modelName(folder), ...settings })) };
  return Buffer.from(await encodePicture(image, coding, texts)).toString('base64');
}

process.on('message', (order: Order) => {
  if (order.type === 'open') open(order.place, order.wait);
  else if (order.type === 'load') load();
  else if (order.type === 'check') check(order.id, order.job);
  else if (order.type === 'run') run(order.id, order.job, order.client, order.seed, order.maxNfe);
  else going.get(order.id)?.abort(new Error('cancelled'));
});
// A Ctrl-C reaches the whole group; it is the server that ends this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit());
