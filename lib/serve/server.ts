// The server: the models of this machine, and what answers for them.
import type { Engine } from './engine.js';
import { type Address, answerAt } from './http.js';
import { defaultLimits, type Limits } from './limits.js';
import { type LocalOptions, openLocal } from './local.js';
import { type LogLevel, openLog } from './log.js';
import type { Model } from './messages.js';
import { all, type Observer } from './observe.js';

export interface ServeOptions extends LocalOptions, Address {
  limits?: Partial<Limits>;
  /** What is written to the standard error output, as JSON; nothing where absent. */
  log?: LogLevel;
}

export interface Serving {
  url: string;
  model: Model;
  /** Names of models that there was no room for: they are loaded when somebody asks for them. */
  released: string[];
  /** The process that draws, for tests. @internal */
  engine: Engine;
  /** Takes no more runs, and waits for those that are here for so many seconds at most. */
  drain(seconds: number): Promise<void>;
  /** Ends all runs and connections. */
  close(): Promise<void>;
}

/**
 * Loads a model and serves the page that plays with it.
 *
 * @throws Error in one sentence for a model that cannot be loaded, or a port that cannot be had
 */
export async function startServer(options: ServeOptions): Promise<Serving> {
  const { port, host, hosts, keys, limits: given, log, ...own } = options;
  const limits = { ...defaultLimits, ...given };
  const observers: Observer[] = log ? [await openLog(log)] : [];
  const observer = all(observers);
  const { models, engines, queue, close: closed } = openLocal(own, limits, observer);
  const [engine] = engines;
  // A port that is taken is told before a model is loaded.
  const http = await answerAt({ port, host, hosts, keys }, { models, queue, limits, observer, observers });
  try {
    await queue.openAll(engines);
  } catch (error) {
    await http.close(closed());
    throw error;
  }
  return {
    url: http.url,
    model: engine.about as Model,
    released: models.filter((one) => one.engine.released).map(({ id }) => id),
    engine,
    drain: (seconds) => queue.drain(seconds * 1000),
    close() {
      queue.close();
      return http.close(closed());
    },
  };
}
