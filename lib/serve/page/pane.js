// One run as it is seen: its pictures, how far it is, and its figures.
import { blobOf, saveAll, uri } from './files.js';
import { noise } from './noise.js';
import { button, enlargeable, plural, roomy } from './parts.js';
import { enlarge } from './viewer.js';

const format = (value) => (value < 100 ? Number(value.toPrecision(3)) : Math.round(value)).toString();
const GAP = 12;

export class Pane {
  /** The predictions after each step, picture by picture. */
  #steps = [];
  /** The results: `{ blob, src }` each. */
  #files = [];
  #begun = 0;
  #counter = 0;
  #ratio = 1;
  /** Pixels. */
  #made = {};
  #told = {};
  #onStart;

  /** @param onStart told of a picture that a run is to start from */
  constructor(side, onStart) {
    this.side = side;
    this.#onStart = onStart;
    this.element = document.getElementById('pane').content.firstElementChild.cloneNode(true);
    this.element.dataset.side = side;
    this.range.addEventListener('input', () => this.#show(Number(this.range.value)));
    new ResizeObserver(() => this.#fit()).observe(this.#pictures);
    window.addEventListener('resize', () => this.#fit());
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  get #pictures() {
    return this.#find('.pictures');
  }

  get range() {
    return this.#find('.timeline input');
  }

  get state() {
    return this.element.dataset.state;
  }

  /** @param tag A or B where there are two */
  title(tag, summary) {
    this.#find('.tag').textContent = tag;
    this.#find('.summary').textContent = summary;
    this.element.setAttribute('aria-label', tag ? `Settings ${tag}` : 'Pictures');
  }

  #set(state, text) {
    this.element.dataset.state = state;
    this.#find('.status').textContent = text;
    const busy = state === 'queued' || state === 'running';
    this.element.setAttribute('aria-busy', String(busy));
    if (!busy) clearInterval(this.#counter);
    this.#find('.bar').hidden = state === 'empty' || state === 'kept';
  }

  #progress(share) {
    const bar = this.#find('.bar');
    bar.classList.toggle('endless', share === null);
    if (share === null) bar.removeAttribute('aria-valuenow');
    else bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
    bar.firstElementChild.style.setProperty('--done', share ?? 1);
  }

  /** As large as all of them can be: of every number of columns the best. */
  #fit() {
    const { clientWidth: width, clientHeight, children } = this.#pictures;
    const count = children.length;
    if (count === 0 || width === 0) return;
    const caption = 26;
    // Where the page grows, no more than a window of pictures.
    const height = roomy.matches ? clientHeight : 0.86 * window.innerHeight;
    let best = { columns: 1, tile: 0 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const across = (width - (columns - 1) * GAP) / columns;
      const down = ((height - (rows - 1) * 8) / rows - caption) * this.#ratio;
      const tile = Math.floor(Math.min(across, Math.max(down, 48)));
      if (tile > best.tile) best = { columns, tile };
    }
    this.#pictures.style.setProperty('--columns', String(best.columns));
    this.#pictures.style.setProperty('--tile', `${best.tile}px`);
  }

  /** Noise in the places of pictures to come. */
  empty(count, { width, height }, text) {
    clearInterval(this.#counter);
    for (const { src } of this.#files) if (src.startsWith('blob:')) URL.revokeObjectURL(src);
    this.#steps = [];
    this.#files = [];
    this.#made = { width, height };
    this.#begun = 0;
    this.#ratio = width / height;
    this.#find('.timeline').hidden = true;
    this.#find('.tools').replaceChildren();
    this.#pictures.replaceChildren(
      ...Array.from({ length: count }, (_, i) => {
        const figure = document.createElement('figure');
        figure.append(noise({ width, height }, 64, i + 1), document.createElement('figcaption'));
        return figure;
      }),
    );
    this.#fit();
    this.#progress(0);
    this.#tell({});
    this.#set('empty', text);
  }

  queued({ ahead, seconds }) {
    const begins = seconds > 0 ? `, begins in about ${plural(seconds, 'second')}` : '';
    this.#set('queued', ahead === 0 ? 'Starting…' : `Waiting: ${plural(ahead, 'run')} before this one${begins}`);
    this.#progress(0);
  }

  loading({ model, done, of }) {
    this.#set('queued', `Loading ${model}: ${Math.floor((100 * done) / of)} %`);
  }

  started({ seeds, settings }) {
    this.settings = settings;
    this.seeds = seeds;
    this.#begun = performance.now();
    this.#set('running', 'Running…');
    this.#captions();
    this.#tell({ seeds });
    // Between two steps of a large network minutes may pass.
    this.#counter = setInterval(() => this.#tell({ totalMs: performance.now() - this.#begun }), 500);
  }

  #captions() {
    for (const [i, caption] of [...this.element.querySelectorAll('figcaption')].entries()) {
      const seed = document.createElement('span');
      seed.textContent = `seed ${this.seeds[i]}`;
      caption.replaceChildren(seed);
    }
  }

  /** @returns the share that is done, or null where nobody knows */
  step({ step, steps, nfe, t, batch, batches, first, ms, images }) {
    this.#steps[step - 1] ??= { t, images: [] };
    for (const [i, image] of images.entries()) {
      this.#steps[step - 1].images[first + i] = image;
      this.#put(first + i, uri(image));
    }
    const share = steps === 0 ? null : (batch + step / steps) / batches;
    this.#progress(share);
    this.#tell({ nfe, totalMs: ms });
    const of = steps === 0 ? `Step ${step}` : `Step ${step} of ${steps}`;
    const part = batches > 1 ? `, batch ${batch + 1} of ${batches}` : '';
    this.#find('.status').textContent = `${of}${part}, ${plural(nfe, 'evaluation')}`;
    return share;
  }

  #put(place, src, caption) {
    const figure = this.#pictures.children[place];
    if (!figure) return;
    let image = figure.querySelector('img');
    if (!image) {
      image = enlargeable(() => this.#enlarge(place));
      figure.querySelector('canvas')?.replaceWith(image.parentElement);
    }
    image.src = src;
    image.alt = caption ?? `A picture that is being made: ${this.settings.prompt}`;
    image.parentElement.setAttribute('aria-label', `Enlarge: ${image.alt}`);
  }

  #enlarge(place) {
    const { prompt } = this.settings;
    const { width, height } = this.#made;
    const size = ` · ${width} × ${height}`;
    const list = [...this.#pictures.querySelectorAll('figure:has(img)')].map((figure) => {
      const i = [...this.#pictures.children].indexOf(figure);
      const element = figure.querySelector('img');
      const about = `seed ${this.seeds[i]}${size} · ${this.#find('.summary').textContent}`;
      const file = this.file(i);
      const actions = file ? [{ label: 'Start from this', run: () => this.#onStart(file.blob) }] : [];
      return { element, title: prompt, about, ...file, actions, i };
    });
    enlarge(
      list,
      list.findIndex(({ i }) => i === place),
    );
  }

  /** What the history keeps of a run that is over. */
  record() {
    const { nfe, table, networkMs, stepMs, totalMs } = this.#told;
    return {
      settings: this.settings,
      seeds: this.seeds,
      ...this.#made,
      nfe,
      table,
      timings: { networkMs, stepMs, totalMs },
      summary: this.#find('.summary').textContent,
      files: this.#files.map(({ blob }) => blob),
    };
  }

  /**
   * Shows a run that {@link record} was kept of.
   *
   * @param tag A or B where there are two
   * @param status what is said of it
   * @param actions `{ label, run }`, for buttons
   */
  show(run, tag, status, actions) {
    this.empty(run.files.length, run, '');
    this.title(tag, run.summary);
    this.settings = run.settings;
    this.seeds = run.seeds;
    this.#captions();
    const { timings, ...rest } = run;
    this.#finish({ ...rest, timings, files: run.files.map((blob) => ({ blob, src: URL.createObjectURL(blob) })) });
    for (const action of actions) this.#tool(action.label, action.run);
    this.#set('kept', status);
  }

  /** A result's name and bytes; nothing before it is there. */
  file(i) {
    const made = this.#files[i];
    return made && { name: `dpm-solver-${this.seeds[i]}.png`, blob: made.blob };
  }

  done(data) {
    const { images, nfe, timings } = data;
    this.#finish({ ...data, files: images.map((png) => ({ blob: blobOf(png), src: uri(png) })) });
    const text = `Done: ${plural(images.length, 'picture')}, ${plural(nfe, 'evaluation')} each`;
    this.#set('done', `${text}, ${format(timings.totalMs / 1000)} s`);
    this.#offerSteps();
    return `${text}, ${format(timings.networkMs)} milliseconds per network call, ${format(timings.stepMs)} per solver step`;
  }

  /** The results, and what there is to do with them. */
  #finish({ files, width, height, nfe, table, seeds, timings }) {
    this.#files = files;
    this.#made = { width, height };
    this.#ratio = width / height;
    for (const [i, { src }] of files.entries()) {
      this.#put(i, src, `${this.settings.prompt}, seed ${seeds[i]}`);
      const link = document.createElement('a');
      Object.assign(link, { href: src, download: this.file(i).name, textContent: 'PNG' });
      link.setAttribute('aria-label', `PNG of the picture with seed ${seeds[i]}, ${width} by ${height} pixels`);
      this.element.querySelectorAll('figcaption')[i].append(link);
    }
    this.#fit();
    this.#progress(1);
    clearInterval(this.#counter);
    this.#tell({ nfe, table, seeds, ...timings });
    this.#tool(files.length === 1 ? 'Save' : 'Save all', () =>
      saveAll(
        files.map((_, i) => this.file(i)),
        `dpm-solver-${seeds[0]}-${seeds.at(-1)}`,
      ),
    );
  }

  /** A button beside the title. */
  #tool(label, run) {
    this.#find('.tools').append(button(label, run, 'small'));
  }

  /** The figures: what is told stays until another value comes; nothing at all begins anew. */
  #tell(figures) {
    const known = Object.keys(figures).length === 0 ? {} : { ...this.#told, ...figures };
    this.#told = known;
    const { nfe, table, networkMs, stepMs, totalMs, seeds } = known;
    const { width, height } = this.#made;
    const some = (value, text) => (value === undefined ? '–' : text(value));
    const pairs = [
      ['evaluations (NFE)', some(nfe, String)],
      ['in all', some(totalMs, (ms) => `${format(ms / 1000)} s`)],
      ['per network call', some(networkMs, (ms) => `${format(ms)} ms`)],
      ['per solver step', some(stepMs, (ms) => `${format(ms)} ms`)],
      [
        seeds?.length === 1 ? 'seed' : 'seeds',
        some(seeds, (list) => (list.length === 1 ? String(list[0]) : `${list[0]} to ${list.at(-1)}`)),
      ],
      ['pixels', `${width} × ${height}`],
      ...(table ? [['table', table]] : []),
    ];
    this.#find('.figures').replaceChildren(
      ...pairs.map(([name, value]) => {
        const [term, definition] = [document.createElement('dt'), document.createElement('dd')];
        const group = document.createElement('div');
        term.textContent = name;
        definition.textContent = value;
        group.append(term, definition);
        return group;
      }),
    );
  }

  /** What the network thought on the way can be looked at again. */
  #offerSteps() {
    if (this.#steps.length < 2) return;
    this.#find('.timeline').hidden = false;
    this.range.max = String(this.#steps.length);
    this.range.value = String(this.#steps.length);
    this.#show(this.#steps.length);
  }

  #show(step) {
    const last = this.#steps.length;
    const { t, images } = this.#steps[step - 1] ?? { images: [] };
    // The result itself stands for the last step, which it may differ from by a denoising.
    const shown = step === last && this.#files.length > 0 ? this.#files.map(({ src }) => src) : images.map(uri);
    for (const [i, src] of shown.entries()) {
      const result = step === last && this.#files.length > 0;
      const which = result ? `seed ${this.seeds[i]}` : `as predicted after step ${step}`;
      if (src) this.#put(i, src, `${this.settings.prompt}, ${which}`);
    }
    const text = `${step} of ${last}`;
    this.#find('.timeline output').textContent = text;
    this.range.setAttribute('aria-valuetext', t === undefined ? text : `${text}, time ${t.toFixed(2)}`);
  }

  cancelled() {
    const steps = this.#steps.length;
    const seconds = this.#begun ? ` and ${format((performance.now() - this.#begun) / 1000)} s` : '';
    this.#stop('cancelled', steps === 0 ? 'Cancelled' : `Cancelled after ${plural(steps, 'step')}${seconds}`);
  }

  failed(error) {
    this.#stop('failed', error);
  }

  gone() {
    this.#stop('gone', 'The server has gone in the middle of the run.');
  }

  #stop(state, text) {
    this.#set(state, text);
    this.#find('.bar').classList.remove('endless');
    this.#offerSteps();
  }
}
