// The server: the models of this machine, and what answers for them.
import { modelName } from '../hub/index.js';
import { Engine } from './engine.js';
import { type Address, answerAt } from './http.js';
import { defaultLimits, type Limits } from './limits.js';
import { type LogLevel, openLog } from './log.js';
import { Memory } from './memory.js';
import type { Model, Place } from './messages.js';
import { all, type Observer } from './observe.js';
import { Queue } from './queue.js';

export interface ServeOptions extends Omit<Place, 'folder'>, Address {
  /** A model's folder; or several, by name. The first draws what asks for none by name. */
  folder: string | Readonly<Record<string, string>>;
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
  const { folder, port, host, hosts, keys, limits: given, log, ...place } = options;
  const limits = { ...defaultLimits, ...given };
  const observers: Observer[] = log ? [await openLog(log)] : [];
  const observer = all(observers);
  const folders = typeof folder === 'string' ? { [modelName(folder)]: folder } : folder;
  const models = Object.entries(folders).map(([id, own]) => ({
    id,
    engine: new Engine({ folder: own, ...pick(place) }, undefined, { name: id, observer }),
  }));
  const engines = models.map(({ engine }) => engine);
  const closed = () => Promise.all(engines.map((one) => one.close()));
  const [engine] = engines;
  const queue = new Queue(limits, observer, new Memory(engines, limits.memory));
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

/** What there is of a place besides its folder. */
export function pick({ device, dtype, memory, maxBatch, reproducible }: Omit<Place, 'folder'>): Omit<Place, 'folder'> {
  return { device, dtype, memory, maxBatch, reproducible };
}
