// The plan of a call: all that can be said of it before the networks are troubled.
import type { Tensor } from '../base/tensor.js';
import { DPMSolver, type SampleOptions, type SolverOptions } from '../dpm-solver.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { timeOfSigma } from '../schedule/sigmas.js';
import type { SolverTable } from '../solver/table.js';
import type { Classifier } from './classifier.js';
import type { Size } from './conditioner.js';
import type { Shape } from './denoiser.js';
import { elements } from './latents.js';
import type { GenerateOptions, SchedulerLike, SolverChoices } from './options.js';
import type { Parts } from './parts.js';
import { type Limits, type Request, readRequest } from './request.js';
import { tableFor } from './tables.js';

/** A call that nothing is wrong with. */
export interface Plan {
  readonly request: Request;
  /** Of one state. */
  readonly shape: Shape;
  readonly schedule: NoiseSchedule;
  readonly run: SampleOptions;
  /** Of a batch, as far as is known before its first; 0 with the adaptive method. */
  readonly steps: number;
  /** The table that the run goes by, of the folder or of the call. */
  readonly table: SolverTable | undefined;
  readonly solverOptions: SolverOptions;
  /** Of classifier-free guidance, where the network is evaluated with and without the prompt. */
  readonly scale: number | undefined;
  readonly classifier: Classifier | undefined;
  /** For the classifier, of every picture. */
  readonly labels: readonly (readonly number[])[];
}

/**
 * Plans what calling a pipeline does, and refuses what cannot be done.
 *
 * @param openClassifier loads the classifier, or says that there is none
 */
export async function planOf(
  parts: Parts,
  options: GenerateOptions,
  openClassifier: () => Promise<Classifier>,
): Promise<Plan> {
  const { conditioner, limits, vae } = parts;
  const asked = readRequest(options, limits);
  const request = { ...asked, scheduler: asked.scheduler ?? ownScheduler(parts, asked.choices, options.onWarning) };
  const { pictures, guidance, rescale, encoding, size, scheduler } = request;
  options.signal?.throwIfAborted();
  const shape = shapeOf(parts, size);
  for (const { prompt, negative } of pictures) {
    conditioner.check(prompt, encoding);
    conditioner.check(negative ?? '', encoding);
  }
  if (request.fromImage) vae?.findEncoder();

  const classifier = options.classifierScale === undefined ? undefined : await openClassifier();
  const labels = pictures.map(({ prompt }) => classifier?.labels(prompt) ?? []);
  const schedule = scheduleOf(parts, shape);
  const scale = usesPair(guidance, limits) ? guidance : undefined;
  const solver = solverOptionsOf(parts, request.choices);
  const table = classifier ? undefined : tableOfCall(parts, request, schedule, scale, solver);
  const { run, steps } = table
    ? { run: { table } as SampleOptions, steps: table.sigmas.length - 1 }
    : runOptionsOf(parts, request, schedule, tokensOf(parts, shape));
  const solverOptions: SolverOptions = {
    ...solver,
    guidance:
      options.classifierScale === undefined
        ? guidanceOf(scale, rescale)
        : { type: 'classifier', scale: options.classifierScale },
  };
  if (!scheduler) {
    const [{ seed }] = pictures;
    const zeros = { type: 'float32', data: new Float32Array(elements(shape)), dims: [1, ...shape] } as Tensor;
    new DPMSolver(null, schedule, solverOptions).start(zeros, { ...run, seed: [seed] });
  }
  return {
    request,
    shape,
    schedule,
    run,
    steps: run.method === 'adaptive' ? 0 : steps,
    table,
    scale,
    solverOptions,
    classifier,
    labels,
  };
}

/** The table that a call names, or the folder's for calls that say nothing of the solver. */
function tableOfCall(
  { tables, training }: Parts,
  request: Request,
  schedule: NoiseSchedule,
  scale: number | undefined,
  { thresholding, algorithmType = 'dpmsolver++' }: SolverOptions,
): SolverTable | undefined {
  const { table } = request;
  if (table === 'none') return undefined;
  if (table !== 'auto') return table;
  if (thresholding || algorithmType.startsWith('sde')) return undefined;
  return tableFor(tables, request, { schedule, modelType: training.modelType, scale: scale ?? 1 });
}

/**
 * The folder's own scheduler, where it keeps it: undefined where DPM-Solver makes the pictures.
 *
 * @param warn told where a solver was chosen that may not suit the network
 * @throws TypeError for choices of a solver that the folder's network cannot follow
 */
export function ownScheduler(
  { scheduler }: Parts,
  choices: SolverChoices,
  warn?: (message: string) => void,
): SchedulerLike | undefined {
  const { keeps, refusal, caution } = scheduler;
  if (!keeps) return undefined;
  const solver = Object.keys(choices).find((key) => key !== 'threads' && key !== 'checkFinite');
  if (solver === undefined) return scheduler.make();
  if (refusal !== undefined) throw new TypeError(`${refusal}, as the option ${solver} asks for`);
  if (caution !== undefined) warn?.(caution);
  return undefined;
}

/** The dims of one state for pictures of this size. */
export function shapeOf({ denoiser, limits }: Parts, { width, height }: Size): Shape {
  const shape = [limits.channels, height / limits.factor, width / limits.factor] as const;
  denoiser.checkSize(shape[1], shape[2], limits.factor);
  return shape;
}

/** The noise schedule for states of this shape. */
export function scheduleOf({ training, limits }: Parts, shape: Shape): NoiseSchedule {
  return training.scheduleFor?.(tokensOf({ limits }, shape)) ?? training.schedule;
}

/** Tokens of a state of this shape, by which dynamic shifting goes. */
export function tokensOf({ limits }: Pick<Parts, 'limits'>, [, height, width]: Shape): number {
  return (height * width) / limits.patch ** 2;
}

/**
 * The options of a run, and its steps: from an image, the share of them that its strength says. A run whose grid nobody
 * names goes through the sigmas of the folder's scheduler file, where `tokens` of the picture are told.
 */
export function runOptionsOf(
  { training }: Parts,
  { choices, steps: asked, strength, fromImage }: Pick<Request, 'choices' | 'steps' | 'strength' | 'fromImage'>,
  schedule: NoiseSchedule,
  tokens?: number,
): { run: SampleOptions; steps: number } {
  const { defaults } = training;
  const steps = fromImage ? Math.max(1, Math.floor(asked * strength + 1e-6)) : asked;
  // An order that nobody asked for gives way to few steps.
  const order = Math.min(defaults.order ?? 2, steps) as 1 | 2 | 3;
  const run: SampleOptions = { ...pickRun(defaults), order, ...pickRun(choices), steps };
  // So does one that goes with the steps asked for, to the fewer steps that strength leaves.
  if (run.order !== undefined && run.order <= asked) run.order = Math.min(run.order, steps) as 1 | 2 | 3;
  const { skipType, tStart, tEnd, method = 'multistep', denoiseToZero } = choices;
  const named = skipType !== undefined || tStart !== undefined || tEnd !== undefined || denoiseToZero === true;
  if (tokens !== undefined && !named && method === 'multistep') {
    const { sigmas, told } = training.grid(asked, tokens);
    // diffusers may have fewer timesteps than steps.
    const begin = told.length - Math.min(steps, told.length);
    const table = tableOf(training, schedule, sigmas.slice(begin), told.slice(begin), choices);
    const { skipType: _, ...rest } = run;
    const start = timeOfSigma(schedule, table.sigmas[0], 'the first sigma');
    return { run: { ...rest, steps: told.length - begin, table, tStart: start }, steps: told.length - begin };
  }
  if (strength < 1) {
    const end = choices.tEnd ?? schedule.epsilon;
    run.tStart = end + strength * (schedule.T - end);
  }
  return { run, steps };
}

/** The sigmas of the scheduler's file as the solver takes them, without rows. */
function tableOf(
  { defaults, modelType }: Parts['training'],
  { kind }: NoiseSchedule,
  sigmas: readonly number[],
  modelTimes: readonly number[],
  choices: SolverChoices,
): SolverTable {
  const algorithm = choices.algorithmType ?? defaults.algorithmType ?? 'dpmsolver++';
  const form = algorithm.endsWith('++') ? 'data' : 'noise';
  return {
    ...{ format: 'dpm-solver-table/1', name: 'scheduler_config.json' },
    ...{ modelType, schedule: { kind }, form, sigmas, modelTimes },
  };
}

/** The options of the solver, but for guidance. */
export function solverOptionsOf({ training, denoiser }: Parts, choices: SolverChoices): SolverOptions {
  const { thirdOrder, correctX0, correctXt, checkFinite, threads } = choices;
  const algorithmType = choices.algorithmType ?? training.defaults.algorithmType;
  let { thresholding } = choices;
  // A configuration's thresholding is meant for its own algorithm; noise forms have none.
  thresholding ??= algorithmType?.endsWith('++') === false ? undefined : training.defaults.thresholding;
  return {
    modelType: training.modelType,
    modelDtype: denoiser.type,
    device: 'cpu',
    ...defined({ algorithmType, thresholding, thirdOrder, correctX0, correctXt, checkFinite, threads }),
  };
}

/** Classifier-free guidance in the solver's step, unless its result has to be rescaled first. */
export function guidanceOf(scale: number | undefined, rescale: number): NonNullable<SolverOptions['guidance']> {
  return scale !== undefined && rescale === 0 ? { type: 'classifier-free', scale } : { type: 'uncond' };
}

/** Is the network evaluated with and without the prompt? */
export function usesPair(guidance: number, { distilled }: Limits): boolean {
  return !distilled && guidance !== 0 && guidance !== 1;
}

/** The options of a run that have been set. */
function pickRun(options: SolverChoices): SampleOptions {
  const { order, method, skipType, solverType, tStart, tEnd, lowerOrderFinal, denoiseToZero } = options;
  const { atol, rtol, controller, maxNfe, noise } = options;
  const grid = { order, method, skipType, solverType, tStart, tEnd, lowerOrderFinal, denoiseToZero };
  return defined({ ...grid, atol, rtol, controller, maxNfe, noise });
}

function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
