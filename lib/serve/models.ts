// The models that are served, by name.
import { list } from '../base/check.js';
import type { Drawer } from './runs.js';

/** A model and who draws with it: a process of this machine, or workers. */
export interface Served {
  id: string;
  engine: Drawer;
}

/** Names of OpenAI's: a program that was written for them draws with the first model here. */
const theirs = /^(?:dall-e-|gpt-image-|chatgpt-image-)/;

/** The model of a name, or the first where nobody says; undefined for a name that is not known. */
export function modelOf(models: readonly Served[], name: string | undefined): Served | undefined {
  const found = models.find(({ id }) => id === name);
  return found ?? (name === undefined || name === '' || theirs.test(name) ? models[0] : undefined);
}

/** What is said of a name that is not known. */
export function noModel(models: readonly Served[]): string {
  return `There is no model of this name; expected ${list(
    models.map(({ id }) => `'${id}'`),
    'or',
  )}`;
}
