// Open connections, of which there may be so many.
import type { Socket } from 'node:net';

/**
 * Who comes and says nothing, or asks and does not read, must not keep out those who come after: where `most` are open,
 * the one that was of use longest ago makes room for a new one. Those that a run is told over stay: there are no more of
 * them than the queue has places.
 */
export class Connections {
  readonly #most: number;
  /** In the order in which they were last of use. */
  readonly #open = new Set<Socket>();

  constructor(most: number) {
    this.#most = most;
  }

  opened(socket: Socket): void {
    if (this.#open.size >= this.#most) {
      const [oldest] = this.#open;
      this.#open.delete(oldest);
      oldest.destroy();
    }
    this.#open.add(socket);
    socket.on('close', () => this.#open.delete(socket));
  }

  /** A request has come over it. */
  used(socket: Socket): void {
    // A set keeps the order in which things were added.
    if (this.#open.delete(socket)) this.#open.add(socket);
  }

  /** Keeps it until the function that is returned is called. */
  keep(socket: Socket): () => void {
    this.#open.delete(socket);
    return () => {
      if (!socket.destroyed) this.#open.add(socket);
    };
  }
}
