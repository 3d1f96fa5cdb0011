// Whether pictures are decoded and encoded whole or by tiles, and how they are cut.
import { knownOptions, outOfRange, wholeNumber, wrongType } from '../base/check.js';
import { availableMemory } from '../base/memory.js';
import type { Graph } from '../onnx/graph.js';
import { type Cut, evenSpans, steppedSpans } from './tiles.js';
import type { Trained, Vae } from './vae.js';

/** What `vaeTiling` may be. */
export type VaeTiling =
  | 'auto'
  | boolean
  | {
      /** Pixels of a tile's side, at most: a multiple of a latent's; what the autoencoder was trained on. */
      tile?: number;
      /** Share of a tile that it has in common with the next one, 0 to 0.5; 0.25. */
      overlap?: number;
    };

/** How a picture was decoded by tiles. */
export interface Tiles {
  /** Tiles of a picture from top to bottom, and from left to right. */
  rows: number;
  /** As `rows`. */
  columns: number;
  /** Pixels of the largest. */
  width: number;
  /** As `width`. */
  height: number;
  /** `'asked'`: by the call; `'memory'`: the whole would not fit; `'graph'`: it was exported for this size only. */
  why: 'asked' | 'memory' | 'graph';
}

/** A checked {@link VaeTiling}. */
export interface Tiling {
  readonly way: 'auto' | 'whole' | 'stepped' | 'even';
  /** Pixels; what the autoencoder was trained on. */
  readonly tile?: number;
  readonly overlap: number;
}

/** diffusers' `tile_overlap_factor`. */
const OVERLAP = 0.25;
/** Latents of a side below which a tile is mostly border. */
const LEAST = 16;

/**
 * Checks what `vaeTiling` was given.
 *
 * @throws TypeError, RangeError
 */
export function readTiling(value: unknown, { factor, latent }: { factor: number; latent: boolean }): Tiling {
  if (value === undefined || value === 'auto') return { way: 'auto', overlap: OVERLAP };
  if (value === false) return { way: 'whole', overlap: OVERLAP };
  if (value !== true && (typeof value !== 'object' || value === null)) {
    throw wrongType("'auto', true, false or { tile, overlap }", 'vaeTiling', value);
  }
  if (!latent) throw new TypeError('Expected no vaeTiling for a network in pixels, which has no autoencoder');
  if (value === true) return { way: 'stepped', overlap: OVERLAP };
  knownOptions(value, ['tile', 'overlap'], 'vaeTiling');
  const { tile, overlap = OVERLAP } = value as { tile?: unknown; overlap?: unknown };
  if (typeof overlap !== 'number') throw wrongType('a number from 0 to 0.5', 'vaeTiling.overlap', overlap);
  if (!(overlap >= 0 && overlap <= 0.5)) throw outOfRange('a number from 0 to 0.5', 'vaeTiling.overlap', overlap);
  if (tile === undefined) return { way: 'even', overlap };
  const side = wholeNumber(tile, 'vaeTiling.tile', 4 * factor);
  if (side % factor !== 0) {
    throw outOfRange(`a multiple of ${factor}, the pixels of a latent,`, 'vaeTiling.tile', side);
  }
  return { way: 'even', tile: side, overlap };
}

/** A cut, and why it is made. */
export interface Choice {
  readonly cut: Cut;
  readonly why: Tiles['why'];
}

/** What is cut: latents, and the graph that takes a tile of them. */
export interface Whole {
  readonly height: number;
  readonly width: number;
  /** Sizes that the graph was exported for, in latents, where it takes no others. */
  readonly fixed: { readonly height?: number; readonly width?: number };
}

/**
 * How a picture is cut; undefined where it is taken whole.
 *
 * @param room bytes that may be taken; asked for where `'auto'` needs to know
 */
export function cutOf(
  { trained, factor }: Pick<Vae, 'trained' | 'factor'>,
  { height, width, fixed }: Whole,
  { way, tile, overlap }: Tiling,
  room: () => number = () => availableMemory().bytes,
): Choice | undefined {
  const tall = fixed.height !== undefined && fixed.height < height;
  const wide = fixed.width !== undefined && fixed.width < width;
  if (tall || wide) {
    const rows = evenSpans(height, fixed.height ?? height, overlap, tall);
    return { cut: { rows, columns: evenSpans(width, fixed.width ?? width, overlap, wide) }, why: 'graph' };
  }
  // A graph of a fixed size takes nothing smaller either.
  if (way === 'whole' || fixed.height !== undefined || fixed.width !== undefined) return undefined;
  const most = Math.max(1, Math.floor((tile ?? trained.size) / factor));
  if (way === 'stepped') {
    if (height <= most && width <= most) return undefined;
    return {
      cut: { rows: steppedSpans(height, most, overlap), columns: steppedSpans(width, most, overlap) },
      why: 'asked',
    };
  }
  if (way === 'even') {
    if (height <= most && width <= most) return undefined;
    return { cut: even(height, width, most, overlap), why: 'asked' };
  }
  const free = room();
  const longest = Math.max(height, width);
  if (longest <= LEAST || bytesFor(trained, height, width, factor) <= free) return undefined;
  for (let side = longest; ; ) {
    side = Math.max(LEAST, Math.floor((side * 3) / 4));
    const cut = even(height, width, side, overlap);
    const [row, column] = [cut.rows[0], cut.columns[0]];
    if (side === LEAST || bytesFor(trained, row.length, column.length, factor) <= free) return { cut, why: 'memory' };
  }
}

/** The next smaller cut after one that did not fit; undefined where there is none. */
export function nextCut(
  { height, width, fixed }: Whole,
  { overlap }: Tiling,
  before: Cut | undefined,
): Choice | undefined {
  if (fixed.height !== undefined || fixed.width !== undefined) return undefined;
  const side = before ? Math.max(before.rows[0].length, before.columns[0].length) : Math.max(height, width);
  if (side <= LEAST) return undefined;
  const cut = even(height, width, Math.max(LEAST, Math.floor(side / 2)), overlap);
  return { cut, why: 'memory' };
}

function even(height: number, width: number, most: number, overlap: number): Cut {
  return { rows: evenSpans(height, most, overlap), columns: evenSpans(width, most, overlap) };
}

/** Tensors of the second level's width that live at once at full size, and matrices of all latents by all latents. */
const TENSORS = 6.6;
const MATRICES = 3;

/**
 * Bytes that decoding or encoding takes besides the weights, as measured on Stable Diffusion's autoencoder
 * (docs/performance.md): most where the picture has its full size, unless latents are so many that their attention to each
 * other takes more.
 */
export function bytesFor({ widths }: Trained, height: number, width: number, factor: number): number {
  const pixels = height * width * factor * factor;
  return 4 * Math.max(TENSORS * (widths[1] ?? widths[0]) * pixels, MATRICES * (height * width) ** 2);
}

/** The sizes that a graph's input is fixed to, in latents. */
export function fixedSizes(graph: Graph, name: string, pixels: number): Whole['fixed'] {
  const [height, width] = graph.input(name).shape.slice(2);
  return {
    ...(typeof height === 'number' ? { height: height / pixels } : {}),
    ...(typeof width === 'number' ? { width: width / pixels } : {}),
  };
}

/** What is told of a cut. */
export function describeCut({ cut, why }: Choice, factor: number): Tiles {
  const longest = (spans: Cut['rows']) => Math.max(...spans.map(({ length }) => length)) * factor;
  return {
    rows: cut.rows.length,
    columns: cut.columns.length,
    width: longest(cut.columns),
    height: longest(cut.rows),
    why,
  };
}
