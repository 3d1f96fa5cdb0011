// The history as it is seen: a strip of runs, one of which can be looked at again, and any two side by side.
import { History } from './history.js';
import { button, isCoarse, plural } from './parts.js';

const element = document.getElementById('history');
const find = (selector) => element.querySelector(selector);
const time = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const size = (bytes) => (bytes < 1e5 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** When a run was kept, for people. */
export const when = ({ at }) => time.format(at);

export class Strip {
  #history = new History();
  #urls = new Map();
  /** Runs that are to be compared, the one that was marked first before. */
  #marked = [];
  #shown = [];
  #onShow;
  #say;

  /**
   * @param onShow told which runs, one or two, are to be shown
   * @param say told what those who do not see the strip should hear
   */
  constructor(onShow, say) {
    this.#onShow = onShow;
    this.#say = say;
    find('.clear').addEventListener('click', () => this.#askToClear());
    // Another window may have added to it.
    window.addEventListener('focus', () => this.read());
  }

  async read() {
    const before = this.#ids();
    await this.#history.read();
    if (before !== this.#ids() || before === '') this.#draw();
  }

  #ids() {
    return this.#history.runs.map(({ id }) => id).join();
  }

  /** Keeps a run that is over. */
  async add(run) {
    const out = await this.#history.add(run);
    this.#draw();
    find('.runs').scrollTo({ left: 0 });
    if (out > 0) {
      const text = out === 1 ? 'The oldest run has fallen out.' : `The ${out} oldest runs have fallen out.`;
      find('.note').textContent = text;
    } else find('.note').textContent = '';
  }

  async remove(run) {
    await this.#history.remove(run.id);
    this.#marked = this.#marked.filter((id) => id !== run.id);
    this.#draw();
    this.#say('Removed from the history');
  }

  /** Which runs are shown; none where it is the last one made. */
  set shown(runs) {
    this.#shown = runs.map(({ id }) => id);
    if (runs.length < 2) this.#marked = [];
    this.#draw();
  }

  #askToClear() {
    const button = find('.clear');
    if (button.dataset.sure !== undefined) {
      this.#history.clear().then(() => {
        this.#marked = [];
        this.#draw();
        this.#say('The history is empty');
      });
      return;
    }
    // What cannot be taken back is asked for twice.
    button.dataset.sure = '';
    button.textContent = 'Clear all of it?';
    const calm = () => {
      delete button.dataset.sure;
      button.textContent = 'Clear';
    };
    setTimeout(calm, 5000);
    button.addEventListener('blur', calm, { once: true });
  }

  #draw() {
    const { runs, lasts } = this.#history;
    element.hidden = runs.length === 0;
    const bytes = runs.reduce((sum, run) => sum + run.bytes, 0);
    const where = lasts ? 'kept in this browser' : 'kept while this page is open, as this browser keeps nothing';
    find('.kept').textContent = `${plural(runs.length, 'run')}, ${size(bytes)}, ${where}`;
    const known = new Map([...find('.runs').children].map((item) => [Number(item.dataset.id), item]));
    find('.runs').replaceChildren(...runs.map((run) => known.get(run.id) ?? this.#item(run)));
    for (const [id, url] of this.#urls) {
      if (runs.some((run) => run.id === id)) continue;
      URL.revokeObjectURL(url);
      this.#urls.delete(id);
    }
    for (const item of find('.runs').children) {
      const id = Number(item.dataset.id);
      const shown = this.#shown.includes(id);
      item.querySelector('button').setAttribute('aria-pressed', String(shown));
      item.querySelector('input').checked = this.#marked.includes(id);
    }
    find('.hint').hidden = runs.length < 2;
    find('.hint').textContent =
      this.#marked.length === 1 ? 'Mark one more to compare.' : 'Mark any two to compare them.';
  }

  #item(run) {
    const item = document.createElement('li');
    item.dataset.id = String(run.id);
    const url = URL.createObjectURL(run.files[0]);
    this.#urls.set(run.id, url);
    const about = `${run.settings.prompt || 'no prompt'}, ${run.summary}, ${when(run)}`;
    const show = () => {
      this.#marked = [];
      this.#onShow([this.#of(run.id)]);
    };
    const opens = Object.assign(button('', show, 'bare'), { title: about });
    opens.setAttribute('aria-label', `Show ${run.files.length}: ${about}`);
    const image = document.createElement('img');
    Object.assign(image, { src: url, alt: '', className: isCoarse(run.width) ? 'coarse' : '' });
    opens.append(image);
    if (run.files.length > 1) {
      const count = document.createElement('span');
      count.textContent = String(run.files.length);
      count.setAttribute('aria-hidden', 'true');
      opens.append(count);
    }
    const label = document.createElement('label');
    const mark = document.createElement('input');
    mark.type = 'checkbox';
    mark.setAttribute('aria-label', `Compare ${about}`);
    mark.addEventListener('change', () => this.#mark(run.id, mark.checked));
    label.append(mark);
    item.append(opens, label);
    return item;
  }

  #of(id) {
    return this.#history.runs.find((run) => run.id === id);
  }

  #mark(id, on) {
    // A third one takes the place of the first.
    this.#marked = [...this.#marked.filter((other) => other !== id), ...(on ? [id] : [])].slice(-2);
    if (this.#marked.length === 2) this.#onShow(this.#marked.map((one) => this.#of(one)));
    else this.#draw();
  }
}
