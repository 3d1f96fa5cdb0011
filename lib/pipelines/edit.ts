// DiffEdit (Couairon et al. 2022, arXiv 2210.11427): a picture is inverted under one prompt and denoised under another,
// where the two differ.
import { convert } from '../addon/native.js';
import { type Generator, generator } from '../addon/noise.js';
import type { NetworkArray, Tensor } from '../base/tensor.js';
import { DPMSolver, type SampleOptions, type SolverOptions } from '../dpm-solver.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { sigmaOf } from '../schedule/sigmas.js';
import { Clock } from './clock.js';
import { Coder } from './coder.js';
import { Crossed } from './crossed.js';
import type { Conditioning, Evaluate, Shape } from './denoiser.js';
import { deviceOf } from './device.js';
import { drive } from './drive.js';
import { decode, elements, encodeImages, typed } from './latents.js';
import { dilate, grow, keep, type Mask, maskImage, pasteBack, renoise, shrink } from './mask.js';
import { inTurn } from './memory.js';
import { networkOf, onWebGpu, timeScaleOf } from './network.js';
import type { Edit, EditOptions } from './options.js';
import type { Parts } from './parts.js';
import { editRunOf, guidanceOf, scheduleOf, solverOptionsOf } from './plan.js';
import { type EditRequest, readEditRequest } from './request.js';
import { shapeOf } from './shape.js';
import { ofSolver } from './solving.js';
import { Stage } from './stages.js';
import { Watch } from './watch.js';

/**
 * Changes what a picture shows.
 *
 * @param started when the call began, by `performance.now()`
 */
export async function edit(parts: Parts, options: EditOptions, started: number): Promise<Edit> {
  const { conditioner, limits, vae, memory, denoiser } = parts;
  const request = readEditRequest(options, limits);
  const { image, source, target, negative, guidance, rescale, size, encoding, choices } = request;
  const { signal, onStep, onProgress } = options;
  const { refusal, caution } = parts.scheduler;
  if (refusal !== undefined) throw new TypeError(`${refusal}, with which edits are made`);
  if (caution !== undefined) options.onWarning?.(caution);
  signal?.throwIfAborted();
  const shape = shapeOf(parts, size);
  for (const prompt of [source, target, negative ?? '']) conditioner.check(prompt, encoding);
  vae?.findEncoder();
  const schedule = scheduleOf(parts, shape);
  const { steps } = request;
  const run = editRunOf(parts, choices, steps);
  const tEnd = schedule.epsilon;
  const tStart = tEnd + request.strength * (schedule.T - tEnd);
  const plain = { ...solverOptionsOf(parts, choices), guidance: { type: 'uncond' } as const };
  const guided = { ...plain, guidance: guidanceOf(guidance, rescale, false) };
  // What the solver refuses is said before the networks are troubled.
  const zeros = { type: 'float32', data: new Float32Array(elements(shape)), dims: [1, ...shape] } as Tensor;
  new DPMSolver(null, schedule, guided).start(zeros, { ...run, tStart, seed: [request.seed] });
  const there: SampleOptions = {
    ...run,
    tStart: tEnd,
    tEnd: tStart,
    steps,
    intermediates: true,
    signal,
    onStep: () => stage.advance(),
  };

  const listener = onStep && Watch.listen(onStep);
  let stage: Stage;
  const clock = new Clock(started);
  const crossed = new Crossed();
  const counting = (evaluate: Evaluate) => crossed.counting(evaluate, onWebGpu(parts) ? 'an edit' : undefined);
  const wishes = { tiling: request.tiling, signal, warn: options.onWarning, onProgress, previewer: parts.previewer };
  const between = { coder: vae ? new Coder(vae, wishes) : undefined, clock, onProgress };
  const turn = { memory, onProgress };
  const encoded = await inTurn(conditioner.graphs, turn, () =>
    clock.inEncoder(() => conditioner.encode([source, target], [negative], size, { ...encoding, signal }, onProgress)),
  );
  const [from, to, away] = [encoded.for(source), encoded.for(target), encoded.against(negative)];
  const known = await inTurn(vae ? [vae.encoder] : [], turn, () => encodeImages([{ image }], between));
  const x0 = known.get(image)!;

  const dims = [1, ...shape];
  const { sample, small, nfe } = await inTurn([denoiser.graph], turn, async () => {
    const looks = request.mask ? 0 : request.maskStrengths.length * request.maskSamples;
    stage = new Stage('step', looks + 2 * steps, onProgress);
    const draws = generator(request.seed);
    const noise = draws.randn([1, ...shape]).data as Float32Array;
    const contrast = request.mask
      ? undefined
      : await contrastOf(parts, request, {
          ...{ draws, schedule, x0, shape, clock, counting, signal, stage },
          pair: [from, to],
        });
    const small = request.mask ? shrink(request.mask, limits.factor) : contrastMask(contrast!, shape, request);

    const single = { guidance: { ...guidance, pair: undefined }, rescale: 0, shape, fold: true, split: false };
    const invertNetwork = clock.timed(counting(networkOf(parts, [from], [away], single).evaluate));
    const inverter = new DPMSolver(invertNetwork, schedule, {
      ...plain,
      ...odeOf(plain.algorithmType),
      thresholding: false,
    });
    const inversion = await inverter.invert({ type: 'float32', data: x0, dims } as Tensor, there);
    const states = (inversion.intermediates as Tensor[]).map(({ data }) => data as Float32Array);
    const times = inversion.times.toReversed();
    const begin = states[steps].slice();
    renoise(begin, x0, noise, schedule.node(times[0]), small, request.freshNoise);

    const network = networkOf(parts, [to], [away], { guidance, rescale, shape, fold: true, split: request.split });
    const solver = new DPMSolver(null, schedule, {
      ...guided,
      correctXt: (x, _t, step) => {
        const data = new Float32Array(x.data as Float32Array);
        keep(data, states[steps - step], small);
        return { type: 'float32', data, dims };
      },
    });
    const watch = new Watch(
      parts,
      listener,
      { batch: 0, batches: 1 },
      {
        ...{ schedule, scale: network.scale, samples: 1, shape },
        count: () => stage.advance(),
      },
    );
    const sampling = solver.start(
      { type: 'float32', data: begin, dims },
      {
        ...run,
        ...gridDown(parts, schedule, times, plain.algorithmType),
        seed: [request.seed],
        signal,
        onStep: (progress) => watch.tell(progress),
      },
    );
    await drive(sampling, { network: counting(network.evaluate), clock, signal, watch });
    const sample = sampling.result.data as Float32Array;
    keep(sample, x0, small);
    return { sample, small, nfe: (contrast?.nfe ?? 0) + inversion.nfe + sampling.nfe };
  });

  const images = await inTurn(vae ? [vae.decoder] : [], turn, () => decode(between, { data: sample, dims }));
  await listener?.done();
  const mask = request.mask ?? grow(small, limits.factor);
  pasteBack(images[0], image, mask);
  return {
    images,
    mask: maskImage(mask),
    sample: { type: 'float32', data: sample, dims },
    nfe,
    solver: ofSolver({ run, solverOptions: plain }),
    seeds: [request.seed],
    guidance: guidance.scale,
    memory,
    ...(between.coder?.tiles ? { tiles: between.coder.tiles } : {}),
    device: deviceOf(parts.session),
    ...(crossed.transfers ? { transfers: crossed.transfers } : {}),
    timings: clock.timings(vae !== null),
  };
}

/** The times on the way up, downwards; to the clean end where the scheduler's file goes there, beyond the schedule's. */
function gridDown(
  { training, scheduler }: Parts,
  schedule: NoiseSchedule,
  times: readonly number[],
  algorithm: SolverOptions['algorithmType'] = 'dpmsolver++',
): SampleOptions {
  const last = times[times.length - 1];
  if (last === 0 || scheduler.config.final_sigmas_type === 'sigma_min') return { skipType: [...times] };
  const inner = times.slice(0, -1);
  return {
    skipType: undefined,
    table: {
      ...{ format: 'dpm-solver-table/1', name: 'the inversion', modelType: training.modelType },
      ...{ schedule: { kind: schedule.kind }, form: algorithm.endsWith('++') ? 'data' : 'noise' },
      sigmas: [...inner.map((t) => sigmaOf(schedule, t)), 0],
      times: [...inner, 0],
    },
  };
}

/** What the two prompts are contrasted on. */
interface Ground {
  readonly pair: readonly Conditioning[];
  readonly draws: Generator;
  readonly schedule: NoiseSchedule;
  readonly x0: Float32Array;
  readonly shape: Shape;
  readonly clock: Clock;
  readonly counting: (evaluate: Evaluate) => Evaluate;
  readonly signal: AbortSignal | undefined;
  readonly stage: Stage;
}

/** How much the network's predictions for two prompts differ, place by place. */
async function contrastOf(
  parts: Parts,
  { maskStrengths, maskSamples }: EditRequest,
  { pair, draws, schedule, x0, shape, clock, counting, signal, stage }: Ground,
): Promise<{ data: Float64Array; nfe: number }> {
  const { denoiser, limits } = parts;
  const options = { timeScale: timeScaleOf(parts), guidance: limits.defaultGuidance };
  const evaluate = clock.timed(counting(denoiser.prepare(pair, shape, options)));
  const n = elements(shape);
  const plane = shape[1] * shape[2];
  const data = new Float64Array(plane);
  const both = new Float32Array(2 * n);
  const dims = [2, ...shape];
  let nfe = 0;
  for (let draw = 0; draw < maskSamples; draw++) {
    for (const strength of maskStrengths) {
      signal?.throwIfAborted();
      const t = schedule.epsilon + strength * (schedule.T - schedule.epsilon);
      const { alpha, sigma } = schedule.node(t);
      const noise = draws.randn([1, ...shape]).data;
      for (let i = 0; i < n; i++) {
        both[i] = alpha * x0[i] + sigma * noise[i];
        both[n + i] = both[i];
      }
      const x = typed({ type: 'float32', data: both, dims } as Tensor, denoiser.type);
      const output = await evaluate(x, schedule.modelTime(t), signal);
      const wide = new Float32Array(2 * n);
      convert(output.data as NetworkArray, wide);
      for (let i = 0; i < n; i++) data[i % plane] += Math.abs(wide[n + i] - wide[i]);
      nfe++;
      stage.advance();
    }
  }
  return { data, nfe };
}

/** Where two prompts' predictions differ by more than a share of the most, a little widened. */
function contrastMask(
  { data }: { data: Float64Array },
  [, height, width]: Shape,
  { maskThreshold, maskMargin = Math.floor(Math.min(width, height) / 10) }: EditRequest,
): Mask {
  // A few places may stand out: the largest hundredth counts as one.
  const sorted = new Float64Array(data).sort();
  const most = sorted[Math.floor(0.99 * (sorted.length - 1))];
  const found = Uint8Array.from(data, (value) => (value > maskThreshold * most ? 1 : 0));
  const mask = dilate({ width, height, data: found }, maskMargin);
  if (!found.includes(1))
    throw new RangeError('Expected prompts that differ somewhere in the picture, but they do not');
  if (!mask.data.includes(0)) {
    throw new RangeError('Expected prompts that agree somewhere in the picture, but they do not: pass a mask');
  }
  return mask;
}

/** An inversion has no noise: an SDE's picture is inverted along the ODE of the same form. */
function odeOf(algorithmType: SolverOptions['algorithmType']): Pick<SolverOptions, 'algorithmType'> {
  if (algorithmType === undefined) return {};
  return { algorithmType: algorithmType.endsWith('++') ? 'dpmsolver++' : 'dpmsolver' };
}
