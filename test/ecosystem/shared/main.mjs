// What a user's program has: the package by its names. test/ecosystem/run.ts puts this file and scenario.mjs into every
// project.
import * as main from 'dpm-solver';
import * as native from 'dpm-solver/native';
import * as schedulers from 'dpm-solver/schedulers';
import { scenario } from './scenario.mjs';

export async function report() {
  const runs = await scenario({ ...main, ...native, ...schedulers });
  return { backend: native.info().backend, runs };
}
