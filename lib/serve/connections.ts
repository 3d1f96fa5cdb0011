// Open connections, of which there may be so many.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** An answer that has not left yet. */
interface Answer {
  response: ServerResponse;
  /** Characters that the response has not been given yet. */
  waiting: () => number;
}

/**
 * Who comes and says nothing, or asks and does not read, must not keep out those who come after: where `most` are open,
 * the one that was of use longest ago makes room for a new one. Those that a run is told over stay: there are no more of
 * them than the queue has places. Nor must what is not read pile up: where it is more than `unread` bytes in all, those
 * that were of use longest ago are cut off, and there is one answer on a connection at a time.
 */
export class Connections {
  readonly #most: number;
  readonly #unread: number;
  /** In the order in which they were last of use. */
  readonly #open = new Set<Socket>();
  readonly #answers = new Map<Socket, Answer>();

  constructor(most: number, unread: number) {
    this.#most = most;
    this.#unread = unread;
  }

  opened(socket: Socket): void {
    if (this.#open.size >= this.#most) {
      const [oldest] = this.#open;
      this.#open.delete(oldest);
      oldest.destroy();
    }
    this.#open.add(socket);
    socket.on('close', () => {
      this.#open.delete(socket);
      this.#answers.delete(socket);
    });
  }

  /**
   * A request has come over it. False where the one before it has not been answered: then the connection is over, since
   * Node would hold the answers to hundreds of requests for a client that reads none, and does not tell of those behind
   * the first that their client has gone.
   */
  used(socket: Socket, response: ServerResponse): boolean {
    if (socket.destroyed || this.#answers.has(socket)) {
      socket.destroy();
      return false;
    }
    this.#answers.set(socket, { response, waiting: () => 0 });
    response.once('close', () => this.#answers.delete(socket));
    // A set keeps the order in which things were added.
    if (this.#open.delete(socket)) this.#open.add(socket);
    this.#trim();
    return true;
  }

  /**
   * Keeps it until the function that is returned is called.
   *
   * @param waiting characters that are still to be written then
   */
  keep(socket: Socket, waiting: () => number): () => void {
    this.#open.delete(socket);
    return () => {
      if (socket.destroyed) return;
      this.#open.add(socket);
      const answer = this.#answers.get(socket);
      if (answer) answer.waiting = waiting;
      this.#trim();
    };
  }

  #trim(): void {
    const sizes = new Map<Socket, number>();
    let sum = 0;
    for (const socket of this.#open) {
      const answer = this.#answers.get(socket);
      const size = answer ? answer.response.writableLength + answer.waiting() : 0;
      if (size > 0) sizes.set(socket, size);
      sum += size;
    }
    for (const [socket, size] of sizes) {
      if (sum <= this.#unread) return;
      sum -= size;
      socket.destroy();
    }
  }
}
