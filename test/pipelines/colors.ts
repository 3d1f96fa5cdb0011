// The colours of a picture of one shape on a background, by looking at it.
import type { Image } from '../../lib/image/image.js';

/** Red, green and blue of the colours that the shapes are drawn in, before shading. */
const palette: Record<string, readonly [number, number, number]> = {
  red: [219, 31, 31],
  green: [36, 158, 51],
  blue: [36, 61, 219],
  yellow: [242, 214, 31],
  purple: [143, 41, 179],
  cyan: [36, 204, 224],
  white: [240, 240, 240],
  black: [15, 15, 15],
};

/** The most frequent colour near the edge, and the most frequent other one. */
export function colorsOf({ width, height, data }: Image): { color: string; background: string } {
  const edge: string[] = [];
  const all: string[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const name = nearestColor(data.subarray(3 * (y * width + x)));
      all.push(name);
      if (Math.min(x, y, width - 1 - x, height - 1 - y) < 3) edge.push(name);
    }
  }
  const background = mostFrequent(edge);
  return { color: mostFrequent(all.filter((name) => name !== background)), background };
}

function nearestColor(pixel: Uint8Array): string {
  const distance = (color: readonly number[]) => color.reduce((sum, value, c) => sum + (value - pixel[c]) ** 2, 0);
  return Object.keys(palette).reduce((a, b) => (distance(palette[b]) < distance(palette[a]) ? b : a));
}

function mostFrequent(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'none';
}
