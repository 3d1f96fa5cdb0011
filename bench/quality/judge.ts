/**
 * Judges pictures of coloured shapes without any network: colours by the nearest of the palette, shapes by
 * laying drawn templates over the region that differs from the background. It has its own geometry and shares
 * nothing with what trained the pictures' network.
 */

export const SHAPES = ['circle', 'square', 'triangle', 'star', 'cross', 'ring'] as const;
export const COLORS = ['red', 'green', 'blue', 'yellow', 'purple', 'cyan', 'white', 'black'] as const;
export const SIZES = ['small', 'middle', 'large'] as const;

export type Shape = (typeof SHAPES)[number];
export type Color = (typeof COLORS)[number];
export type Size = (typeof SIZES)[number];

/** A prompt together with what a picture for it has to show. */
export interface Prompt {
  prompt: string;
  shape: Shape;
  color: Color;
  background: Color;
  size: Size;
}

/** What a picture shows; 'none' where it shows nothing that would count. */
export interface Verdict {
  shape: Shape | 'none';
  color: Color | 'none';
  background: Color | 'none';
  size: Size | 'none';
  /** Overlap (intersection over union) of the picture's mask with the best template, 0 to 1. */
  overlap: number;
  /** The shape whose template fits best, also where the overlap is too small to count. */
  nearest: Shape | 'none';
  /** Radius of the best template in pixels. */
  radius: number;
  /** Colour in the picture that neither the background nor the shape explains, relative to the mask's area. */
  foreign: number;
}

/** Below this overlap with every template a region is a blob, not a shape. */
export const MIN_OVERLAP = 0.86;
/** Above this much unexplained colour a picture shows more than one shape on one background. */
export const MAX_FOREIGN = 0.25;
/** Radii a shape may have: those asked for, with some slack. */
export const RADIUS_RANGE = [5.5, 14.5] as const;

const SIDE = 32;
const AREA = SIDE * SIDE;
/** Lines drawn for each row of pixels. */
const LINES = 4;
/** Largest distance from a palette colour, in RGB of [0, 1], at which it is still that colour. */
const MAX_COLOR_DISTANCE = 0.25;
/** How far the light may darken or brighten a colour. */
const LIGHT_RANGE = [0.85, 1.15] as const;

type Rgb = readonly [number, number, number];

export const PALETTE: Record<Color, Rgb> = {
  red: [0.86, 0.12, 0.12],
  green: [0.14, 0.62, 0.2],
  blue: [0.14, 0.24, 0.86],
  yellow: [0.95, 0.84, 0.12],
  purple: [0.56, 0.16, 0.7],
  cyan: [0.14, 0.8, 0.88],
  white: [0.94, 0.94, 0.94],
  black: [0.06, 0.06, 0.06],
};

/** Corners of a star, a regular polygon and a cross about the origin, for the radius 1, y growing downwards. */
function star(points: number, inner: number): number[][] {
  return Array.from({ length: 2 * points }, (_, i) => {
    const angle = (Math.PI * i) / points;
    const radius = i % 2 === 0 ? 1 : inner;
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
}

function cross(arm: number, half: number): number[][] {
  return [
    [half, -arm],
    [half, -half],
    [arm, -half],
    [arm, half],
    [half, half],
    [half, arm],
    [-half, arm],
    [-half, half],
    [-arm, half],
    [-arm, -half],
    [-half, -half],
    [-half, -arm],
  ];
}

export interface Outline {
  /** Corners of a polygon, or the inner radius of a disc (0: without a hole). */
  corners?: number[][];
  hole: number;
  /** Area for the radius 1. */
  area: number;
  /** Turns to try, in degrees. */
  turns: readonly number[];
  /** Distance of the farthest corner for the radius 1. */
  reach: number;
}

const TURNS = [-20, -15, -10, -5, 0, 5, 10, 15, 20] as const;

function polygon(corners: number[][]): Outline {
  let area = 0;
  corners.forEach(([x, y], i) => {
    const [nx, ny] = corners[(i + 1) % corners.length];
    area += (x * ny - nx * y) / 2;
  });
  const reach = Math.max(...corners.map(([x, y]) => Math.hypot(x, y)));
  return { corners, hole: 0, area: Math.abs(area), turns: TURNS, reach };
}

function disc(hole: number): Outline {
  return { hole, area: Math.PI * (1 - hole * hole), turns: [0], reach: 1 };
}

/**
 * The outlines that count as each shape. Stars and crosses may be slimmer than the ones trained on, since guidance
 * makes figures slimmer; blobs are stouter, so that this lets none of them pass.
 */
export const OUTLINES: Record<Shape, readonly Outline[]> = {
  circle: [disc(0)],
  square: [
    polygon([
      [0.72, -0.72],
      [0.72, 0.72],
      [-0.72, 0.72],
      [-0.72, -0.72],
    ]),
  ],
  triangle: [
    polygon([
      [0, -1],
      [Math.sqrt(3) / 2, 0.5],
      [-Math.sqrt(3) / 2, 0.5],
    ]),
  ],
  star: [polygon(star(5, 0.45)), polygon(star(5, 0.38)), polygon(star(5, 0.32))],
  cross: [polygon(cross(0.95, 0.32)), polygon(cross(0.95, 0.27))],
  ring: [disc(0.55)],
};

export interface Placement {
  x: number;
  y: number;
  radius: number;
  /** In degrees. */
  turn: number;
}

/** Where a line enters and leaves an outline, in order; no outline is crossed more often. */
const ends = new Float64Array(16);

/** Puts the x at which the line at `y` crosses a polygon (x and y of its corners in turn) into `ends`; how many. */
function crossings(corners: Float64Array, y: number): number {
  let found = 0;
  const last = corners.length - 2;
  let [xj, yj] = [corners[last], corners[last + 1]];
  for (let i = 0; i <= last; i += 2) {
    const xi = corners[i];
    const yi = corners[i + 1];
    if (yi > y !== yj > y) {
      const x = ((xj - xi) * (y - yi)) / (yj - yi) + xi;
      let at = found++;
      for (; at > 0 && ends[at - 1] > x; at--) ends[at] = ends[at - 1];
      ends[at] = x;
    }
    xj = xi;
    yj = yi;
  }
  return found;
}

/** The same for a disc of radius r with a hole. */
function discCrossings(x: number, dy: number, radius: number, hole: number): number {
  const outer = Math.sqrt(Math.max(0, radius ** 2 - dy ** 2));
  const inner = Math.sqrt(Math.max(0, (hole * radius) ** 2 - dy ** 2));
  ends[0] = x - outer;
  ends[1] = x - inner;
  ends[2] = x + inner;
  ends[3] = x + outer;
  return 4;
}

/** Adds `weight` times the share of each pixel of a row that lies between two x. */
function addSpan(mask: Float32Array, row: number, from: number, to: number, weight: number): void {
  const left = clamp(from, 0, SIDE);
  const right = clamp(to, 0, SIDE);
  for (let column = Math.floor(left); column < right; column++) {
    mask[row * SIDE + column] += weight * (Math.min(right, column + 1) - Math.max(left, column));
  }
}

/**
 * The share of each pixel that an outline covers, drawn at a place, with a radius and a turn, line by line.
 *
 * @param mask where it is drawn; a new one where absent
 */
export function drawMask(
  outline: Outline,
  { x, y, radius, turn }: Placement,
  mask: Float32Array = new Float32Array(AREA),
): Float32Array {
  mask.fill(0);
  const cos = radius * Math.cos((turn * Math.PI) / 180);
  const sin = radius * Math.sin((turn * Math.PI) / 180);
  const corners = outline.corners && new Float64Array(2 * outline.corners.length);
  outline.corners?.forEach(([u, w], i) => {
    corners![2 * i] = x + cos * u - sin * w;
    corners![2 * i + 1] = y + sin * u + cos * w;
  });
  const reach = outline.reach * radius;
  const first = Math.max(0, Math.floor((y - reach) * LINES));
  const last = Math.min(SIDE * LINES, Math.ceil((y + reach) * LINES));
  for (let line = first; line < last; line++) {
    const at = (line + 0.5) / LINES;
    const count = corners ? crossings(corners, at) : discCrossings(x, at - y, radius, outline.hole);
    for (let i = 0; i + 1 < count; i += 2) addSpan(mask, Math.floor(line / LINES), ends[i], ends[i + 1], 1 / LINES);
  }
  return mask;
}

/** Intersection over union of two soft masks. */
export function overlapOf(a: Float32Array, b: Float32Array): number {
  let both = 0;
  let either = 0;
  for (let i = 0; i < AREA; i++) {
    const p = a[i];
    const q = b[i];
    both += p < q ? p : q;
    either += p < q ? q : p;
  }
  return either > 0 ? both / either : 0;
}

/** The palette's nearest colour, whatever the light makes of it, and its distance. */
export function nearestColor(rgb: Rgb): { color: Color; distance: number } {
  let best: { color: Color; distance: number } = { color: 'black', distance: Infinity };
  for (const color of COLORS) {
    const palette = PALETTE[color];
    const dot = rgb[0] * palette[0] + rgb[1] * palette[1] + rgb[2] * palette[2];
    const norm = palette[0] ** 2 + palette[1] ** 2 + palette[2] ** 2;
    const light = clamp(dot / norm, LIGHT_RANGE[0], LIGHT_RANGE[1]);
    const distance = Math.hypot(...rgb.map((value, c) => value - light * palette[c]));
    if (distance < best.distance) best = { color, distance };
  }
  return best;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** The colour at a pixel in [0, 1]. */
function colorAt(pixels: Float32Array, i: number): Rgb {
  return [0, 1, 2].map((c) => clamp((pixels[c * AREA + i] + 1) / 2, 0, 1)) as unknown as Rgb;
}

function medianColor(pixels: Float32Array, places: number[]): Rgb {
  const colors = places.map((i) => colorAt(pixels, i));
  return [0, 1, 2].map((c) => median(colors.map((rgb) => rgb[c]))) as unknown as Rgb;
}

function borderPlaces(): number[] {
  const places: number[] = [];
  for (let i = 0; i < AREA; i++) {
    const row = Math.floor(i / SIDE);
    const column = i % SIDE;
    if (row === 0 || column === 0 || row === SIDE - 1 || column === SIDE - 1) places.push(i);
  }
  return places;
}

const BORDER = borderPlaces();

/**
 * The background's colour at every pixel: a plane per channel through the border (the light changes evenly over
 * the picture). On the symmetric border the three unknowns separate, so that no system has to be solved.
 */
function backgroundPlane(pixels: Float32Array): (i: number) => Rgb {
  const sums = [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ];
  let square = 0;
  for (const i of BORDER) {
    const u = (i % SIDE) - (SIDE - 1) / 2;
    const w = Math.floor(i / SIDE) - (SIDE - 1) / 2;
    square += u * u;
    colorAt(pixels, i).forEach((value, c) => {
      sums[c][0] += value;
      sums[c][1] += value * u;
      sums[c][2] += value * w;
    });
  }
  return (i) => {
    const u = (i % SIDE) - (SIDE - 1) / 2;
    const w = Math.floor(i / SIDE) - (SIDE - 1) / 2;
    return sums.map(([mean, du, dw]) => mean / BORDER.length + (du * u + dw * w) / square) as unknown as Rgb;
  };
}

interface Region {
  color: Rgb;
  mask: Float32Array;
  area: number;
  x: number;
  y: number;
  foreign: number;
}

/** The region that differs from the background: its colour, soft mask, area and centre. */
function findRegion(pixels: Float32Array): Region | undefined {
  const background = backgroundPlane(pixels);
  const distances = Array.from({ length: AREA }, (_, i) => {
    const ground = background(i);
    return Math.hypot(...colorAt(pixels, i).map((value, c) => value - ground[c]));
  });
  // A small shape covers some 60 pixels: the 30th farthest one lies well inside it and is no stray pixel.
  const far = [...distances].sort((a, b) => b - a)[30];
  if (far < 0.2) return undefined;
  const inner = distances.flatMap((distance, i) => (distance > 0.75 * far ? [i] : []));
  const color = medianColor(pixels, inner);
  const mask = new Float32Array(AREA);
  let [area, x, y, foreign] = [0, 0, 0, 0];
  for (let i = 0; i < AREA; i++) {
    const ground = background(i);
    const rgb = colorAt(pixels, i);
    const way = color.map((value, c) => value - ground[c]);
    const along = rgb.reduce((sum, value, c) => sum + (value - ground[c]) * way[c], 0);
    const share = along / way.reduce((sum, value) => sum + value * value, 0);
    // The light and what noise is left move pixels a little off 0 and 1.
    mask[i] = clamp((share - 0.1) / 0.8, 0, 1);
    const rest = Math.hypot(...rgb.map((value, c) => value - ground[c] - clamp(share, 0, 1) * way[c]));
    foreign += Math.max(0, rest - 0.15);
    area += mask[i];
    x += mask[i] * ((i % SIDE) + 0.5);
    y += mask[i] * (Math.floor(i / SIDE) + 0.5);
  }
  return { color, mask, area, x: x / area, y: y / area, foreign: foreign / area };
}

interface Fit {
  shape: Shape;
  overlap: number;
  placement: Placement;
}

/** What is laid over the region at the moment: a judgement draws some four hundred masks. */
const drawn = new Float32Array(AREA);

/** The best placement of an outline over a region: first about its centre and area, then in ever smaller steps. */
function fit(shape: Shape, outline: Outline, region: Region): Fit {
  const estimate = Math.sqrt(region.area / outline.area);
  let best: Fit = { shape, overlap: -1, placement: { x: region.x, y: region.y, radius: estimate, turn: 0 } };
  const attempt = (placement: Placement): boolean => {
    const overlap = overlapOf(region.mask, drawMask(outline, placement, drawn));
    if (overlap <= best.overlap) return false;
    best = { shape, overlap, placement };
    return true;
  };
  for (const turn of outline.turns) attempt({ ...best.placement, turn });
  const steps = { x: 0.5, y: 0.5, radius: 0.4, turn: 3 };
  const keys = outline.turns.length > 1 ? (['x', 'y', 'radius', 'turn'] as const) : (['x', 'y', 'radius'] as const);
  for (let round = 0; round < 4; round++) {
    const scale = 0.5 ** Math.floor(round / 2);
    for (const key of keys) {
      const at = best.placement[key];
      for (const sign of [-1, 1]) {
        const value = at + sign * scale * steps[key];
        if (key === 'turn' && Math.abs(value) > 25) continue;
        attempt({ ...best.placement, [key]: value });
      }
    }
  }
  return best;
}

function sizeOf(radius: number): Size {
  if (radius < 8.5) return 'small';
  return radius < 10.5 ? 'middle' : 'large';
}

function nameOf(rgb: Rgb): Color | 'none' {
  const { color, distance } = nearestColor(rgb);
  return distance <= MAX_COLOR_DISTANCE ? color : 'none';
}

/** Judges a picture: 3 x 32 x 32 values in [-1, 1], channel first. */
export function judge(pixels: Float32Array): Verdict {
  if (pixels.length !== 3 * AREA) throw new RangeError(`expected ${3 * AREA} values, got ${pixels.length}`);
  const background = nameOf(medianColor(pixels, BORDER));
  const region = findRegion(pixels);
  if (!region || !(region.area > 0)) {
    return {
      shape: 'none',
      color: 'none',
      background,
      size: 'none',
      overlap: 0,
      nearest: 'none',
      radius: 0,
      foreign: 0,
    };
  }
  const { overlap, shape, placement } = SHAPES.flatMap((name) =>
    OUTLINES[name].map((outline) => fit(name, outline, region)),
  ).reduce((a, b) => (b.overlap > a.overlap ? b : a));
  const { radius } = placement;
  const counts =
    overlap >= MIN_OVERLAP && region.foreign <= MAX_FOREIGN && radius >= RADIUS_RANGE[0] && radius <= RADIUS_RANGE[1];
  return {
    shape: counts ? shape : 'none',
    color: nameOf(region.color),
    background,
    size: counts ? sizeOf(radius) : 'none',
    overlap,
    nearest: shape,
    radius,
    foreign: region.foreign,
  };
}

/** Whether a verdict is what a prompt asks for: shape, colour and background. */
export function isRight(verdict: Verdict, prompt: Pick<Prompt, 'shape' | 'color' | 'background'>): boolean {
  return verdict.shape === prompt.shape && verdict.color === prompt.color && verdict.background === prompt.background;
}

/** The prompt's words. */
export function promptFor(size: Size, color: Color, shape: Shape, background: Color): string {
  return `a ${size === 'middle' ? '' : `${size} `}${color} ${shape} on a ${background} background`;
}

/** A small generator of numbers in [0, 1) (mulberry32), so that the same seed gives the same prompts everywhere. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `n` random prompts; the shapes come in turn, so that each comes equally often. */
export function randomPrompts(n: number, seed: number): Prompt[] {
  const random = uniform(seed);
  const below = (count: number): number => Math.floor(random() * count);
  return Array.from({ length: n }, (_, i) => {
    const shape = SHAPES[i % SHAPES.length];
    const first = below(COLORS.length);
    const color = COLORS[first];
    const background = COLORS[(first + 1 + below(COLORS.length - 1)) % COLORS.length];
    const size = SIZES[below(SIZES.length)];
    return { prompt: promptFor(size, color, shape, background), shape, color, background, size };
  });
}
