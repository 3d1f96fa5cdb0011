// What each control is for, in a sentence or two, and where the documentation says more.
import { button } from './parts.js';

const texts = {
  prompt: ['What the pictures are to show.', 'pipelines#calls'],
  negativePrompt: ['What guidance leads away from; nothing where it is empty.', 'few-steps#guidance'],
  seed: [
    'The number that the noise is drawn from. The same seed and settings give the same picture; the next pictures of a run have the next seeds.',
    'serve#the-interface',
  ],
  count: ['How many pictures a run makes, each from noise of its own.', 'serve#limits'],
  width: [
    "Pixels; the model's own where it is empty. Models are best at the size that they were trained on.",
    'pipelines#calls',
  ],
  height: [
    "Pixels; the model's own where it is empty. Models are best at the size that they were trained on.",
    'pipelines#calls',
  ],
  kind: [
    'From noise alone; from a picture that noise is added to; a painted part of a picture anew; or what a picture shows, changed from one prompt to another.',
    'serve#from-a-picture',
  ],
  brush: ['What is painted is made anew, and all else keeps its pixels.', 'serve#from-a-picture'],
  strength: [
    'How much of the picture is made anew: at 100 % nothing of it is left to start from.',
    'serve#from-a-picture',
  ],
  source: [
    'What the picture shows now. Where the network predicts otherwise for this than for the prompt above, the picture is made anew.',
    'pipelines#editing',
  ],
  solver: [
    'How the way from noise to a picture is computed. DPM-Solver++ is the usual choice; the SDE ones add noise on the way; DDIM is the first order.',
    'choosing#solver',
  ],
  order: [
    'How many earlier predictions a step uses. 2 is right under guidance; 3 can be better without.',
    'choosing#order',
  ],
  steps: [
    'Evaluations of the network for a picture, which is nearly all that a picture costs. 10 to 20 are enough.',
    'choosing#number-of-steps',
  ],
  guidance: [
    'How strongly the prompt is followed. 1 is not at all more than the network would; too much burns the colours.',
    'few-steps#guidance',
  ],
  thresholding: [
    'Keeps predicted pixels in range by a quantile of each picture, where strong guidance would drive them out of it. For models in pixels.',
    'quality#thresholding-helps-at-guidance-8',
  ],
  method: [
    'Multistep remembers predictions; singlestep evaluates more within a step; adaptive chooses its own steps.',
    'choosing#in-short',
  ],
  skipType: ['Where the steps lie between noise and picture.', 'choosing#grid'],
  denoiseToZero: [
    'One more evaluation at the end takes the last trace of noise away.',
    'mathematics#schedules-and-grids',
  ],
  solvers: ['Each of them draws the same seed, for each number of steps.', 'quality#the-panel'],
  numbers: ['Numbers of steps, with commas between them: a column for each.', 'choosing#number-of-steps'],
};

const card = document.getElementById('help');
let opener;

/** Puts a button with an explanation beside the name of every control in `root`. */
export function explain(root) {
  for (const field of root.querySelectorAll('[data-field]')) {
    const { field: name } = field.dataset;
    const [text, more] = texts[name];
    const label = field.querySelector('legend, label');
    const opens = button(
      '?',
      () => {
        opener = opens;
        card.querySelector('p').textContent = text;
        card.querySelector('a').href = `/docs/${more}`;
      },
      'help',
    );
    const what = label ? label.textContent.trim() : name;
    opens.setAttribute('aria-label', `What is this? ${what}`);
    // Opens and closes it, and takes the keyboard from the button into it and back.
    opens.popoverTargetElement = card;
    if (label?.matches('legend, .head label')) label.after(opens);
    else field.append(opens);
  }
}

card.addEventListener('toggle', (event) => {
  if (event.newState !== 'open') return;
  const { left, bottom, top } = opener.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = card;
  const x = Math.max(8, Math.min(left - 12, window.innerWidth - width - 8));
  const y = bottom + 6 + height < window.innerHeight ? bottom + 6 : Math.max(8, top - height - 6);
  card.style.left = `${x}px`;
  card.style.top = `${y}px`;
});
