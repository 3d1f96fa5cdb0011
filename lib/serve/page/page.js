// The page: what its controls do.
import { Grid } from './grid.js';
import { explain } from './help.js';
import { Pane } from './pane.js';
import { pause } from './parts.js';
import { Settings } from './settings.js';
import { Start } from './start.js';
import { Strip, when } from './strip.js';
import { surprise } from './surprise.js';
import { ask, cancel, Refusal, run } from './stream.js';

const $ = (id) => document.getElementById(id);
const form = $('form');
const settings = new Settings(form);
explain(form);
const panes = { a: new Pane('a', startFrom), b: new Pane('b', startFrom) };
/** Those that show runs from the history, and which. */
const old = { a: new Pane('a', startFrom), b: new Pane('b', startFrom) };
let shown = [];
const strip = new Strip(showOld, say);
const grid = new Grid((values, blob) => [
  { label: 'Use these settings', run: () => restore([{ settings: values, start: lastStart }]) },
  { label: 'Start from this', run: () => startFrom(blob) },
]);
/** What the cells of the grid began from. */
let lastStart;
const from = new Start(form, size, say);
/** Runs under way: the pane, how to leave, and the server's name for it once there is one. */
let active = [];
let server = null;
let watching = false;

/** Told to those who do not see the page. */
function say(text) {
  $('live').textContent = text;
}

function banner(text) {
  $('banner').textContent = text;
  $('banner').hidden = text === '';
}

const sides = () => (settings.compares ? ['a', 'b'] : ['a']);

function layOut() {
  document.querySelector('main').dataset.view = settings.view;
  if (shown.length > 0) {
    $('stage').replaceChildren(...[old.a, old.b].slice(0, shown.length).map(({ element }) => element));
    return;
  }
  if (settings.view === 'grid') {
    $('stage').replaceChildren(grid.element);
    return;
  }
  $('stage').replaceChildren(...sides().map((side) => panes[side].element));
  for (const side of sides()) {
    const values = settings.read(side);
    panes[side].title(
      settings.compares ? side.toUpperCase() : '',
      [Settings.summary(values), from.summary].filter(Boolean).join(' · '),
    );
  }
}

/** Pixels of the pictures that would be made. */
function size() {
  const of = (name) => Number(form.elements[name].value) || server?.model[name] || 32;
  return { width: of('width'), height: of('height') };
}

/** Shows one or two runs of the history, or with none the last one made. */
function showOld(runs) {
  shown = runs;
  strip.shown = runs;
  const two = runs.length === 2;
  for (const [i, side] of ['a', 'b'].slice(0, runs.length).entries()) {
    const run = runs[i];
    const actions = [
      { label: 'Restore settings', run: () => restore([run]) },
      ...(two && i === 0 ? [{ label: 'Restore both', run: () => restore(runs) }] : []),
      { label: 'Remove', run: () => strip.remove(run).then(() => showOld(shown.filter((one) => one !== run))) },
      ...(i === runs.length - 1 ? [{ label: 'Close', run: () => showOld([]) }] : []),
    ];
    old[side].show(run, two ? side.toUpperCase() : '', `${run.settings.prompt} · ${when(run)}`, actions);
  }
  layOut();
  if (runs.length > 0) say(`${two ? 'Two runs' : 'A run'} of the history shown`);
}

/** The settings of one run, or of two that are compared. */
function restore(runs) {
  for (const [i, side] of ['a', 'b'].slice(0, runs.length).entries()) settings.take(side, runs[i].settings);
  settings.view = runs.length === 2 ? 'compare' : 'draw';
  from.restore(runs[0].start);
  showOld([]);
  remember();
  say('Settings restored');
  form.elements.prompt.focus();
}

function startFrom(blob) {
  from.take(blob).then(() => $('start').scrollIntoView({ block: 'nearest' }));
  say('The next run starts from this picture');
}

function clear() {
  if (settings.view === 'grid') {
    grid.layOut(settings.solvers, settings.numbers, size());
    return;
  }
  const count = from.kind === 'edit' ? 1 : Math.min(16, Math.max(1, Number(form.elements.count.value) || 1));
  for (const side of sides()) {
    panes[side].empty(count, size(), 'Noise, so far. Run it to see what the network finds in it.');
  }
}

function busy(is) {
  $('run').setAttribute('aria-disabled', String(is));
  $('run').textContent = is ? 'Running…' : 'Run';
  $('cancel').hidden = !is;
  document.querySelector('.views').disabled = is;
  if (!is) document.title = 'dpm-solver';
}

/** Follows one run to its end. */
async function follow(pane, values, start, entry) {
  const name = settings.compares ? `Settings ${pane.side.toUpperCase()}: ` : '';
  let quarter = 0;
  try {
    for await (const [event, data] of run(values, start, entry.controller.signal)) {
      if (event === 'queued') {
        entry.id = data.id;
        pane.queued(data);
        if (data.ahead > 0) say(`${name}waiting, ${data.ahead} ahead`);
        // Cancelled before the server had said what it is called.
        if (entry.cancelled) cancel(data.id).catch(() => undefined);
        entry.entered();
      } else if (event === 'loading') {
        pane.loading(data);
      } else if (event === 'started') {
        pane.started(data);
        say(`${name}running`);
      } else if (event === 'step') {
        const share = pane.step(data);
        if (share !== null) document.title = `${Math.round(100 * share)} % · dpm-solver`;
        // Every step would be too much to listen to.
        if (share !== null && Math.floor(4 * share) > quarter && share < 1) {
          quarter = Math.floor(4 * share);
          say(`${name}${25 * quarter} percent`);
        }
      } else if (event === 'done') {
        say(name + pane.done(data));
        strip.add({ ...pane.record(), ...(start ? { start } : {}) });
        return;
      } else if (event === 'cancelled') {
        pane.cancelled();
        say(`${name}cancelled`);
        return;
      } else if (event === 'failed') {
        pane.failed(data.error);
        say(`${name}failed: ${data.error}`);
        return;
      }
    }
    throw new TypeError('The stream ended before the run did');
  } catch (error) {
    if (entry.controller.signal.aborted) {
      pane.cancelled();
      say(`${name}cancelled`);
    } else if (error instanceof Refusal) {
      pane.failed(error.message);
      say(`${name}refused: ${error.message}`);
    } else {
      pane.gone();
      watch();
    }
  } finally {
    entry.entered();
  }
}

async function start() {
  if (active.length > 0) return;
  if (form.elements.prompt.value.trim() === '') form.elements.prompt.setCustomValidity('Say what to draw.');
  const { refusal } = from;
  form.elements.file.setCustomValidity(refusal);
  if (!form.reportValidity()) {
    // A file's own field is too small to be seen.
    if (refusal !== '') from.say(refusal);
    return;
  }
  const start = await from.read();
  if (active.length > 0) return;
  showOld([]);
  clear();
  remember();
  busy(true);
  intoView();
  if (settings.view === 'grid') await fillGrid(start);
  else await followSides(start);
  active = [];
  const focused = document.activeElement === $('cancel');
  busy(false);
  if (focused) $('run').focus();
}

/** On a narrow window the pictures are below the settings. */
function intoView() {
  if (!window.matchMedia('(max-width: 59.999rem)').matches) return;
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  $('stage').scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
}

/** A run for each cell of the grid. */
async function fillGrid(start) {
  active = [grid];
  lastStart = start;
  say('Running');
  const text = await grid.run((cell) => from.adapt(settings.read('a', cell)), start);
  say(text);
  if (text === '') watch();
}

/** A run for each side. */
async function followSides(start) {
  const followed = sides().map((side) => {
    const entry = { controller: new AbortController(), cancelled: false };
    entry.place = new Promise((resolve) => {
      entry.entered = resolve;
    });
    active.push(entry);
    panes[side].queued(0);
    return { side, entry, values: settings.read(side) };
  });
  const ends = [];
  for (const { side, entry, values } of followed) {
    // A has its place before B asks for one.
    ends.push(follow(panes[side], from.adapt(values), start, entry));
    await entry.place;
  }
  await Promise.all(ends);
}

function stop() {
  for (const entry of active) {
    if (entry === grid) {
      grid.cancel();
      continue;
    }
    entry.cancelled = true;
    if (entry.id === undefined) continue;
    // Leaving frees the place as well, where the server does not answer.
    cancel(entry.id).catch(() => entry.controller.abort());
  }
  $('run').textContent = 'Cancelling…';
}

/** Waits for a server that has gone, or is not ready yet. */
async function watch() {
  if (watching) return;
  watching = true;
  for (let told = ''; ; await pause(2000)) {
    const status = await ask('/api/status');
    if (status?.ready) break;
    const text = status
      ? 'The server is loading its model.'
      : 'The server does not answer. This page keeps its settings and tries again every two seconds.';
    banner(text);
    if (text !== told) say(text);
    told = text;
  }
  watching = false;
  banner('');
  say('The server is ready');
  if (!server) await greet();
}

/** Keeps the settings in the address, so that it can be copied and survives a reload. */
function remember() {
  history.replaceState(null, '', settings.toHash());
}

/** Asks for the model until the server says. */
async function greet() {
  server = await ask('/api/model');
  if (!server) return watch();
  const { model } = server;
  settings.adopt(server);
  $('model').textContent = `draws with ${model.name}, ${model.width} × ${model.height} pixels`;
  if (model.words) {
    $('words').hidden = false;
    $('words').querySelector('p').textContent = model.words.join(', ');
  }
  const linked = settings.fromHash(location.hash);
  if (!linked && form.elements.prompt.value === '') {
    form.elements.prompt.value = model.words?.includes('circle')
      ? 'a red circle on a blue background'
      : surprise(model.words);
  }
  settings.refresh();
  layOut();
  clear();
  from.cut();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  start();
});
form.elements.prompt.addEventListener('input', () => form.elements.prompt.setCustomValidity(''));
form.elements.prompt.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener('keydown', (event) => {
  // What is open is closed first.
  if (event.key === 'Escape' && active.length > 0 && !document.querySelector('dialog[open], :popover-open')) stop();
});
form.addEventListener('change', (event) => {
  remember();
  if (event.target.name === 'width' || event.target.name === 'height') from.cut();
  // Pictures keep the settings that they were made with.
  const used =
    settings.view === 'grid' ? grid.used && !/^(solvers|numbers)$/.test(event.target.name) : panes.a.state !== 'empty';
  if (active.length > 0 || used) return;
  layOut();
  clear();
});
// The views stand outside of the form.
for (const radio of form.elements.view) {
  radio.addEventListener('change', () => {
    remember();
    showOld([]);
    const unused = sides().some((side) => panes[side].state === 'empty' || !panes[side].settings);
    if (settings.view === 'grid' ? !grid.used : unused) clear();
  });
}
$('cancel').addEventListener('click', stop);
$('surprise').addEventListener('click', () => {
  form.elements.prompt.value = surprise(server?.model.words);
  form.elements.prompt.setCustomValidity('');
  remember();
});
$('roll').addEventListener('click', () => {
  form.elements.seed.value = String(Math.floor(Math.random() * 2 ** 32));
  remember();
});
$('share').addEventListener('click', async () => {
  remember();
  try {
    await navigator.clipboard.writeText(location.href);
    $('share').textContent = 'Copied';
    say('The link has been copied');
  } catch {
    $('share').textContent = 'It is in the address bar';
  }
  setTimeout(() => {
    $('share').textContent = 'Copy link';
  }, 2000);
});
window.addEventListener('hashchange', () => {
  if (active.length > 0) return;
  settings.fromHash(location.hash);
  layOut();
  clear();
});

strip.read();
greet();
