// What a run starts from: noise, or a picture, of which a part may be made anew.
import { Brush } from './brush.js';
import { isCoarse } from './parts.js';

const $ = (id) => document.getElementById(id);
/** What there is to be said for each kind, once there is a picture. */
const hints = {
  image: 'Noise is added to this picture and taken away again under the prompt.',
  inpaint:
    'Paint over what is to be made anew. Arrow keys move the brush, Space sets it down, [ and ] change its size.',
  edit: 'What the two prompts tell apart is found and made anew; the rest stays as it is.',
};
/** How much is made anew, where nobody has said. */
const usual = { image: 0.8, inpaint: 1, edit: 1 };

export class Start {
  #form;
  #brush;
  /** The picture as it came, and cut to size as a PNG file. */
  #original;
  #file;
  #size;
  #touched = false;

  /**
   * @param form with the controls
   * @param size gives what the pictures would be, in pixels
   * @param say told what happened
   */
  constructor(form, size, say) {
    this.#form = form;
    this.#size = size;
    this.#brush = new Brush($('mask'), $('ring'), () => this.#refresh(), say);
    for (const radio of form.elements.kind) radio.addEventListener('change', () => this.#kindChanged());
    $('file').addEventListener('change', () => {
      this.take($('file').files[0]);
      // The same one can be chosen again.
      $('file').value = '';
    });
    for (const [id, act] of [
      ['undo', () => this.#brush.undo()],
      ['clear-mask', () => this.#brush.clear()],
      ['invert', () => this.#brush.invert()],
    ]) {
      $(id).addEventListener('click', () => {
        act();
        this.#refresh();
      });
    }
    for (const radio of form.elements.tool) {
      radio.addEventListener('change', () => {
        this.#brush.erases = form.elements.tool.value === 'erase';
      });
    }
    form.elements.brush.addEventListener('input', () => {
      this.#brush.size = Number(form.elements.brush.value);
    });
    form.elements.strength.addEventListener('input', () => {
      this.#touched = true;
      this.#refresh();
    });
    const place = $('start');
    place.addEventListener('dragover', (event) => event.preventDefault());
    place.addEventListener('drop', (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length > 0) this.take(event.dataTransfer.files[0]);
    });
    document.addEventListener('paste', (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
      if (file && this.kind !== 'text') this.take(file);
    });
    this.#kindChanged();
  }

  /** 'text', 'image', 'inpaint' or 'edit'. */
  get kind() {
    return this.#form.elements.kind.value;
  }

  set kind(value) {
    this.#form.elements.kind.value = value;
    this.#kindChanged();
  }

  #kindChanged() {
    const { kind } = this;
    $('start').hidden = kind === 'text';
    $('start').dataset.kind = kind;
    if (!this.#touched && kind !== 'text') this.#form.elements.strength.value = String(usual[kind]);
    this.#refresh();
  }

  #refresh() {
    const { kind } = this;
    const { strength, brush } = this.#form.elements;
    const has = this.#file !== undefined;
    $('easel').hidden = !has;
    $('none').hidden = has;
    $('brushes').hidden = kind !== 'inpaint' || !has;
    $('mask').hidden = kind !== 'inpaint';
    $('start-source').hidden = kind !== 'edit';
    $('start-hint').textContent = has ? (hints[kind] ?? '') : '';
    $('strength-shown').textContent = `${Math.round(100 * Number(strength.value))} %`;
    $('undo').disabled = !this.#brush.canUndo;
    brush.value = String(this.#brush.size);
    $('file').setCustomValidity('');
  }

  /** Starts from this picture, whatever its size: the middle of it is taken. */
  async take(blob) {
    if (!blob) return;
    try {
      this.#original = await createImageBitmap(blob);
    } catch {
      $('start-hint').textContent = 'The browser cannot read this file as a picture.';
      return;
    }
    if (this.kind === 'text') this.kind = 'image';
    await this.cut();
  }

  /** Cuts the picture to the size that is asked for; its mask is lost where that is another one. */
  async cut() {
    if (!this.#original) return;
    const { width, height } = this.#size();
    const canvas = $('start-picture');
    const same = canvas.width === width && canvas.height === height && this.#file !== undefined;
    Object.assign(canvas, { width, height });
    for (const one of [canvas, $('mask')]) one.classList.toggle('coarse', isCoarse(width));
    const scale = Math.max(width / this.#original.width, height / this.#original.height);
    const [w, h] = [this.#original.width * scale, this.#original.height * scale];
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, height);
    context.drawImage(this.#original, (width - w) / 2, (height - h) / 2, w, h);
    this.#file = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    if (!same) {
      this.#brush.begin(width, height);
      this.#brush.size = Math.max(1, Math.round(Math.max(width, height) / 6));
      this.#form.elements.brush.max = String(Math.round(Math.max(width, height) / 2));
    }
    this.#refresh();
  }

  /** A word or two for a title; '' for noise. */
  get summary() {
    const { kind } = this;
    if (kind === 'text') return '';
    const word = { image: 'from a picture', inpaint: 'a part anew', edit: 'edited' }[kind];
    return `${word}, ${$('strength-shown').textContent}`;
  }

  /** Said where the picture is. */
  say(sentence) {
    $('start-hint').textContent = sentence;
    $('start').scrollIntoView({ block: 'nearest' });
  }

  /** The settings of a run from here: an edit makes one picture. */
  adapt(settings) {
    return this.kind === 'edit' ? { ...settings, count: 1 } : settings;
  }

  /** What keeps a run from being made, in one sentence; '' for nothing. */
  get refusal() {
    const { kind } = this;
    if (kind === 'text') return '';
    if (!this.#file) return 'Choose a picture to start from.';
    if (kind === 'inpaint' && this.#brush.empty) return 'Paint over what is to be made anew.';
    if (kind === 'edit' && this.#form.elements.source.value.trim() === '') return 'Say what the picture shows now.';
    return '';
  }

  /** What a run starts from, as the server and the history take it; undefined for noise. */
  async read() {
    const { kind } = this;
    if (kind === 'text') return undefined;
    const { strength, source } = this.#form.elements;
    return {
      kind,
      image: this.#file,
      ...(kind === 'inpaint' ? { mask: await this.#brush.blob() } : {}),
      ...(kind === 'edit' ? { source: source.value.trim() } : {}),
      strength: Number(strength.value),
    };
  }

  /** Takes what {@link read} gave. */
  async restore(start) {
    if (!start) {
      this.kind = 'text';
      return;
    }
    const { kind, image, mask, source, strength } = start;
    this.kind = kind;
    this.#original = await createImageBitmap(image);
    await this.cut();
    if (mask) await this.#brush.restore(mask);
    if (source !== undefined) this.#form.elements.source.value = source;
    this.#touched = true;
    this.#form.elements.strength.value = String(strength);
    this.#refresh();
  }
}
