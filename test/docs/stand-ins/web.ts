// What a page has: workers, whose calls are answered at once here.
import type { WorkerLike } from 'dpm-solver/web';

export class Worker implements WorkerLike {
  readonly #listeners: ((event: { data: object }) => void)[] = [];

  constructor(_address: string, _options: { type: 'module' }) {}

  addEventListener(type: 'message' | 'error', listener: (event: never) => void): void {
    if (type === 'message') this.#listeners.push(listener as never);
  }

  postMessage(message: unknown): void {
    const { id } = message as { id: number };
    for (const listener of this.#listeners) listener({ data: { id, result: 'a picture' } });
  }

  terminate(): void {}
}
