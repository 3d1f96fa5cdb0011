// Packages that only some need: optional peers, loaded on first use, whose absence is one clear sentence.
import { whyNotLoaded } from './text.js';

const loaded = new Map<string, Promise<unknown>>();

/** A package that was asked for is not there, or does not work. */
export class Missing extends Error {
  override name = 'Missing';
}

/**
 * The default export of a package.
 *
 * @param what is done with it, as the beginning of a sentence
 * @param install all that is to be installed for that
 * @throws Missing, which says what to install
 */
export function optional<T>(name: string, what: string, install = name): Promise<T> {
  const found = loaded.get(name) ?? load(name);
  loaded.set(name, found);
  // A failed load is not kept: the package may be installed meanwhile.
  found.catch(() => loaded.delete(name));
  return found.catch((cause: NodeJS.ErrnoException) => {
    throw new Missing(whyNotLoaded(name, what, cause, install), { cause });
  }) as Promise<T>;
}

async function load(name: string): Promise<unknown> {
  const module = (await import(name)) as { default?: unknown };
  return module.default ?? module;
}
