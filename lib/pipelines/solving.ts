// What made the steps of a call, in words: for who keeps them beside the pictures.
import type { SchedulerConfig } from '../folder/scheduler-config.js';
import { DPMSolverMultistepScheduler } from '../schedulers/dpm-solver.js';
import { Scheduler } from '../schedulers/scheduler.js';
import type { Solving } from './options.js';
import type { Parts } from './parts.js';
import type { Plan, SolverPlan } from './plan.js';

/** What makes the steps of a planned call. */
export function solvingOf(parts: Parts, { by, table }: Plan): Solving {
  if (table) return { name: table.name, grid: 'table' };
  if ('run' in by) return ofSolver(by, folderGrid(parts));
  const { scheduler } = by;
  if (!(scheduler instanceof Scheduler)) return { name: scheduler.constructor.name, grid: 'its own' };
  const { config } = scheduler;
  return { name: String(config._class_name), grid: gridOf(config) };
}

/** @param folder the grid of the folder's file, which a run without one of the call's goes through */
export function ofSolver({ run, solverOptions }: Pick<SolverPlan, 'run' | 'solverOptions'>, folder?: string): Solving {
  const { method = 'multistep', order, skipType = 'time_uniform', table } = run;
  const own = typeof skipType === 'string' ? skipType : 'times of its own';
  return {
    name: solverOptions.algorithmType ?? 'dpmsolver++',
    ...(order === undefined ? {} : { order }),
    ...{ method, grid: table && folder !== undefined ? folder : own },
  };
}

/** Of the folder's file, with the defaults of the class that it makes here. */
function folderGrid({ scheduler }: Parts): string {
  const { config } = scheduler;
  return gridOf(
    config.timestep_spacing === undefined ? { ...DPMSolverMultistepScheduler.rules.defaults, ...config } : config,
  );
}

function gridOf(config: SchedulerConfig): string {
  const placed = (['karras', 'exponential', 'beta'] as const).find((name) => config[`use_${name}_sigmas`] === true);
  if (placed !== undefined) return placed;
  if (config.use_lu_lambdas === true) return 'lu';
  if (typeof config.sigma_schedule === 'string') return config.sigma_schedule;
  const flow = config.use_flow_sigmas === true || /^(?:FlowMatch|LTX)/.test(String(config._class_name));
  return flow ? 'flow' : String(config.timestep_spacing ?? 'its own');
}
