// Solvers by numbers of steps, one seed: a table of pictures that fills while they are made.
import { blobOf, saveAll, uri } from './files.js';
import { noise } from './noise.js';
import { button, enlargeable, pause, plural, roomy } from './parts.js';
import { cancel, Refusal, run } from './stream.js';
import { enlarge } from './viewer.js';

/** Runs at once: the server batches them, and others may want places, too. */
const TOGETHER = 4;
const seconds = (ms) => `${Number((ms / 1000).toPrecision(2))} s`;

export class Grid {
  #element = document.getElementById('grid').content.firstElementChild.cloneNode(true);
  #cells = [];
  #columns = 0;
  #active = new Map();
  #cancelled = false;
  #ratio = 1;
  #actions;

  /** @param actions gives a cell's buttons in the viewer, `{ label, run }`, from its settings and its picture */
  constructor(actions) {
    this.#actions = actions;
    const scroller = this.#find('.scroller');
    // What scrolls can be reached by keys.
    scroller.tabIndex = 0;
    new ResizeObserver(() => this.#fit()).observe(scroller);
    window.addEventListener('resize', () => this.#fit());
  }

  get element() {
    return this.#element;
  }

  /** Has anything been run? */
  get used() {
    return this.#cells.some(({ state }) => state !== 'empty');
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  /**
   * Lays an empty table out.
   *
   * @param rows solvers, `{ value, name }` each
   * @param numbers of steps
   * @param size of the pictures, in pixels
   */
  layOut(rows, numbers, size) {
    this.#ratio = size.width / size.height;
    this.#columns = numbers.length;
    const head = document.createElement('tr');
    head.append(
      Object.assign(document.createElement('td'), { className: 'corner' }),
      ...numbers.map((steps) => header(plural(steps, 'step'), 'col')),
    );
    this.#find('thead').replaceChildren(head);
    this.#cells = [];
    this.#find('tbody').replaceChildren(
      ...rows.map(({ value, name }) => {
        const row = document.createElement('tr');
        row.append(
          header(name, 'row'),
          ...numbers.map((steps) => {
            const element = document.createElement('td');
            const note = document.createElement('span');
            // One seed: all of them begin with the same noise.
            element.append(noise(size, 32, 1), note);
            this.#cells.push({ element, note, solver: value, name, steps, state: 'empty' });
            return element;
          }),
        );
        return row;
      }),
    );
    this.#find('.status').textContent =
      rows.length * numbers.length === 0
        ? 'Choose a solver and a number of steps.'
        : `${rows.length} solvers by ${numbers.length} numbers of steps, all from the same noise.`;
    this.#find('.tools').replaceChildren();
    this.#progress(0);
    this.#fit();
  }

  /** Cells as large as they can be, all of them in sight where the window is large. */
  #fit() {
    const scroller = this.#find('.scroller');
    const rows = this.#find('tbody').children.length;
    if (rows === 0 || this.#columns === 0 || scroller.clientWidth === 0) return;
    const label = this.#find('tbody th').offsetWidth;
    const across = (scroller.clientWidth - label - 8) / this.#columns - 8;
    const height = roomy.matches ? scroller.clientHeight - this.#find('thead').offsetHeight : Number.POSITIVE_INFINITY;
    const down = (height / rows - 30) * this.#ratio;
    const tile = Math.floor(Math.max(56, Math.min(across, down, 260)));
    scroller.style.setProperty('--tile', `${tile}px`);
  }

  #progress(share) {
    const bar = this.#find('.bar');
    bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
    bar.firstElementChild.style.setProperty('--done', share);
    bar.hidden = share === 0;
  }

  /**
   * Draws all cells.
   *
   * @param settingsOf gives the settings of a run, from `{ solver, steps }`
   * @param start what all of them start from, where that is a picture
   * @returns what is said in the end; '' where the server has gone
   */
  async run(settingsOf, start) {
    this.#cancelled = false;
    this.#element.setAttribute('aria-busy', 'true');
    const waiting = [...this.#cells];
    let gone = false;
    const work = async () => {
      for (let cell = waiting.shift(); cell && !this.#cancelled && !gone; cell = waiting.shift()) {
        cell.settings = settingsOf(cell);
        if (!(await this.#draw(cell, start))) gone = true;
        this.#tellProgress();
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, work));
    this.#element.setAttribute('aria-busy', 'false');
    const done = this.#cells.filter(({ state }) => state === 'done');
    const refused = this.#cells.filter(({ state }) => state === 'failed').length;
    const text = [
      gone ? 'The server has gone' : this.#cancelled ? 'Cancelled' : 'Done',
      `${done.length} of ${this.#cells.length} made`,
      ...(refused > 0 ? [`${refused} refused`] : []),
    ].join(', ');
    this.#find('.status').textContent = text;
    if (done.length > 0) this.#offerFiles(done);
    return gone ? '' : text;
  }

  #tellProgress() {
    const over = this.#cells.filter(({ state }) => state === 'done' || state === 'failed').length;
    this.#progress(over / this.#cells.length);
    this.#find('.status').textContent = `${over} of ${this.#cells.length} done`;
  }

  /** @returns false where the server has gone */
  async #draw(cell, start) {
    const controller = new AbortController();
    const entry = { controller };
    this.#active.set(cell, entry);
    cell.element.dataset.state = 'running';
    cell.state = 'running';
    try {
      for (let tries = 0; ; tries++) {
        try {
          return await this.#follow(cell, start, entry);
        } catch (error) {
          // Others have all places: theirs will be free.
          if (!(error instanceof Refusal && error.status === 429 && tries < 20) || this.#cancelled) throw error;
          cell.note.textContent = 'waits';
          await pause(1000 * Math.min(10, error.after ?? 2));
        }
      }
    } catch (error) {
      if (this.#cancelled) return this.#end(cell, 'empty', '');
      if (error instanceof Refusal) return this.#end(cell, 'failed', error.message);
      this.#end(cell, 'failed', 'The server has gone.');
      return false;
    } finally {
      this.#active.delete(cell);
    }
  }

  async #follow(cell, start, entry) {
    for await (const [event, data] of run(cell.settings, start, entry.controller.signal)) {
      if (event === 'queued') {
        entry.id = data.id;
        if (this.#cancelled) cancel(data.id).catch(() => undefined);
      } else if (event === 'started') cell.settings = data.settings;
      else if (event === 'step') {
        if (data.images.length > 0) this.#put(cell, data.images[0]);
        cell.note.textContent = data.steps === 0 ? String(data.step) : `${data.step} of ${data.steps}`;
      } else if (event === 'done') {
        this.#put(cell, data.images[0]);
        Object.assign(cell, { nfe: data.nfe, ms: data.timings.totalMs, blob: blobOf(data.images[0]) });
        return this.#end(cell, 'done', seconds(data.timings.totalMs));
      } else if (event === 'cancelled') return this.#end(cell, 'empty', '');
      else if (event === 'failed') return this.#end(cell, 'failed', data.error);
    }
    throw new TypeError('The stream ended before the run did');
  }

  #end(cell, state, text) {
    cell.state = state;
    cell.element.dataset.state = state;
    cell.note.textContent = state === 'failed' ? 'refused' : text;
    if (state === 'failed') {
      // The sentence is for those who point at it, and for those who listen.
      cell.note.title = text;
      const told = document.createElement('span');
      Object.assign(told, { className: 'unseen', textContent: `: ${text}` });
      cell.note.append(told);
    } else if (state === 'done') this.#describe(cell);
    return true;
  }

  #put(cell, png) {
    if (!cell.image) {
      cell.image = enlargeable(() => this.#enlarge(cell));
      cell.element.querySelector('canvas').replaceWith(cell.image.parentElement);
    }
    cell.image.src = uri(png);
    this.#describe(cell);
  }

  #describe(cell) {
    const { image, name, steps, nfe, ms } = cell;
    const figures = nfe === undefined ? '' : `, ${nfe} evaluations in ${seconds(ms)}`;
    image.alt = `${name}, ${steps} steps${figures}`;
    image.parentElement.setAttribute('aria-label', `Enlarge: ${image.alt}`);
  }

  #file({ solver, steps, settings, blob }) {
    return { name: `${(solver || 'own').replaceAll('+', 'p')}-${steps}-${settings.seed}.png`, blob };
  }

  #enlarge(cell) {
    const shown = this.#cells.filter(({ image }) => image);
    const list = shown.map((one) => ({
      element: one.image,
      title: `${one.name}, ${one.steps} steps`,
      about: [`seed ${one.settings.seed}`, one.nfe && `${one.nfe} evaluations`, one.ms && seconds(one.ms)]
        .filter(Boolean)
        .join(' · '),
      ...(one.blob ? { ...this.#file(one), actions: this.#actions(one.settings, one.blob) } : {}),
    }));
    enlarge(list, shown.indexOf(cell));
  }

  #offerFiles(cells) {
    const name = `dpm-solver-grid-${cells[0].settings.seed}`;
    const save = () =>
      saveAll(
        cells.map((cell) => this.#file(cell)),
        name,
      );
    this.#find('.tools').replaceChildren(button(cells.length === 1 ? 'Save' : 'Save all', save, 'small'));
  }

  cancel() {
    this.#cancelled = true;
    for (const { id, controller } of this.#active.values()) {
      if (id === undefined) controller.abort();
      else cancel(id).catch(() => controller.abort());
    }
  }
}

function header(text, scope) {
  return Object.assign(document.createElement('th'), { textContent: text, scope });
}
