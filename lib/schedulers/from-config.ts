// The class that a configuration asks for.
import { parseConfig, type SchedulerConfig } from '../folder/scheduler-config.js';
import { DDIMScheduler, PNDMScheduler } from './ddim.js';
import { DEISMultistepScheduler } from './deis.js';
import {
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
} from './dpm-solver.js';
import { EDMDPMSolverMultistepScheduler } from './edm.js';
import type { Scheduler, SchedulerClass } from './scheduler.js';
import { UniPCMultistepScheduler } from './unipc.js';

const CLASSES: Readonly<Record<string, SchedulerClass>> = {
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  DPMSolverMultistepInverseScheduler,
  EDMDPMSolverMultistepScheduler,
  UniPCMultistepScheduler,
  DEISMultistepScheduler,
  DDIMScheduler,
  PNDMScheduler,
};

/**
 * The scheduler that a configuration asks for by its `_class_name`. One of a class that is not here but whose network
 * DPM-Solver can follow (Euler, FlowMatchEuler, DDPM, Heun, LMS, ...) gives a DPMSolverMultistepScheduler, an EDMEuler
 * one an EDMDPMSolverMultistepScheduler.
 *
 * @param json scheduler_config.json, as an object or as text
 * @param overrides keys that replace those of the configuration
 * @throws TypeError without a `_class_name` and for networks that none of the classes can follow; TypeError, RangeError
 *   as `fromConfig`
 */
export function schedulerFromConfig(json: SchedulerConfig | string, overrides?: SchedulerConfig): Scheduler {
  const config = parseConfig(json, 'the scheduler configuration');
  const name = config._class_name;
  if (typeof name !== 'string') {
    throw new TypeError(`Expected a string for _class_name but received ${name === undefined ? 'none' : String(name)}`);
  }
  if (name === 'EDMEulerScheduler') return new EDMDPMSolverMultistepScheduler(config, overrides);
  const Class = Object.hasOwn(CLASSES, name) ? CLASSES[name] : DPMSolverMultistepScheduler;
  return new Class(config, overrides);
}
