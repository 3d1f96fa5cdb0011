// The models that this machine draws with, a process each, and the queue of their runs.
import { modelName } from '../hub/index.js';
import { Engine } from './engine.js';
import type { Limits } from './limits.js';
import { Memory } from './memory.js';
import type { Place } from './messages.js';
import type { Observer } from './observe.js';
import { Queue } from './queue.js';

export interface LocalOptions extends Omit<Place, 'folder'> {
  /** A model's folder; or several, by name. The first draws what asks for none by name. */
  folder: string | Readonly<Record<string, string>>;
}

/** A model by its name, where it lies, and the process that draws with it. */
export interface Own {
  id: string;
  folder: string;
  engine: Engine;
}

export interface Local {
  readonly models: readonly Own[];
  readonly engines: readonly Engine[];
  readonly queue: Queue;
  /** Ends all processes. */
  close(): Promise<unknown>;
}

/** Nothing is loaded before the queue is told to, {@link Queue.openAll}. */
export function openLocal(options: LocalOptions, limits: Limits, observer: Observer): Local {
  const { folder: given, device, dtype, memory, maxBatch, reproducible } = options;
  const folders = typeof given === 'string' ? { [modelName(given)]: given } : given;
  const models = Object.entries(folders).map(([id, folder]) => {
    const place = { folder, device, dtype, memory, maxBatch, reproducible };
    return { id, folder, engine: new Engine(place, undefined, { name: id, observer }) };
  });
  const engines = models.map(({ engine }) => engine);
  return {
    models,
    engines,
    queue: new Queue(limits, observer, new Memory(engines, limits.memory)),
    close: () => Promise.all(engines.map((engine) => engine.close())),
  };
}
