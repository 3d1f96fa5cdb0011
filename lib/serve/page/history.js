// Runs that are over, kept in this browser: so many, and so many bytes of them; the oldest fall out.

const limits = { name: 'dpm-solver', most: 60, bytes: 64 * 1024 * 1024 };

const asked = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

export class History {
  #database;
  #most;
  #bytes;
  /** What is kept, the newest first. */
  runs = [];
  /** Is it kept for longer than the page is open? */
  lasts = true;

  /** @param given `name` of the database, `most` runs, `bytes` of their pictures */
  constructor(given = {}) {
    const { name, most, bytes } = { ...limits, ...given };
    this.#most = most;
    this.#bytes = bytes;
    this.#database = this.#open(name).catch(() => {
      // Some browsers have no place to keep anything, in private windows above all.
      this.lasts = false;
      return null;
    });
  }

  async #open(name) {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore('runs', { keyPath: 'id', autoIncrement: true });
    const database = await asked(request);
    // Another window that changes it, or takes it away, does not wait for this one.
    database.onversionchange = () => database.close();
    return database;
  }

  async #store(mode) {
    const database = await this.#database;
    try {
      return database?.transaction('runs', mode).objectStore('runs');
    } catch {
      // It was closed by what another window does.
      return undefined;
    }
  }

  /** Reads what is kept: another window may have changed it. */
  async read() {
    const store = await this.#store('readonly');
    if (store) this.runs = (await asked(store.getAll())).reverse();
    return this.runs;
  }

  /**
   * Keeps a run.
   *
   * @param run with `files`, its pictures
   * @returns how many have fallen out
   */
  async add(run) {
    const bytes = run.files.reduce((sum, { size }) => sum + size, 0);
    const kept = { ...run, bytes, at: Date.now() };
    const store = await this.#store('readwrite');
    if (!store) return this.#addHere(kept);
    try {
      await asked(store.add(kept));
    } catch {
      // The disk is full, or a browser keeps no pictures.
      this.lasts = false;
      this.#database = Promise.resolve(null);
      return this.#addHere(kept);
    }
    const all = await asked(store.getAll());
    const out = all.slice(0, this.#tooMany(all));
    for (const { id } of out) await asked(store.delete(id));
    this.runs = all.slice(out.length).reverse();
    return out.length;
  }

  #addHere(kept) {
    const all = [...this.runs].reverse().concat({ ...kept, id: (this.runs[0]?.id ?? 0) + 1 });
    const out = this.#tooMany(all);
    this.runs = all.slice(out).reverse();
    return out;
  }

  /** How many of them, the oldest first, have to go. The newest stays however large it is. */
  #tooMany(runs) {
    let [count, bytes] = [runs.length, runs.reduce((sum, run) => sum + run.bytes, 0)];
    let out = 0;
    while (count > 1 && (count > this.#most || bytes > this.#bytes)) {
      bytes -= runs[out].bytes;
      count--;
      out++;
    }
    return out;
  }

  async remove(id) {
    const store = await this.#store('readwrite');
    if (store) await asked(store.delete(id));
    this.runs = this.runs.filter((run) => run.id !== id);
  }

  async clear() {
    const store = await this.#store('readwrite');
    if (store) await asked(store.clear());
    this.runs = [];
  }
}
