// Whose turn it is among those who wait: fair by the work that they ask for, not by how often they ask.

/** Who asks. One client has no more than its share of the places, whoever it asks for. */
export interface Client {
  /** A key's name, or an address. */
  id: string;
  /** Whom it asks for: the users of one client take turns with each other. */
  user?: string;
}

/** Who takes turns with whom, as one word. */
export const keyOf = ({ id, user = '' }: Client): string => JSON.stringify([id, user]);

interface Waiting {
  readonly client: Client;
  readonly work: number;
}

/** Of all, of one client, or of one user of a client. */
class Account {
  /** What has been done for it. */
  spent = 0;
  /** What had been done for that one of its parts whose turn was last. */
  clock = 0;
  readonly parts = new Map<string, Account>();

  part(name: string): Account {
    const found = this.parts.get(name) ?? new Account();
    this.parts.set(name, found);
    return found;
  }

  /** Those that do not wait, and are not ahead of the others, say nothing; of any others the oldest give way. */
  forget(waiting: ReadonlySet<Account>): void {
    for (const [name, part] of this.parts) {
      const idle = !waiting.has(part);
      if (idle && (part.spent <= this.clock || this.parts.size > MOST_ACCOUNTS)) this.parts.delete(name);
    }
  }
}

const MOST_ACCOUNTS = 1024;

/**
 * Those who wait, in the order in which they would be taken: the client that least has been done for comes first, of its
 * users the one that least has been done for, and of what one user asks for the oldest (start-time fair queueing, Goyal,
 * Vin and Cheng 1996). Who comes anew begins where the others stand, so that no credit is saved up.
 */
export class Turns<T extends Waiting> implements Iterable<T> {
  readonly #entries: T[] = [];
  readonly #all = new Account();

  get size(): number {
    return this.#entries.length;
  }

  add(entry: T): void {
    const waiting = this.#accounts();
    const [client, user] = this.#of(entry);
    if (!waiting.has(client)) client.spent = Math.max(client.spent, this.#all.clock);
    if (!waiting.has(user)) user.spent = Math.max(user.spent, client.clock);
    this.#entries.push(entry);
  }

  /** Its turn has come. */
  take(entry: T): void {
    this.remove((other) => other === entry);
    const [client, user] = this.#of(entry);
    this.#all.clock = client.spent;
    client.clock = user.spent;
    client.spent += entry.work;
    user.spent += entry.work;
    const waiting = this.#accounts();
    for (const account of [this.#all, ...this.#all.parts.values()]) account.forget(waiting);
  }

  /** Takes out the one that this holds for. */
  remove(which: (entry: T) => boolean): T | undefined {
    const at = this.#entries.findIndex(which);
    return at < 0 ? undefined : this.#entries.splice(at, 1)[0];
  }

  clear(): void {
    this.#entries.length = 0;
  }

  *[Symbol.iterator](): Iterator<T> {
    const left = [...this.#entries];
    const spent = new Map<Account, number>();
    const of = (account: Account) => spent.get(account) ?? account.spent;
    while (left.length > 0) {
      let best = 0;
      for (let i = 1; i < left.length; i++) {
        const [client, user] = this.#of(left[i]);
        const [bestClient, bestUser] = this.#of(left[best]);
        if (of(client) < of(bestClient) || (client === bestClient && of(user) < of(bestUser))) best = i;
      }
      const [entry] = left.splice(best, 1);
      for (const account of this.#of(entry)) spent.set(account, of(account) + entry.work);
      yield entry;
    }
  }

  #of({ client: { id, user = '' } }: T): [client: Account, user: Account] {
    const client = this.#all.part(id);
    return [client, client.part(user)];
  }

  #accounts(): Set<Account> {
    return new Set(this.#entries.flatMap((entry) => this.#of(entry)));
  }
}
