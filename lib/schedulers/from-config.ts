// The class that a configuration asks for.
import { parseConfig, type SchedulerConfig } from '../folder/scheduler-config.js';
import { plainName } from '../folder/scheduler-keys.js';
import { CogVideoXDDIMScheduler, CogVideoXDPMScheduler } from './cogvideox.js';
import { LCMScheduler, TCDScheduler } from './consistency.js';
import { DDIMInverseScheduler, DDIMScheduler, PNDMScheduler } from './ddim.js';
import { DDPMScheduler } from './ddpm.js';
import { DEISMultistepScheduler } from './deis.js';
import {
  DPMSolverMultistepInverseScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
} from './dpm-solver.js';
import {
  CMStochasticIterativeScheduler,
  CosineDPMSolverMultistepScheduler,
  EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler,
} from './edm.js';
import {
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
  FlowMatchLCMScheduler,
  LTXEulerAncestralRFScheduler,
  MiniMaxH3Scheduler,
} from './flow-match.js';
import { IPNDMScheduler } from './ipndm.js';
import {
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  HeunDiscreteScheduler,
  KDPM2AncestralDiscreteScheduler,
  KDPM2DiscreteScheduler,
  LMSDiscreteScheduler,
} from './k-diffusion.js';
import { SASolverScheduler } from './sa-solver.js';
import type { Scheduler, SchedulerClass } from './scheduler.js';
import { UniPCMultistepScheduler } from './unipc.js';

/** The classes by their names, those of diffusers. */
const CLASSES: Readonly<Record<string, SchedulerClass>> = {
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  DPMSolverMultistepInverseScheduler,
  EDMDPMSolverMultistepScheduler,
  UniPCMultistepScheduler,
  DEISMultistepScheduler,
  DDIMScheduler,
  PNDMScheduler,
  DDIMInverseScheduler,
  DDPMScheduler,
  EulerDiscreteScheduler,
  EulerAncestralDiscreteScheduler,
  HeunDiscreteScheduler,
  LMSDiscreteScheduler,
  KDPM2DiscreteScheduler,
  KDPM2AncestralDiscreteScheduler,
  LCMScheduler,
  TCDScheduler,
  SASolverScheduler,
  IPNDMScheduler,
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
  FlowMatchLCMScheduler,
  LTXEulerAncestralRFScheduler,
  MiniMaxH3Scheduler,
  EDMEulerScheduler,
  CMStochasticIterativeScheduler,
  CosineDPMSolverMultistepScheduler,
  CogVideoXDDIMScheduler,
  CogVideoXDPMScheduler,
};

/** Other names of the same methods: a batch of steps at once is what every class here takes. */
const SAME: Readonly<Record<string, string>> = {
  DDIMParallelScheduler: 'DDIMScheduler',
  DDPMParallelScheduler: 'DDPMScheduler',
};

/**
 * The class of a name, which may be another name of the same methods; DPM-Solver's where there is none.
 *
 * @internal
 */
export function classNamed(name: string): SchedulerClass {
  return knownClass(name) ?? DPMSolverMultistepScheduler;
}

/** @internal All names that {@link knownClass} knows. */
export function classNames(): string[] {
  return [...Object.keys(CLASSES), ...Object.keys(SAME)];
}

/** @internal The class of a name, if it is here. */
export function knownClass(name: string): SchedulerClass | undefined {
  const known = Object.hasOwn(SAME, name) ? SAME[name] : name;
  return Object.hasOwn(CLASSES, known) ? CLASSES[known] : undefined;
}

/**
 * The scheduler that a configuration asks for by its `_class_name`, with or without "Flax" before it. One of a class that
 * is not here but whose network DPM-Solver can follow (DPMSolverSDE) gives a DPMSolverMultistepScheduler.
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
  return new (classNamed(plainName(name)))(config, overrides);
}
