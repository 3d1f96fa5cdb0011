// Labels on pictures: a font of five by seven dots.
import type { Image } from './image.js';

/** Rows from the top, each five dots as one digit of base 32, the leftmost dot first. Small letters are drawn large. */
const glyphs: Record<string, string> = {
  ...{ A: 'ehhvhhh', B: 'uhhuhhu', C: 'ehggghe', D: 'uhhhhhu', E: 'vgguggv', F: 'vgguggg', G: 'ehgnhhe', H: 'hhhvhhh' },
  ...{ I: 'e44444e', J: '72222ic', K: 'hikokih', L: 'ggggggv', M: 'hrllhhh', N: 'hhpljhh', O: 'ehhhhhe', P: 'uhhuggg' },
  ...{ Q: 'ehhhlid', R: 'uhhukih', S: 'fgge11u', T: 'v444444', U: 'hhhhhhe', V: 'hhhhha4', W: 'hhhllla', X: 'hha4ahh' },
  ...{ Y: 'hha4444', Z: 'v1248gv', 0: 'ehjlphe', 1: '4c4444e', 2: 'eh1248v', 3: 'v2421he', 4: '26aiv22', 5: 'vgu11he' },
  ...{ 6: '68guhhe', 7: 'v124888', 8: 'ehhehhe', 9: 'ehhf12c', ' ': '0000000', '+': '044v440', '-': '000v000' },
  ...{ '.': '00000cc', ',': '0000c48', ':': '0cc0cc0', '=': '00v0v00', '/': '01248g0', '(': '2488842', ')': '8422248' },
  ...{ "'": '4480000', '"': 'aaa0000', '%': 'op248j3', _: '000000v', '?': 'eh12404', '!': '4444404', '*': '04lel40' },
  ...{ '#': 'aavavaa', '<': '248g842', '>': '8421248' },
};
/** What is drawn for a character that has no glyph. */
const UNKNOWN = 'vhhhhhv';

const WIDTH = 5;
/** Dots from one character to the next. */
const ADVANCE = WIDTH + 1;
/** Rows of dots of a line of text. */
export const TEXT_HEIGHT = 7;

/** Columns of dots that `text` takes. */
export function textWidth(text: string): number {
  return Math.max(0, [...text].length * ADVANCE - 1);
}

/**
 * Draws one line of text; what falls outside of the picture is left out.
 *
 * @param left of the first character, in pixels
 * @param top of the line, in pixels
 * @param scale pixels a dot, in each direction
 */
export function drawText(
  image: Image,
  text: string,
  left: number,
  top: number,
  scale = 1,
  color: readonly [number, number, number] = [0, 0, 0],
): void {
  [...text.toUpperCase()].forEach((character, i) => {
    const rows = Object.hasOwn(glyphs, character) ? glyphs[character] : UNKNOWN;
    for (let row = 0; row < TEXT_HEIGHT; row++) {
      const dots = Number.parseInt(rows[row], 32);
      for (let column = 0; column < WIDTH; column++) {
        if (((dots >> (WIDTH - 1 - column)) & 1) === 0) continue;
        square(image, left + (i * ADVANCE + column) * scale, top + row * scale, scale, color);
      }
    }
  });
}

function square(image: Image, left: number, top: number, side: number, color: readonly number[]): void {
  for (let y = Math.max(0, top); y < Math.min(top + side, image.height); y++) {
    for (let x = Math.max(0, left); x < Math.min(left + side, image.width); x++) {
      image.data.set(color, 3 * (y * image.width + x));
    }
  }
}
