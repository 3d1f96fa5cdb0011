// A mask, painted over a picture with a pointer or with keys.

/** Strokes that can be taken back. */
const UNDOS = 30;

export class Brush {
  /** A byte a pixel: 1 where the picture is made anew. */
  #mask = new Uint8Array(0);
  #width = 0;
  #height = 0;
  #undo = [];
  #element;
  #canvas;
  #ring;
  #last;
  #down = false;
  /** Where the keys have moved it to, in pixels. */
  #at = { x: 0, y: 0 };
  #say;
  #onChange;
  erases = false;
  /** Pixels across. */
  size = 1;

  /**
   * @param element lies over the picture, and has a canvas
   * @param ring shows where the brush is, and how large
   * @param onChange told after every change
   * @param say told what keys have done
   */
  constructor(element, ring, onChange, say) {
    this.#element = element;
    element.tabIndex = 0;
    this.#canvas = element.querySelector('canvas');
    this.#ring = ring;
    this.#onChange = onChange;
    this.#say = say;
    element.addEventListener('pointerdown', (event) => this.#begin(event));
    element.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of ['pointerup', 'pointercancel']) element.addEventListener(name, () => this.#end());
    element.addEventListener('pointerleave', () => this.#hideRing());
    element.addEventListener('blur', () => {
      this.#down = false;
      this.#hideRing();
    });
    element.addEventListener('focus', () => {
      if (element.matches(':focus-visible')) this.#showRing(this.#at);
    });
    element.addEventListener('keydown', (event) => this.#key(event));
  }

  /** An empty mask for a picture of this size. */
  begin(width, height) {
    this.#mask = new Uint8Array(width * height);
    [this.#width, this.#height] = [width, height];
    Object.assign(this.#canvas, { width, height });
    this.#at = { x: width / 2, y: height / 2 };
    this.#undo = [];
    this.#draw();
  }

  get empty() {
    return !this.#mask.includes(1);
  }

  get canUndo() {
    return this.#undo.length > 0;
  }

  clear() {
    this.#change(() => this.#mask.fill(0));
  }

  invert() {
    this.#change(() => {
      for (let i = 0; i < this.#mask.length; i++) this.#mask[i] ^= 1;
    });
  }

  undo() {
    const before = this.#undo.pop();
    if (before) this.#mask = before;
    this.#draw();
  }

  #change(how) {
    this.#remember();
    how();
    this.#draw();
  }

  #remember() {
    this.#undo.push(this.#mask.slice());
    if (this.#undo.length > UNDOS) this.#undo.shift();
  }

  /** The mask as a file, transparent where the picture is made anew. */
  async blob() {
    const canvas = new OffscreenCanvas(this.#width, this.#height);
    const image = new ImageData(this.#width, this.#height);
    for (let i = 0; i < this.#mask.length; i++) image.data[4 * i + 3] = this.#mask[i] ? 0 : 255;
    canvas.getContext('2d').putImageData(image, 0, 0);
    return canvas.convertToBlob({ type: 'image/png' });
  }

  /** Takes a mask that {@link blob} made. */
  async restore(blob) {
    const bitmap = await createImageBitmap(blob);
    this.begin(bitmap.width, bitmap.height);
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    for (let i = 0; i < this.#mask.length; i++) this.#mask[i] = data[4 * i + 3] < 128 ? 1 : 0;
    this.#draw();
  }

  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#element.focus({ preventScroll: true });
    this.#element.setPointerCapture(event.pointerId);
    this.#remember();
    this.#last = this.#place(event);
    this.#stroke(this.#last, this.#last);
  }

  #move(event) {
    const place = this.#place(event);
    this.#showRing(place);
    if (!this.#last) return;
    this.#stroke(this.#last, place);
    this.#last = place;
  }

  #end() {
    this.#last = undefined;
    this.#onChange();
  }

  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return { x: ((clientX - left) / width) * this.#width, y: ((clientY - top) / height) * this.#height };
  }

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = Math.max(1, this.size / (event.shiftKey ? 1 : 4));
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      const clamp = (value, most) => Math.min(most, Math.max(0, value));
      const to = { x: clamp(this.#at.x + x * step, this.#width), y: clamp(this.#at.y + y * step, this.#height) };
      if (this.#down) this.#stroke(this.#at, to);
      this.#at = to;
    } else if (event.key === ' ') {
      this.#down = !this.#down;
      if (this.#down) {
        this.#remember();
        this.#stroke(this.#at, this.#at);
      }
      this.#say(this.#down ? `The brush is down and ${this.erases ? 'erases' : 'paints'}` : 'The brush is up');
    } else if (event.key === '[' || event.key === ']') {
      this.size = Math.min(
        Math.max(1, this.size * (event.key === '[' ? 0.8 : 1.25)),
        Math.max(this.#width, this.#height),
      );
    } else if (event.key === 'z' && (event.ctrlKey || event.metaKey)) this.undo();
    else return;
    event.preventDefault();
    this.#showRing(this.#at);
    this.#onChange();
  }

  /** Everything within half the size of a line is painted, or erased. */
  #stroke(from, to) {
    const radius = this.size / 2;
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    const value = this.erases ? 0 : 1;
    const range = (a, b, most) => [
      Math.max(0, Math.floor(Math.min(a, b) - radius)),
      Math.min(most, Math.ceil(Math.max(a, b) + radius)),
    ];
    const [left, right] = range(from.x, to.x, this.#width);
    const [top, bottom] = range(from.y, to.y, this.#height);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
        const along = length === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / length));
        // A brush smaller than a pixel paints the one that it is in.
        if (Math.hypot(px - along * dx, py - along * dy) <= Math.max(radius, 0.71))
          this.#mask[y * this.#width + x] = value;
      }
    }
    this.#draw();
  }

  #draw() {
    const image = new ImageData(this.#width || 1, this.#height || 1);
    const words = new Uint32Array(image.data.buffer);
    // Stripes of two colours, one of which stands out from any picture: red, green, blue and opacity.
    const colours = new Uint32Array(new Uint8Array([214, 40, 160, 200, 255, 255, 255, 170]).buffer);
    const stripe = Math.max(1, Math.round(this.#width / 64));
    for (let i = 0; i < this.#mask.length; i++) {
      const across = (i % this.#width) + Math.floor(i / this.#width);
      if (this.#mask[i]) words[i] = colours[Math.floor(across / stripe) % 2];
    }
    this.#canvas.getContext('2d').putImageData(image, 0, 0);
    if (!this.#last) this.#onChange();
  }

  #showRing({ x, y }) {
    const { style } = this.#ring;
    this.#ring.hidden = false;
    style.left = `${(100 * x) / this.#width}%`;
    style.top = `${(100 * y) / this.#height}%`;
    style.width = `${(100 * this.size) / this.#width}%`;
  }

  #hideRing() {
    if (!this.#last) this.#ring.hidden = true;
  }
}
