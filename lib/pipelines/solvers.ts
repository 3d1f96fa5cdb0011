// Solvers and scheduler classes by the names that people ask for them by.
import { show } from '../base/check.js';
import { nearest } from '../base/text.js';
import type { SchedulerConfig } from '../folder/scheduler-config.js';
import type { DiffusionPipeline } from './diffusion-pipeline.js';
import type { GenerateOptions } from './options.js';

/** What a solver's name stands for: options of the solver library, or a class of dpm-solver/schedulers. */
type Entry =
  | { choices: GenerateOptions['scheduler'] }
  | { scheduler: 'PNDMScheduler' | 'DEISMultistepScheduler' | 'UniPCMultistepScheduler' };

const solvers = {
  // DPM-Solver of the first order is DDIM, in either form; a flow's pure noise has a step in this one alone.
  ddim: { choices: { algorithmType: 'dpmsolver++', order: 1 } },
  pndm: { scheduler: 'PNDMScheduler' },
  deis: { scheduler: 'DEISMultistepScheduler' },
  unipc: { scheduler: 'UniPCMultistepScheduler' },
  dpmsolver: { choices: { algorithmType: 'dpmsolver', order: 2 } },
  'dpmsolver++': { choices: { algorithmType: 'dpmsolver++', order: 2 } },
  'sde-dpmsolver': { choices: { algorithmType: 'sde-dpmsolver', order: 2 } },
  'sde-dpmsolver++': { choices: { algorithmType: 'sde-dpmsolver++', order: 2 } },
} as const satisfies Record<string, Entry>;

export type SolverName = keyof typeof solvers;
export const SOLVERS = Object.keys(solvers) as SolverName[];

/** Those with an order and a grid of their own: classes of dpm-solver/schedulers, and DDIM, which is order 1. */
const FIXED_SOLVERS = ['ddim', 'pndm', 'deis', 'unipc'] as const satisfies readonly SolverName[];
/** Is it one of these? */
export const isFixed = (solver: string | undefined): solver is (typeof FIXED_SOLVERS)[number] =>
  (FIXED_SOLVERS as readonly (string | undefined)[]).includes(solver);

type Choice = Pick<GenerateOptions, 'scheduler'>;

/**
 * What the pipeline takes for a name, of a solver or of a scheduler class.
 *
 * @throws as {@link schedulerOfClass}
 */
export async function namedScheduler(name: string, pipe: DiffusionPipeline): Promise<Choice> {
  if (!Object.hasOwn(solvers, name)) return { scheduler: await schedulerOfClass(name, pipe) };
  const entry: Entry = solvers[name as SolverName];
  if ('choices' in entry) return { scheduler: entry.choices };
  const classes = await import('../schedulers/index.js');
  // PNDM's Runge-Kutta steps would take nine evaluations more than were asked for, and four steps at least.
  const overrides = entry.scheduler === 'PNDMScheduler' ? { skip_prk_steps: true } : {};
  return { scheduler: classes[entry.scheduler].fromConfig(pipe.schedulerConfig, overrides) };
}

/** A solver of the second order cannot make one step. */
export function fewSteps({ scheduler }: Choice, steps: number): Choice {
  if (scheduler === undefined || 'step' in scheduler) return { scheduler };
  return { scheduler: { ...scheduler, order: Math.min(scheduler.order ?? 2, steps) as 1 | 2 | 3 } };
}

/**
 * A scheduler object of the class `name` of dpm-solver/schedulers, made from a model's scheduler file.
 *
 * @throws RangeError for a class that is not here; TypeError, RangeError as the class's `fromConfig`
 */
export async function schedulerOfClass(
  name: string,
  { schedulerConfig }: { readonly schedulerConfig: SchedulerConfig },
): Promise<NonNullable<GenerateOptions['scheduler']>> {
  const { classNames, knownClass } = await import('../schedulers/from-config.js');
  const Class = knownClass(name);
  if (Class) return new Class(schedulerConfig);
  const meant = nearest(name, classNames()) ?? nearest(`${name}Scheduler`, classNames());
  throw new RangeError(
    `Expected a class of dpm-solver/schedulers but received ${show(name)}${meant ? `; did you mean ${meant}?` : ''}`,
  );
}
