// From prompts to pictures: every batch is sampled from its noise, from a picture or from latents, by the solver or by a
// scheduler object.
import type { Image } from '../image/image.js';
import { type Start, sampleBatch, sampleThere } from './batch.js';
import { Clock } from './clock.js';
import { Coder } from './coder.js';
import type { Encoded } from './conditioner.js';
import { deviceOf } from './device.js';
import { Crossed } from './crossed.js';
import { decode, elements, encodeImages, inpaintingInputs, joined, startNoise } from './latents.js';
import { keep, pasteBack, shrink } from './mask.js';
import { inTurn, needsOf, openBytes, warningOf } from './memory.js';
import { networkOf, networkThere } from './network.js';
import type { GenerateOptions, Generation, Progress } from './options.js';
import type { Parts } from './parts.js';
import type { Plan } from './plan.js';
import { driveScheduler } from './scheduler-object.js';
import { solvingOf } from './solving.js';
import { Stage } from './stages.js';
import { Watch } from './watch.js';

/**
 * Makes the pictures of a planned call.
 *
 * @param started when the call began, by `performance.now()`
 */
export async function generate(
  parts: Parts,
  plan: Plan,
  { onStep, onProgress, onWarning, signal }: GenerateOptions,
  started: number,
): Promise<Generation> {
  const { request, shape, by, classifier, labels } = plan;
  const { pictures, guidance, rescale, batchSize, mask, span } = request;
  const clock = new Clock(started);
  const coder = parts.vae
    ? new Coder(parts.vae, {
        ...{ tiling: request.tiling, signal, warn: onWarning, onProgress },
        previewer: parts.previewer,
      })
    : undefined;
  const between = { coder, clock, onProgress };
  const { memory, vae, denoiser } = parts;
  const turn = { memory, onProgress };
  warnOfMemory(parts, plan, onWarning);
  const encoded = await inTurn(parts.conditioner.graphs, turn, () =>
    clock.inEncoder(() => encodePrompts(parts, plan, signal, onProgress)),
  );
  const encoders = vae && pictures.some(({ image }) => image) ? [vae.encoder] : [];
  const latents = await inTurn(encoders, turn, () => encodeImages(pictures, between));
  const small = mask && shrink(mask, parts.limits.factor);
  const extras = await inTurn(encoders, turn, () => inpaintingInputs(parts, pictures, mask, small, between));
  const ofSolver = 'run' in by;

  const n = elements(shape);
  const sample = new Float32Array(pictures.length * n);
  const batches = Math.ceil(pictures.length / batchSize);
  const listener = onStep && Watch.listen(onStep);
  let nfe = 0;
  const crossed = new Crossed();
  await inTurn([denoiser.graph], turn, async () => {
    const stage = new Stage('step', plan.steps * batches, onProgress);
    for (let batch = 0; batch < batches; batch++) {
      const begin = batch * batchSize;
      const part = pictures.slice(begin, begin + batchSize);
      const conditionings = [
        guidance.unconditional ? [] : part.map(({ prompt }) => encoded.for(prompt)),
        guidance.unconditional || guidance.pair !== undefined
          ? part.map(({ negative }) => encoded.against(negative))
          : [],
      ] as const;
      const networkOptions = {
        ...{ guidance, rescale, shape, split: request.split, fold: ofSolver },
        extra: extras && part.map((one) => extras.get(one.image as Image)!),
      };
      const place = await networkThere(parts, ...conditionings, {
        ...networkOptions,
        by: !ofSolver ? 'a scheduler object' : classifier ? 'classifier guidance' : undefined,
      });
      const there = typeof place === 'object' ? place : undefined;
      const networkHere = there ? undefined : networkOf(parts, ...conditionings, networkOptions);
      const { scale } = there ?? networkHere!;
      const start: Start = {
        noise: startNoise(part, shape),
        known: span.known
          ? joined(part.map(({ image, latents: own }) => own ?? latents.get(image as Image)!))
          : undefined,
        noisy: span.start !== undefined,
        // All that a mask covers is made anew at full strength, so nothing of it is in the start state.
        fresh: small !== undefined && span.strength === 1,
        mask: small,
      };
      const watch = new Watch(
        parts,
        listener,
        { batch, batches },
        {
          ...{ schedule: ofSolver ? by.schedule : undefined, scale, samples: part.length, shape },
          resumable: !ofSolver || (by.run.table !== undefined && by.table === undefined),
          count: (told) => countStep(stage, told),
        },
      );
      const gradient = classifier?.prepare(labels.slice(begin, begin + batchSize), shape);
      const seeds = part.map(({ seed }) => seed);
      const dims = [part.length, ...shape];
      let made: { sample: Float32Array; nfe: number };
      if (there && ofSolver) {
        made = await sampleThere(by, seeds, dims, start, { there, clock, signal, watch, crossed }).finally(() => {
          there.release();
        });
      } else {
        const evaluate = crossed.counting(networkHere!.evaluate, place as string | undefined);
        const work = { network: evaluate, gradient, clock, signal, watch };
        made = await (ofSolver
          ? sampleBatch(by, seeds, dims, start, work)
          : driveScheduler({ ...start, plan: by, type: denoiser.type, dims, seeds, eta: request.eta ?? 0 }, work));
      }
      nfe = Math.max(nfe, made.nfe);
      if (small && start.known) keep(made.sample, start.known, small);
      sample.set(made.sample, begin * n);
    }
  });

  const dims = [pictures.length, ...shape];
  const whole = span.end === undefined || span.end === 1;
  const decoders = vae && whole ? [vae.decoder] : [];
  const images = whole ? await inTurn(decoders, turn, () => decode(between, { data: sample, dims })) : [];
  if (mask) for (const [i, image] of images.entries()) pasteBack(image, pictures[i].image as Image, mask);
  await listener?.done();
  return {
    images,
    sample: { type: 'float32', data: sample, dims },
    nfe,
    solver: solvingOf(parts, plan),
    ...(plan.table ? { table: plan.table.name } : {}),
    ...(plan.grid === undefined ? {} : { grid: plan.grid }),
    seeds: pictures.map(({ seed }) => seed),
    guidance: guidance.scale,
    memory,
    ...(coder?.tiles ? { tiles: coder.tiles } : {}),
    device: deviceOf(parts.session),
    ...(crossed.transfers ? { transfers: crossed.transfers } : {}),
    timings: clock.timings(vae !== null),
  };
}

/** Says before anything is run that it will not fit. */
function warnOfMemory(parts: Parts, { request }: Plan, warn: GenerateOptions['onWarning']): void {
  const { size, batchSize, pictures, guidance, split, tiling } = request;
  const batch = Math.min(batchSize, pictures.length);
  const needs = needsOf(parts, size, guidance.pair === undefined || split ? batch : 2 * batch, tiling);
  const message = warn && warningOf(needs, parts.memory, openBytes(parts));
  if (message !== undefined) warn?.(message);
}

/** A step of a batch, of those of all batches: schedulers of others may make more or fewer than they were asked for. */
function countStep(
  stage: Stage,
  { step, steps, batch, batches }: Pick<Progress, 'step' | 'steps' | 'batch' | 'batches'>,
): void {
  if (steps > 0) stage.expect(steps * (batches - batch) - step + 1);
  stage.advance();
}

/** The prompts that the guidance asks for: with, without, or both. */
function encodePrompts(
  { conditioner }: Parts,
  { request }: Plan,
  signal: AbortSignal | undefined,
  onProgress: GenerateOptions['onProgress'],
): Promise<Encoded> {
  const { pictures, guidance, size, encoding } = request;
  const { pair, unconditional } = guidance;
  return conditioner.encode(
    unconditional ? [] : pictures.map(({ prompt }) => prompt),
    unconditional || pair !== undefined ? pictures.map(({ negative }) => negative) : [],
    size,
    { ...encoding, signal },
    onProgress,
  );
}
