// The plan of a call: all that can be said of it before the networks are troubled.
import type { Tensor } from '../base/tensor.js';
import { DPMSolver, type SampleOptions, type SolverOptions } from '../dpm-solver.js';
import type { SchedulerConfig } from '../folder/scheduler-config.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { sigmaOf, timeOfSigma } from '../schedule/sigmas.js';
import { DPMSolverMultistepScheduler } from '../schedulers/dpm-solver.js';
import type { Training } from '../schedulers/network.js';
import type { SolverTable } from '../solver/table.js';
import type { Classifier } from './classifier.js';
import type { Shape } from './denoiser.js';
import { elements } from './latents.js';
import type { GenerateOptions, SchedulerLike, SolverChoices } from './options.js';
import type { Parts } from './parts.js';
import { publishedOf } from './published.js';
import { type Guidance, isWhole, type Request, readRequest } from './request.js';
import { type SchedulerPlan, schedulerPlanOf, takesEta } from './scheduler-object.js';
import { shapeOf, tokensOf, trainingStepsOf } from './shape.js';
import { evaluationsOf } from './span.js';
import { tableFor } from './tables.js';

type Order = NonNullable<SolverChoices['order']>;

/** A call that nothing is wrong with. */
export interface Plan {
  readonly request: Request;
  /** Of one state. */
  readonly shape: Shape;
  readonly by: SolverPlan | SchedulerPlan;
  /** Of a batch, as far as is known before its first; 0 with the adaptive method. */
  readonly steps: number;
  /** The table that the run goes by, of the folder or of the call. */
  readonly table: SolverTable | undefined;
  readonly grid: string | undefined;
  readonly classifier: Classifier | undefined;
  /** For the classifier, of every picture. */
  readonly labels: readonly (readonly number[])[];
}

/** A call whose pictures the solver makes. */
export interface SolverPlan {
  readonly schedule: NoiseSchedule;
  readonly run: SampleOptions;
  /** The schedule's time at which it starts. */
  readonly start: number;
  readonly solverOptions: SolverOptions;
  /** The table that stands for the solver's rows, where one does. */
  readonly table: SolverTable | undefined;
  /** The published grid that the call names, and the network that it is for. */
  readonly grid?: string;
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
  const request = readRequest(options, limits);
  const { pictures, encoding, size } = request;
  options.signal?.throwIfAborted();
  const shape = shapeOf(parts, size);
  for (const { prompt, negative } of pictures) {
    conditioner.check(prompt, encoding);
    conditioner.check(negative ?? '', encoding);
  }
  if (pictures.some(({ image }) => image !== undefined)) vae?.findEncoder();
  const classifier = options.classifierScale === undefined ? undefined : await openClassifier();
  const labels = pictures.map(({ prompt }) => classifier?.labels(prompt) ?? []);
  const scheduler = request.scheduler ?? ownScheduler(parts, request, options.onWarning);
  if (scheduler && options.classifierScale !== undefined) {
    throw new TypeError('Expected no classifierScale with a scheduler object, which has no classifier guidance');
  }
  if (request.eta !== undefined && !takesEta(scheduler)) {
    throw new TypeError('Expected a DDIMScheduler or a TCDScheduler with eta, which no other steps by');
  }
  const by = scheduler
    ? schedulerPlanOf(parts, scheduler, request, shape)
    : (solverPlanOf(parts, request, shape, options.classifierScale) ??
      schedulerPlanOf(parts, likeSolver(parts, request.choices), request, shape));
  const [steps, table] = 'run' in by ? [stepsOf(by.run), by.table] : [by.steps, undefined];
  return { request, shape, by, steps, table, grid: 'run' in by ? by.grid : undefined, classifier, labels };
}

/** Steps of a run, of which the adaptive method knows none. */
function stepsOf({ method, table, steps = 0 }: SampleOptions): number {
  if (method === 'adaptive') return 0;
  return table ? table.sigmas.length - 1 : steps;
}

/** The table that a call names, or the folder's for calls that say nothing of the solver. */
function tableOfCall(
  { tables, training }: Parts,
  request: Request,
  schedule: NoiseSchedule,
  { thresholding, algorithmType = 'dpmsolver++' }: SolverOptions,
): SolverTable | undefined {
  const { table, guidance } = request;
  if (table === 'none') return undefined;
  if (table !== 'auto') return table;
  if (thresholding || algorithmType.startsWith('sde')) return undefined;
  return tableFor(tables, request, { schedule, modelType: training.modelType, scale: guidance.pair ?? 1 });
}

/**
 * The folder's own scheduler, where it keeps it: undefined where DPM-Solver makes the pictures.
 *
 * @param warn told where a solver was chosen that may not suit the network
 * @throws TypeError for choices of a solver that the folder's network cannot follow
 */
function ownScheduler(
  { scheduler }: Parts,
  { choices, table }: Request,
  warn?: (message: string) => void,
): SchedulerLike | undefined {
  const { keeps, refusal, caution } = scheduler;
  if (!keeps) return undefined;
  const named = typeof table === 'object' ? 'table' : undefined;
  const solver = Object.keys(choices).find((key) => key !== 'threads' && key !== 'checkFinite') ?? named;
  if (solver === undefined) return scheduler.make();
  if (refusal !== undefined) throw new TypeError(`${refusal}, as the option ${solver} asks for`);
  if (caution !== undefined) warn?.(caution);
  return undefined;
}

/** The plan of the solver; undefined where the scheduler's file asks for what only its class has. */
function solverPlanOf(
  parts: Parts,
  request: Request,
  shape: Shape,
  classifierScale: number | undefined,
): SolverPlan | undefined {
  const { guidance, rescale, pictures } = request;
  const schedule = scheduleOf(parts, shape);
  const solver = solverOptionsOf(parts, request.choices);
  const table = classifierScale === undefined ? tableOfCall(parts, request, schedule, solver) : undefined;
  const run = table ? { table } : runOptionsOf(parts, request, schedule, tokensOf(parts, shape));
  if (run === undefined) return undefined;
  const solverOptions: SolverOptions = {
    ...solver,
    guidance:
      classifierScale === undefined
        ? guidanceOf(guidance, rescale, isWhole(request.span))
        : { type: 'classifier', scale: classifierScale },
  };
  const zeros = { type: 'float32', data: new Float32Array(elements(shape)), dims: [1, ...shape] } as Tensor;
  new DPMSolver(null, schedule, solverOptions).start(zeros, { ...run, seed: [pictures[0].seed] });
  const start = run.table ? timeOfSigma(schedule, run.table.sigmas[0], 'the first sigma') : (run.tStart ?? schedule.T);
  const grid = publishedOf(parts, request.choices)?.name;
  return { schedule, run, start, solverOptions, table, ...(grid === undefined ? {} : { grid }) };
}

/** DPM-Solver as the scheduler's file has it, as an object. */
function likeSolver({ scheduler }: Parts, choices: SolverChoices): SchedulerLike {
  const { order, algorithmType, solverType, lowerOrderFinal, checkFinite: _, threads: __, ...rest } = choices;
  const other = Object.keys(rest)[0];
  if (other !== undefined) {
    throw new TypeError(
      `Expected no option ${other} with this scheduler_config.json, which asks for what only the class has, but received one`,
    );
  }
  const overrides: SchedulerConfig = {
    ...(order === undefined ? {} : { solver_order: order }),
    ...(algorithmType === undefined ? {} : { algorithm_type: algorithmType }),
    ...(solverType === undefined ? {} : { solver_type: solverType === 'taylor' ? 'heun' : 'midpoint' }),
    ...(lowerOrderFinal === undefined ? {} : { lower_order_final: lowerOrderFinal !== false }),
  };
  return DPMSolverMultistepScheduler.fromConfig(scheduler.config, overrides);
}

/** The noise schedule for states of this shape. */
export function scheduleOf({ training, limits }: Parts, shape: Shape): NoiseSchedule {
  return training.scheduleFor?.(tokensOf({ limits }, shape)) ?? training.schedule;
}

type Asked = Pick<Request, 'choices' | 'steps' | 'span'>;

/**
 * The options of a run. One whose grid nobody names goes through the sigmas of the folder's scheduler file; undefined where
 * that has sigmas that the schedule has not, or clips noise.
 */
function runOptionsOf(
  parts: Parts,
  { choices, steps: asked, span }: Asked,
  schedule: NoiseSchedule,
  tokens: number,
): SampleOptions | undefined {
  const { training, denoiser } = parts;
  const { defaults } = training;
  const { skipType, tStart, tEnd, method = 'multistep', denoiseToZero } = choices;
  const named = skipType !== undefined || tStart !== undefined || tEnd !== undefined || denoiseToZero === true;
  if (named || method !== 'multistep') return ownGridOf(parts, { choices, steps: asked, span }, schedule);
  if (clipsNoise(training, choices)) return undefined;
  const { sigmas, told } = training.grid(asked, tokens);
  const low = sigmaOf(schedule, schedule.range[0]);
  const high = sigmaOf(schedule, schedule.T);
  if (sigmas.some((sigma) => sigma > high * BEYOND || (sigma !== 0 && sigma * BEYOND < low))) return undefined;
  const flow = schedule.kind === 'flow';
  const [begin, end] = evaluationsOf(span, {
    ...{ steps: asked, order: 1, kind: denoiser.kind, trainingSteps: flow ? 1000 : trainingStepsOf(parts) },
    labels: flow ? told.map((sigma) => 1000 * sigma) : told,
  });
  const steps = end - begin;
  // As the class counts, whatever part of the steps is made: lower orders come at the end of short runs.
  const { lowerOrderFinal = defaults.lowerOrderFinal } = choices;
  const lowers = typeof lowerOrderFinal === 'number' ? asked < lowerOrderFinal : lowerOrderFinal === true && asked < 10;
  const { skipType: _, ...rest } = pickRun(defaults);
  return {
    ...rest,
    ...orderOf(defaults.order, choices, asked, steps),
    ...pickRun({ ...choices, order: undefined }),
    lowerOrderFinal: lowers && end === told.length ? Number.POSITIVE_INFINITY : false,
    table: tableOf(training, schedule, sigmas.slice(begin, end + 1), told.slice(begin, end), choices),
  };
}

/** Sigmas this much beyond the training's are rounding. */
const BEYOND = 1.001;

/** The options of a run on a grid that the call names, from the schedule's ends. */
function ownGridOf(parts: Parts, { choices, steps: asked, span }: Asked, schedule: NoiseSchedule): SampleOptions {
  for (const [name, value] of Object.entries({ denoisingStart: span.start, denoisingEnd: span.end })) {
    if (value === undefined) continue;
    throw new TypeError(`Expected no ${name} with a grid or a method of the call's own, whose steps it does not count`);
  }
  const { defaults } = parts.training;
  const published = publishedOf(parts, choices);
  const steps = span.known ? Math.max(1, Math.trunc(asked * span.strength)) : asked;
  const run: SampleOptions = {
    ...pickRun(defaults),
    ...orderOf(defaults.order, choices, asked, steps),
    ...pickRun({ ...choices, order: undefined }),
    steps,
    ...(published ? { network: published.network } : {}),
  };
  if (span.strength < 1) {
    const end = choices.tEnd ?? schedule.epsilon;
    run.tStart = end + span.strength * (schedule.T - end);
  }
  return run;
}

/** An order that nobody asked for gives way to few steps, and one that was to the fewer that a picture's strength leaves. */
function orderOf(
  standard: Order | undefined,
  { order: chosen, method }: SolverChoices,
  asked: number,
  steps: number,
): { order?: Order } {
  // That method has a standard of its own.
  if (chosen === undefined && method === 'ipndm') return {};
  const order = chosen ?? Math.min(standard ?? 2, asked);
  return { order: (order <= asked ? Math.min(order, steps) : order) as Order };
}

/** Does the scheduler's file clip what noise the solver works with? Only its class does. */
function clipsNoise(
  { defaults }: Training,
  { algorithmType = defaults.algorithmType, thresholding }: SolverChoices,
): boolean {
  return thresholding === undefined && defaults.thresholding !== undefined && algorithmType?.endsWith('++') === false;
}

/** The sigmas of the scheduler's file as the solver takes them, without rows. */
function tableOf(
  { defaults, modelType }: Training,
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

/** An edit's options of a run: there and back on one grid, of the schedule's own times. */
export function editRunOf({ training }: Parts, choices: SolverChoices, steps: number): SampleOptions {
  const { defaults } = training;
  return {
    ...pickRun(defaults),
    ...orderOf(defaults.order, choices, steps, steps),
    ...pickRun({ ...choices, order: undefined }),
    steps,
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

/**
 * Classifier-free guidance in the solver's step.
 *
 * @param fromNoise does the run start from noise alone? CFG-Zero*'s first step leaves a flow's noise as it is; of a picture it
 *   would keep noise that the next step takes to be gone
 */
export function guidanceOf(
  { pair, how }: Guidance,
  rescale: number,
  fromNoise: boolean,
): NonNullable<SolverOptions['guidance']> {
  if (pair === undefined) return { type: 'uncond' };
  return {
    ...{ type: 'classifier-free', scale: pair, ...how },
    ...(how?.variant === 'cfg-zero' && !fromNoise ? { zeroSteps: 0 } : {}),
    ...(rescale === 0 ? {} : { rescale }),
  };
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
