// One run as it is seen: its pictures, how far it is, and its figures in the end.
import { noise } from './noise.js';

const format = (value) => (value < 100 ? Number(value.toPrecision(3)) : Math.round(value)).toString();
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const uri = (png) => `data:image/png;base64,${png}`;

export class Pane {
  /** The predictions after each step, picture by picture. */
  #steps = [];
  #files = [];
  #begun = 0;
  #counter = 0;

  constructor(side) {
    this.side = side;
    this.element = document.getElementById('pane').content.firstElementChild.cloneNode(true);
    this.element.dataset.side = side;
    this.range.addEventListener('input', () => this.#show(Number(this.range.value)));
  }

  #find(selector) {
    return this.element.querySelector(selector);
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
    clearInterval(this.#counter);
    this.#find('.bar').hidden = state === 'empty';
  }

  #progress(share) {
    const bar = this.#find('.bar');
    bar.classList.toggle('endless', share === null);
    if (share === null) bar.removeAttribute('aria-valuenow');
    else bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
    bar.firstElementChild.style.setProperty('--done', share ?? 1);
  }

  /** Noise in the places of pictures to come. */
  empty(count, size, text) {
    this.#steps = [];
    this.#files = [];
    this.#find('.timeline').hidden = true;
    this.#find('.figures').hidden = true;
    const pictures = this.#find('.pictures');
    pictures.style.setProperty('--columns', String(Math.ceil(Math.sqrt(count))));
    pictures.replaceChildren(
      ...Array.from({ length: count }, (_, i) => {
        const figure = document.createElement('figure');
        figure.append(noise(Math.min(size, 64), i + 1), document.createElement('figcaption'));
        return figure;
      }),
    );
    this.#progress(0);
    this.#set('empty', text);
  }

  queued(ahead) {
    this.#set('queued', ahead === 0 ? 'Starting…' : `Waiting: ${plural(ahead, 'run')} before this one`);
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
    for (const [i, caption] of [...this.element.querySelectorAll('figcaption')].entries()) {
      const seed = document.createElement('span');
      seed.textContent = `seed ${seeds[i]}`;
      caption.replaceChildren(seed);
    }
  }

  /** @returns the share that is done, or null where nobody knows */
  step({ step, steps, nfe, t, batch, batches, first, images }) {
    this.#steps[step - 1] ??= { t, images: [] };
    for (const [i, image] of images.entries()) {
      this.#steps[step - 1].images[first + i] = image;
      this.#put(first + i, image);
    }
    const share = steps === 0 ? null : (batch + step / steps) / batches;
    this.#progress(share);
    const of = steps === 0 ? `Step ${step}` : `Step ${step} of ${steps}`;
    const part = batches > 1 ? `, batch ${batch + 1} of ${batches}` : '';
    this.#find('.status').textContent = `${of}${part}, ${plural(nfe, 'evaluation')}`;
    return share;
  }

  #put(place, png, caption) {
    const figure = this.#find('.pictures').children[place];
    if (!figure) return;
    let image = figure.querySelector('img');
    if (!image) {
      image = document.createElement('img');
      image.decoding = 'sync';
      image.addEventListener('load', () => image.classList.toggle('coarse', image.naturalWidth <= 128));
      figure.querySelector('canvas')?.replaceWith(image);
    }
    image.src = uri(png);
    image.alt = caption ?? `A picture that is being made: ${this.settings.prompt}`;
  }

  done({ images, width, height, nfe, table, seeds, timings }) {
    this.#files = images;
    for (const [i, png] of images.entries()) {
      this.#put(i, png, `${this.settings.prompt}, seed ${seeds[i]}`);
      const link = document.createElement('a');
      link.href = uri(png);
      link.download = `dpm-solver-${seeds[i]}.png`;
      link.textContent = 'PNG';
      link.setAttribute('aria-label', `Download the picture with seed ${seeds[i]}, ${width} by ${height} pixels`);
      this.element.querySelectorAll('figcaption')[i].append(link);
    }
    this.#progress(1);
    const [from, to] = [seeds[0], seeds[seeds.length - 1]];
    this.#figures([
      ['evaluations (NFE)', String(nfe)],
      ...(table ? [['table', table]] : []),
      ['per network call', `${format(timings.networkMs)} ms`],
      ['per solver step', `${format(timings.stepMs)} ms`],
      ['in all', `${format(timings.totalMs / 1000)} s`],
      [from === to ? 'seed' : 'seeds', from === to ? String(from) : `${from} to ${to}`],
    ]);
    const text = `Done: ${plural(images.length, 'picture')}, ${plural(nfe, 'evaluation')} each`;
    this.#set('done', `${text}, ${format(timings.totalMs / 1000)} s`);
    this.#offerSteps();
    return `${text}, ${format(timings.networkMs)} milliseconds per network call, ${format(timings.stepMs)} per solver step`;
  }

  #figures(pairs) {
    const list = this.#find('.figures');
    list.hidden = false;
    list.replaceChildren(
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
    const shown = step === last && this.#files.length > 0 ? this.#files : images;
    for (const [i, image] of shown.entries()) {
      if (image) this.#put(i, image, `${this.settings.prompt}, as predicted after step ${step}`);
    }
    const text = `${step} of ${last}`;
    this.#find('.timeline output').textContent = text;
    this.range.setAttribute('aria-valuetext', t === undefined ? text : `${text}, time ${t.toFixed(2)}`);
  }

  cancelled() {
    const steps = this.#steps.length;
    const seconds = this.#begun ? ` and ${format((performance.now() - this.#begun) / 1000)} s` : '';
    this.#set('cancelled', steps === 0 ? 'Cancelled' : `Cancelled after ${plural(steps, 'step')}${seconds}`);
    this.#bar();
    this.#offerSteps();
  }

  failed(error) {
    this.#set('failed', error);
    this.#bar();
    this.#offerSteps();
  }

  gone() {
    this.#set('gone', 'The server has gone in the middle of the run.');
    this.#bar();
    this.#offerSteps();
  }

  #bar() {
    this.#find('.bar').classList.remove('endless');
  }
}
