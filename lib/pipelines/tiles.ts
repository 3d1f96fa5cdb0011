// Decoding and encoding by tiles, where the whole picture at once would take too much memory. Tiles overlap and are blended
// linearly over the overlap, rows first, as AutoencoderKL.tiled_decode of diffusers does it; every tile has group norms of
// its own, so that tones differ a little from those of the whole picture.

/** A piece of one side, in latents. */
export interface Span {
  readonly start: number;
  readonly length: number;
}

/** How a picture is cut. */
export interface Cut {
  readonly rows: readonly Span[];
  readonly columns: readonly Span[];
}

/** Numbers in planes: `[channels, height, width]`. */
export interface Planes {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/**
 * diffusers' tiles: one every `tile - overlap` latents, the last ones as long as what is left, be it a sliver. A side of one
 * tile is two then, as there: it is called for pictures that are longer than a tile one way or the other.
 *
 * @param overlap share of a tile, 0 to 0.5
 */
export function steppedSpans(length: number, tile: number, overlap: number): Span[] {
  const step = Math.floor(tile * (1 - overlap));
  return Array.from({ length: Math.ceil(length / step) }, (_, i) => ({
    start: i * step,
    length: Math.min(tile, length - i * step),
  }));
}

/**
 * Tiles of one size, spread evenly: as few as there can be with the overlap, and no longer than they have to be.
 *
 * @param most latents of a tile
 * @param overlap share of a tile, 0 to 0.5
 * @param fixed whether the graph takes tiles of `most` latents only
 */
export function evenSpans(length: number, most: number, overlap: number, fixed = false): Span[] {
  if (length <= most) return [{ start: 0, length }];
  const shared = Math.floor(most * overlap);
  const count = Math.ceil((length - shared) / (most - shared));
  const tile = fixed ? most : Math.ceil((length + (count - 1) * shared) / count);
  return Array.from({ length: count }, (_, i) => ({
    start: Math.round((i * (length - tile)) / (count - 1)),
    length: tile,
  }));
}

/** How many tiles there are. */
export function tilesOf({ rows, columns }: Cut): number {
  return rows.length * columns.length;
}

/**
 * What `make` does of the whole, tile by tile.
 *
 * @param source what is cut, `unit` numbers of a row or column a latent
 * @param grown what is made, numbers of a row or column a latent
 * @param make what becomes of one tile; it may keep nothing of what it is given, nor what it returns
 */
export async function byTiles(
  { data, dims: [channels, height, width] }: Planes,
  unit: number,
  grown: number,
  { rows, columns }: Cut,
  make: (tile: { data: Float32Array; dims: number[] }) => Promise<{ data: Float32Array; dims: readonly number[] }>,
): Promise<{ data: Float32Array; dims: number[] }> {
  let result: Float32Array | undefined;
  let made = 0;
  const full = { height: (height / unit) * grown, width: (width / unit) * grown };
  /** The lower ends of the row of tiles above. */
  let above: Float32Array[] = [];
  for (const [i, row] of rows.entries()) {
    const below: Float32Array[] = [];
    let left: Float32Array | undefined;
    for (const [j, column] of columns.entries()) {
      const tile = await make(
        part(data, [channels, height, width], {
          top: row.start * unit,
          left: column.start * unit,
          rows: row.length * unit,
          columns: column.length * unit,
        }),
      );
      const [planes, h, w] = tile.dims;
      made = planes;
      result ??= new Float32Array(planes * full.height * full.width);
      if (i > 0) blendDown(above[j], tile.data, planes, h, w);
      if (left) blendRight(left, tile.data, planes, h, w);
      // What the next ones begin with, and what is shown of this one.
      const next = { row: rows[i + 1]?.start, column: columns[j + 1]?.start };
      const shown = {
        rows: next.row === undefined ? h : (next.row - row.start) * grown,
        columns: next.column === undefined ? w : (next.column - column.start) * grown,
      };
      if (next.row !== undefined) {
        below.push(part(tile.data, tile.dims, { top: shown.rows, left: 0, rows: h - shown.rows, columns: w }).data);
      }
      left =
        next.column === undefined
          ? undefined
          : part(tile.data, tile.dims, { top: 0, left: shown.columns, rows: h, columns: w - shown.columns }).data;
      for (let c = 0; c < planes; c++) {
        for (let y = 0; y < shown.rows; y++) {
          const from = (c * h + y) * w;
          const to = (c * full.height + row.start * grown + y) * full.width + column.start * grown;
          result.set(tile.data.subarray(from, from + shown.columns), to);
        }
      }
    }
    above = below;
  }
  return { data: result as Float32Array, dims: [made, full.height, full.width] };
}

interface Area {
  top: number;
  left: number;
  rows: number;
  columns: number;
}

function part(
  data: Float32Array,
  [planes, height, width]: readonly number[],
  { top, left, rows, columns }: Area,
): { data: Float32Array; dims: number[] } {
  const result = new Float32Array(planes * rows * columns);
  for (let c = 0; c < planes; c++) {
    for (let y = 0; y < rows; y++) {
      const from = (c * height + top + y) * width + left;
      result.set(data.subarray(from, from + columns), (c * rows + y) * columns);
    }
  }
  return { data: result, dims: [planes, rows, columns] };
}

/** From all of the tile above at the first row to all of this one: `above` is its end, as wide as the tile. */
function blendDown(above: Float32Array, tile: Float32Array, planes: number, height: number, width: number): void {
  const extent = above.length / (planes * width);
  for (let c = 0; c < planes; c++) {
    for (let y = 0; y < extent; y++) {
      const share = y / extent;
      const at = (c * height + y) * width;
      const from = (c * extent + y) * width;
      for (let x = 0; x < width; x++) tile[at + x] = above[from + x] * (1 - share) + tile[at + x] * share;
    }
  }
}

/** The same from left to right. */
function blendRight(left: Float32Array, tile: Float32Array, planes: number, height: number, width: number): void {
  const extent = left.length / (planes * height);
  for (let row = 0; row < planes * height; row++) {
    for (let x = 0; x < extent; x++) {
      const share = x / extent;
      const at = row * width + x;
      tile[at] = left[row * extent + x] * (1 - share) + tile[at] * share;
    }
  }
}
