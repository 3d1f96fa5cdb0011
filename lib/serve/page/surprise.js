// Prompts for those who have none.
const subjects = ['circle', 'square', 'triangle', 'star', 'cross', 'ring'];
const colours = ['red', 'green', 'blue', 'yellow', 'purple', 'cyan', 'white', 'black'];
const scenes = [
  'a castle at night',
  'an astronaut on a horse',
  'a bowl of pears, oil on canvas',
  'a lighthouse in fog',
];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

/**
 * A prompt that the model can draw.
 *
 * @param words all that it knows, where they are few
 */
export function surprise(words) {
  if (!words) return pick(scenes);
  const known = (list) => list.filter((word) => words.includes(word));
  const [things, tints] = [known(subjects), known(colours)];
  if (things.length === 0 || tints.length < 2) return words.slice(0, 3).join(' ');
  const colour = pick(tints);
  const size = words.includes('small') && Math.random() < 0.3 ? 'small ' : '';
  return `a ${size}${colour} ${pick(things)} on a ${pick(tints.filter((tint) => tint !== colour))} background`;
}
