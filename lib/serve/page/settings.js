// The form: from its controls to settings, and to a link and back.
import { plural } from './parts.js';

/** Solvers with an order and a grid of their own. */
const fixed = ['ddim', 'pndm', 'deis', 'unipc'];
const shared = ['prompt', 'negativePrompt', 'seed', 'count', 'width', 'height'];
const each = ['solver', 'order', 'steps', 'guidance', 'thresholding', 'method', 'skipType', 'denoiseToZero'];

/** Those that are on or off: what says nothing of them has them off. */
const flags = ['thresholding', 'denoiseToZero'];
/** What a link calls a setting of a side. */
const keyOf = (side, name) => (side === 'a' ? name : `b.${name}`);

/** Of the grid. */
const MOST_COLUMNS = 12;

export class Settings {
  /** Has somebody, or a link, said what B is? */
  #chosen = false;

  constructor(form) {
    this.form = form;
    this.sides = { a: this.#addSide('a'), b: this.#addSide('b') };
    this.sides.b.hidden = true;
    this.#addSolvers();
    for (const radio of form.elements.view) radio.addEventListener('change', () => this.#viewChanged());
  }

  /** A solver each, to be taken into the grid. */
  #addSolvers() {
    const usual = ['', 'dpmsolver++', 'unipc', 'ddim'];
    document.querySelector('#grid-controls .chips > div').append(
      ...[...this.#control('a', 'solver').options].map(({ value, textContent }) => {
        const label = document.createElement('label');
        const box = Object.assign(document.createElement('input'), { type: 'checkbox', name: 'solvers', value });
        box.checked = usual.includes(value);
        label.append(box, Object.assign(document.createElement('span'), { textContent }));
        return label;
      }),
    );
    this.form.elements.numbers.addEventListener('input', ({ target }) =>
      target.setCustomValidity(this.#numbersRefusal()),
    );
  }

  /** The solvers of the grid, `{ value, name }` each. */
  get solvers() {
    const boxes = [...this.form.elements.solvers].filter(({ checked }) => checked);
    return boxes.map(({ value, nextSibling }) => ({ value, name: nextSibling.textContent }));
  }

  /** The numbers of steps of the grid, without what is none. */
  get numbers() {
    const most = Number(this.#control('a', 'steps').max);
    const found = this.form.elements.numbers.value.split(/[\s,;]+/).map(Number);
    return [...new Set(found)]
      .filter((steps) => Number.isInteger(steps) && steps >= 1 && steps <= most)
      .slice(0, MOST_COLUMNS);
  }

  #numbersRefusal() {
    const { value } = this.form.elements.numbers;
    const most = this.#control('a', 'steps').max;
    if (
      !/^\s*\d+([\s,;]+\d+)*\s*$/.test(value) ||
      value.split(/[\s,;]+/).some((one) => one !== '' && (one < 1 || one > +most))
    )
      return `Whole numbers from 1 to ${most}, with commas between them.`;
    return value.trim().split(/[\s,;]+/).length > MOST_COLUMNS ? `At most ${MOST_COLUMNS} numbers.` : '';
  }

  /** What is shown: 'draw', 'compare' or 'grid'. */
  get view() {
    return this.form.elements.view.value;
  }

  set view(value) {
    this.form.elements.view.value = value;
    this.#viewChanged();
  }

  get compares() {
    return this.view === 'compare';
  }

  #viewChanged() {
    this.sides.b.hidden = !this.compares;
    document.getElementById('grid-controls').hidden = this.view !== 'grid';
    for (const [name, side] of Object.entries(this.sides)) {
      side.querySelector('.tag').textContent = this.compares ? name.toUpperCase() : '';
    }
    // B begins as A does, but for the solver: the same twice would be no comparison.
    if (this.compares && !this.#chosen) {
      for (const name of each) this.#set('b', name, this.#value('a', name));
      this.#set('b', 'solver', this.#value('a', 'solver') === 'ddim' ? 'dpmsolver++' : 'ddim');
      this.#chosen = true;
    }
    this.refresh();
  }

  #addSide(side) {
    const element = document.getElementById('side').content.firstElementChild.cloneNode(true);
    element.dataset.side = side;
    element.querySelector('legend .unseen').textContent = `Settings ${side.toUpperCase()}`;
    for (const field of element.querySelectorAll('.field')) {
      const control = field.querySelector('select, input[type="number"]');
      const label = field.querySelector('.head label');
      if (control && label) {
        control.id = `${side}-${control.name}`;
        label.htmlFor = control.id;
      }
    }
    for (const control of element.querySelectorAll('[name]')) control.name = `${side}.${control.name}`;
    document.getElementById('sides').append(element);
    for (const range of element.querySelectorAll('[data-of]')) {
      const number = this.#control(side, range.dataset.of);
      range.addEventListener('input', () => {
        number.value = range.value;
      });
      number.addEventListener('input', () => {
        range.value = number.value;
      });
    }
    element.addEventListener('input', () => this.refresh());
    return element;
  }

  #control(side, name) {
    return this.form.elements[side ? `${side}.${name}` : name];
  }

  /** What stands in a control, as a string; '' for what is off. */
  #value(side, name) {
    const control = this.#control(side, name);
    if (control.type === 'checkbox') return control.checked ? '1' : '';
    return control.value;
  }

  #set(side, name, value) {
    const control = this.#control(side, name);
    if (control.type === 'checkbox') control.checked = value === '1' || value === true;
    // A list of radio buttons, or of options: what is not among them is left out.
    else if (control instanceof RadioNodeList) for (const radio of control) radio.checked = radio.value === value;
    else if (control instanceof HTMLSelectElement) {
      if ([...control.options].some((option) => option.value === value)) control.value = value;
    } else control.value = value;
    control.dispatchEvent?.(new Event('input', { bubbles: true }));
  }

  /** Defaults and limits of the model that the server has. */
  adopt({ model, limits }) {
    const { form } = this;
    form.elements.prompt.maxLength = limits.prompt;
    form.elements.negativePrompt.maxLength = limits.prompt;
    form.elements.count.max = limits.count;
    for (const name of ['width', 'height']) {
      Object.assign(form.elements[name], { max: limits.side, step: model.multiple, min: model.multiple });
      form.elements[name].placeholder = model[name];
    }
    for (const side of ['a', 'b']) {
      this.#control(side, 'steps').max = limits.steps;
      this.sides[side].querySelector('[data-of="steps"]').max = Math.min(50, limits.steps);
      this.#set(side, 'guidance', String(model.guidance));
    }
  }

  /** What goes with what. */
  refresh() {
    for (const [side, element] of Object.entries(this.sides)) {
      const { value } = this.#control(side, 'solver');
      // The grid has several solvers: what one of them has no use for is left out of its runs.
      const grid = this.view === 'grid';
      const own = !grid && value === '';
      const isFixed = own || (!grid && fixed.includes(value));
      const data = grid || value.endsWith('++');
      for (const radio of this.#control(side, 'order')) radio.disabled = isFixed;
      for (const name of ['method', 'skipType', 'denoiseToZero']) this.#control(side, name).disabled = isFixed;
      this.#control(side, 'thresholding').disabled = !data;
      const stochastic = !grid && value.startsWith('sde-');
      for (const option of this.#control(side, 'method').options) {
        option.disabled = stochastic && option.value === 'adaptive';
      }
      const note = element.querySelector('.note');
      note.hidden = data;
      note.textContent = own
        ? 'The solver and grid that the model was published with, or its table for these steps where it has one.'
        : isFixed
          ? `${value.toUpperCase()} has an order and a grid of its own.`
          : 'Thresholding is for solvers that predict the picture, the ++ ones.';
    }
  }

  /**
   * The settings of one side, as the server takes them.
   *
   * @param cell of the grid, `{ solver, steps }` in place of the side's own, for one picture
   */
  read(side, cell) {
    const { elements } = this.form;
    const number = (name) => (elements[name].value === '' ? undefined : Number(elements[name].value));
    const value = (name) => this.#control(side, name).value;
    const solver = cell?.solver ?? value('solver');
    const settings = {
      prompt: elements.prompt.value.trim(),
      negativePrompt: elements.negativePrompt.value.trim() || undefined,
      seed: number('seed'),
      count: cell ? 1 : number('count'),
      width: number('width'),
      height: number('height'),
      solver: solver || undefined,
      steps: cell?.steps ?? Number(value('steps')),
      guidance: Number(value('guidance')),
    };
    if (solver === '' || fixed.includes(solver)) return settings;
    const thresholding = solver.endsWith('++') && this.#control(side, 'thresholding').checked;
    const denoiseToZero = this.#control(side, 'denoiseToZero').checked;
    return {
      ...settings,
      order: Number(value('order')),
      method: value('method'),
      skipType: value('skipType'),
      thresholding: thresholding || undefined,
      denoiseToZero: denoiseToZero || undefined,
    };
  }

  /** A word or two for each setting that is not usual. */
  static summary({ solver = '', order, steps, guidance, thresholding, method, skipType, denoiseToZero }) {
    // As the menu calls it.
    const option = document.querySelector('#side').content.querySelector(`option[value="${CSS.escape(solver)}"]`);
    return [
      option?.textContent ?? solver,
      order && `order ${order}`,
      method === 'adaptive' ? 'adaptive' : plural(steps, 'step'),
      method !== 'multistep' && method !== 'adaptive' && method,
      skipType !== 'time_uniform' && skipType,
      `guidance ${guidance}`,
      thresholding && 'thresholding',
      denoiseToZero && 'to zero',
    ]
      .filter(Boolean)
      .join(' · ');
  }

  /** Takes the settings that a run of one side was made with. */
  take(side, values) {
    for (const name of shared) this.#set('', name, values[name] === undefined ? '' : String(values[name]));
    for (const name of each) {
      // What the solver has no use for stays as it is, and what is off is off.
      const flag = flags.includes(name);
      if (values[name] !== undefined || flag)
        this.#set(side, name, flag ? values[name] === true : String(values[name]));
    }
    if (side === 'b') this.#chosen = true;
    this.refresh();
  }

  /** All settings after the # of an address, which no server sees. */
  toHash() {
    const pairs = new URLSearchParams();
    for (const name of shared) if (this.#control('', name).value !== '') pairs.set(name, this.#control('', name).value);
    for (const side of this.compares ? ['a', 'b'] : ['a']) {
      for (const name of each) {
        const value = this.#value(side, name);
        if (value !== '') pairs.set(keyOf(side, name), value);
      }
    }
    if (this.view === 'grid') {
      pairs.set('view', 'grid');
      pairs.set('solvers', this.solvers.map(({ value }) => value).join());
      pairs.set('numbers', this.numbers.join());
    }
    return `#${pairs}`;
  }

  /** Takes what a link says; whoever made it, only values that the controls can have get in. */
  fromHash(hash) {
    const pairs = new URLSearchParams(hash.replace(/^#/, ''));
    if ([...pairs].length === 0) return false;
    for (const name of shared) if (pairs.has(name)) this.#set('', name, pairs.get(name));
    const compare = [...pairs.keys()].some((key) => key.startsWith('b.'));
    if (compare) this.#chosen = true;
    for (const side of compare ? ['a', 'b'] : ['a']) {
      for (const name of each) {
        const key = keyOf(side, name);
        if (pairs.has(key) || flags.includes(name)) this.#set(side, name, pairs.get(key) ?? '');
      }
    }
    const view = compare ? 'compare' : pairs.get('view') === 'grid' ? 'grid' : 'draw';
    if (view === 'grid') {
      const solvers = pairs.get('solvers')?.split(',');
      if (solvers) for (const box of this.form.elements.solvers) box.checked = solvers.includes(box.value);
      if (pairs.has('numbers')) this.form.elements.numbers.value = pairs.get('numbers');
    }
    if (this.view !== view) this.view = view;
    this.refresh();
    return true;
  }
}
