// Drawn pictures as the network was shown them: what its own are compared with as a distribution.
import { drawMask, OUTLINES, PALETTE, randomPrompts, type Size, uniform } from './judge.js';

const SIDE = 32;
const AREA = SIDE * SIDE;
/** Radii by size, the largest turn in degrees, and how much the light may change: models/train/data.py. */
const RADII: Record<Size, readonly [number, number]> = { small: [7, 8.5], middle: [8.5, 10.5], large: [10.5, 13] };
const MAX_TURN = 20;
const LIGHT = 0.12;

/** `n` pictures, 3 x 32 x 32 in [-1, 1] each, of prompts as randomPrompts draws them. */
export function drawnPictures(n: number, seed: number): Float32Array {
  const random = uniform(seed + 1);
  const pictures = new Float32Array(n * 3 * AREA);
  const mask = new Float32Array(AREA);
  randomPrompts(n, seed).forEach(({ shape, color, background, size }, k) => {
    const [low, high] = RADII[size];
    const radius = low + (high - low) * random();
    const slack = SIDE / 2 - radius - 1.2;
    const x = SIDE / 2 + slack * (2 * random() - 1);
    const y = SIDE / 2 + slack * (2 * random() - 1);
    // The first outline of each shape is the one that was trained on.
    drawMask(OUTLINES[shape][0], { x, y, radius, turn: MAX_TURN * (2 * random() - 1) }, mask);
    const angle = 2 * Math.PI * random();
    const strength = LIGHT * random();
    const [gx, gy] = [strength * Math.cos(angle), strength * Math.sin(angle)];
    for (let i = 0; i < AREA; i++) {
      const u = (((i % SIDE) + 0.5) / SIDE) * 2 - 1;
      const v = ((Math.floor(i / SIDE) + 0.5) / SIDE) * 2 - 1;
      const light = 1 + gx * u + gy * v;
      for (let c = 0; c < 3; c++) {
        const value = PALETTE[background][c] + (PALETTE[color][c] - PALETTE[background][c]) * mask[i];
        pictures[(3 * k + c) * AREA + i] = 2 * Math.min(1, Math.max(0, value * light)) - 1;
      }
    }
  });
  return pictures;
}
