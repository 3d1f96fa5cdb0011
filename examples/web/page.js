// The page's side: a form, a canvas, and a worker in which the networks run. The worker is replaced when its graphics processor is
// lost, and what was being drawn is drawn again.
import { NetworkWorker } from './dpm-solver/web.js';

const form = document.querySelector('form');
const canvas = document.querySelector('canvas');
const status = document.querySelector('[role=status]');
const { stop } = form.elements;
const device = new URLSearchParams(location.search).get('device') ?? 'auto';
const drawing = new NetworkWorker(() => new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }));

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { prompt, steps, guidance, seed } = Object.fromEntries(new FormData(form));
  const cancel = new AbortController();
  stop.onclick = () => cancel.abort(new Error('Stopped.'));
  setBusy(true);
  status.textContent = 'Loading the networks.';
  try {
    const picture = await drawing.call(
      'draw',
      { prompt, steps: Number(steps), guidance: Number(guidance), seed: Number(seed), device },
      {
        signal: cancel.signal,
        onMessage: ({ step, of, pixels }) => {
          show(pixels);
          status.textContent = `Step ${step} of ${of}.`;
        },
      },
    );
    show(picture.pixels);
    canvas.setAttribute('aria-label', prompt);
    const where = picture.device === 'webgpu' ? 'WebGPU' : `WebAssembly (${picture.reason ?? 'as asked for'})`;
    status.textContent = `Drawn by ${where} in ${picture.nfe} evaluations of the network, ${(picture.milliseconds / 1000).toFixed(1)} s.`;
  } catch (error) {
    status.textContent = error.message;
  }
  setBusy(false);
});

function setBusy(busy) {
  form.ariaBusy = String(busy);
  form.querySelector('[type=submit]').disabled = busy;
  stop.disabled = !busy;
}

function show(pixels) {
  canvas.getContext('2d').putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
}
