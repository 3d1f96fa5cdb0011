// One picture with all the room there is, and its neighbours.
import { copy } from './files.js';
import { button, isCoarse } from './parts.js';

const dialog = document.getElementById('viewer');
const find = (selector) => dialog.querySelector(selector);
const image = find('.large img');

/** Pictures that can be walked through: see {@link enlarge}. */
let items = [];
let at = 0;

/**
 * Opens the viewer.
 *
 * @param list pictures, each with `element` (an image of the page, which is followed while it changes), `title`, `about`, and,
 *   once it is made, `name` and `blob`; `actions` are more buttons, `{ label, run }`
 * @param place which of them
 */
export function enlarge(list, place) {
  items = list;
  if (!dialog.open) dialog.showModal();
  show(place);
}

function show(place) {
  items[at]?.element.removeEventListener('load', follow);
  at = place;
  const { element, title, about, name, blob, actions = [] } = items[at];
  element.addEventListener('load', follow);
  find('h2').textContent = title;
  find('.about').textContent = about;
  find('.place').textContent = `${at + 1} of ${items.length}`;
  const alone = items.length === 1;
  for (const part of ['.previous', '.next', '.place']) find(part).hidden = alone;
  for (const part of ['.copy', '.save']) find(part).hidden = !blob;
  find('.copy').textContent = 'Copy';
  if (blob) Object.assign(find('.save'), { href: element.src, download: name });
  find('.more').replaceChildren(
    ...actions.map(({ label, run }) =>
      button(label, () => {
        dialog.close();
        run();
      }),
    ),
  );
  follow();
}

/** What the picture of the page shows, as large as there is room. */
function follow() {
  const { element } = items[at];
  image.src = element.src;
  image.alt = element.alt;
  const { naturalWidth: width, naturalHeight: height } = element;
  if (!width || !height) return;
  const coarse = isCoarse(width);
  image.classList.toggle('coarse', coarse);
  const room =
    dialog.clientHeight > 0 ? window.innerHeight - 24 - find('header').offsetHeight - find('footer').offsetHeight : 0;
  const scale = Math.min((dialog.clientWidth - 29) / width, Math.max(80, room) / height);
  // Pixels that are seen are all of one size.
  const even = coarse && scale > 1 ? Math.floor(scale) : scale;
  image.style.width = `${width * even}px`;
  image.style.height = `${height * even}px`;
}

const walk = (by) => show((at + by + items.length) % items.length);
find('.previous').addEventListener('click', () => walk(-1));
find('.next').addEventListener('click', () => walk(1));
find('.close').addEventListener('click', () => dialog.close());
find('.copy').addEventListener('click', async () => {
  try {
    await copy(items[at].blob);
    find('.copy').textContent = 'Copied';
  } catch (error) {
    find('.about').textContent = error.message;
  }
});
dialog.addEventListener('keydown', (event) => {
  if (items.length < 2 || (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight')) return;
  event.preventDefault();
  walk(event.key === 'ArrowLeft' ? -1 : 1);
});
// A click beside it closes it, as Escape does.
dialog.addEventListener('click', (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener('close', () => items[at]?.element.removeEventListener('load', follow));
window.addEventListener('resize', () => {
  if (dialog.open) follow();
});
