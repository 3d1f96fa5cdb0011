// The page: what its controls do.
import { Pane } from './pane.js';
import { Settings } from './settings.js';
import { ask, cancel, Refusal, run } from './stream.js';

const $ = (id) => document.getElementById(id);
const form = $('form');
const settings = new Settings(form);
const panes = { a: new Pane('a'), b: new Pane('b') };
/** Runs under way: the pane, how to leave, and the server's name for it once there is one. */
let active = [];
let server = null;
let watching = false;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Told to those who do not see the page. */
function say(text) {
  $('live').textContent = text;
}

function banner(text) {
  $('banner').textContent = text;
  $('banner').hidden = text === '';
}

const sides = () => (settings.compare.checked ? ['a', 'b'] : ['a']);

function layOut() {
  $('stage').replaceChildren(...sides().map((side) => panes[side].element));
  for (const side of sides()) {
    const values = settings.read(side);
    panes[side].title(settings.compare.checked ? side.toUpperCase() : '', Settings.summary(values));
  }
}

function clear() {
  const count = Math.min(16, Math.max(1, Number(form.elements.count.value) || 1));
  for (const side of sides()) {
    panes[side].empty(count, server?.model.width ?? 32, 'Noise, so far. Run it to see what the network finds in it.');
  }
}

function busy(is) {
  $('run').setAttribute('aria-disabled', String(is));
  $('run').textContent = is ? 'Running…' : 'Run';
  $('cancel').hidden = !is;
  if (!is) document.title = 'dpm-solver';
}

/** Follows one run to its end. */
async function follow(pane, values, entry) {
  const name = settings.compare.checked ? `Settings ${pane.side.toUpperCase()}: ` : '';
  let quarter = 0;
  try {
    for await (const [event, data] of run(values, entry.controller.signal)) {
      if (event === 'queued') {
        entry.id = data.id;
        pane.queued(data.ahead);
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
  if (!form.reportValidity()) return;
  layOut();
  clear();
  remember();
  busy(true);
  const followed = sides().map((side) => {
    const entry = { controller: new AbortController(), cancelled: false };
    entry.place = new Promise((resolve) => {
      entry.entered = resolve;
    });
    active.push(entry);
    panes[side].queued(0);
    return { side, entry, values: settings.read(side) };
  });
  const narrow = window.matchMedia('(max-width: 56rem)').matches;
  if (narrow) {
    const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    $('stage').scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
  }
  const ends = [];
  for (const { side, entry, values } of followed) {
    // A has its place before B asks for one.
    ends.push(follow(panes[side], values, entry));
    await entry.place;
  }
  await Promise.all(ends);
  active = [];
  const focused = document.activeElement === $('cancel');
  busy(false);
  if (focused) $('run').focus();
}

function stop() {
  for (const entry of active) {
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

const subjects = ['circle', 'square', 'triangle', 'star', 'cross', 'ring'];
const colours = ['red', 'green', 'blue', 'yellow', 'purple', 'cyan', 'white', 'black'];
const scenes = [
  'a castle at night',
  'an astronaut on a horse',
  'a bowl of pears, oil on canvas',
  'a lighthouse in fog',
];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

function surprise() {
  const words = server?.model.words;
  if (!words) return pick(scenes);
  const known = (list) => list.filter((word) => words.includes(word));
  const [things, tints] = [known(subjects), known(colours)];
  if (things.length === 0 || tints.length < 2) return words.slice(0, 3).join(' ');
  const colour = pick(tints);
  const size = words.includes('small') && Math.random() < 0.3 ? 'small ' : '';
  return `a ${size}${colour} ${pick(things)} on a ${pick(tints.filter((tint) => tint !== colour))} background`;
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
    form.elements.prompt.value = model.words?.includes('circle') ? 'a red circle on a blue background' : surprise();
  }
  settings.refresh();
  layOut();
  clear();
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
  if (event.key === 'Escape' && active.length > 0) stop();
});
settings.compare.addEventListener('change', () => {
  if (active.length > 0) return;
  layOut();
  for (const side of sides()) if (panes[side].state === 'empty' || !panes[side].settings) clear();
});
form.addEventListener('change', () => {
  remember();
  // Pictures keep the settings that they were made with.
  if (active.length > 0 || panes.a.state !== 'empty') return;
  layOut();
  clear();
});
$('cancel').addEventListener('click', stop);
$('surprise').addEventListener('click', () => {
  form.elements.prompt.value = surprise();
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

greet();
