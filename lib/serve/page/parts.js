// What several parts of the page are built of.

/** Where the pictures get the room that is left of the window; elsewhere the page grows: as in base.css. */
export const roomy = window.matchMedia('(min-width: 60rem) and (min-height: 38rem)');

export const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Is a picture so small that its pixels are shown as they are? */
export const isCoarse = (width) => width <= 128;

export function button(label, run, className = '') {
  const element = document.createElement('button');
  Object.assign(element, { type: 'button', className, textContent: label });
  element.addEventListener('click', run);
  return element;
}

/** An image, nothing so far, in a button that enlarges it. */
export function enlargeable(run) {
  const image = document.createElement('img');
  image.decoding = 'sync';
  image.addEventListener('load', () => image.classList.toggle('coarse', isCoarse(image.naturalWidth)));
  button('', run, 'bare').append(image);
  return image;
}
