// Colours of latents by a linear map of their channels: what previews cost nothing by.
import { generator } from '../addon/noise.js';
import { solveSymmetric } from '../calibrate/linear.js';
import type { Vae } from './vae.js';

/** Rows of red, green and blue in [-1, 1]: what each channel adds, and at the end what is there without any. */
export type ColorMap = readonly (readonly number[])[];

/**
 * The maps of common autoencoders, for latents as their networks have them, by what is told of an autoencoder's configuration.
 * The figures are those of ComfyUI's comfy/latent_formats.py (`latent_rgb_factors` and their bias), where they were fitted to
 * pictures.
 */
const KNOWN: readonly { scaling: number; shift: number; means: boolean; map: ColorMap }[] = [
  {
    // Stable Diffusion 1 and 2.
    ...{ scaling: 0.18215, shift: 0, means: false },
    map: [
      [0.3512, 0.2297, 0.3227],
      [0.325, 0.4974, 0.235],
      [-0.2829, 0.1762, 0.2721],
      [-0.212, -0.2616, -0.7177],
      [0, 0, 0],
    ],
  },
  {
    // Stable Diffusion XL.
    ...{ scaling: 0.13025, shift: 0, means: false },
    map: [
      [0.3651, 0.4232, 0.4341],
      [-0.2533, -0.0042, 0.1068],
      [0.1076, 0.1111, -0.0362],
      [-0.3165, -0.2492, -0.2188],
      [0.1084, -0.0175, -0.0011],
    ],
  },
  {
    // Playground 2.5.
    ...{ scaling: 0.5, shift: 0, means: true },
    map: [
      [0.392, 0.4054, 0.4549],
      [-0.2634, -0.0196, 0.0653],
      [0.0568, 0.1687, -0.0755],
      [-0.3112, -0.2359, -0.2076],
      [0, 0, 0],
    ],
  },
  {
    // Stable Diffusion 3.
    ...{ scaling: 1.5305, shift: 0.0609, means: false },
    map: [
      [-0.0922, -0.0175, 0.0749],
      [0.0311, 0.0633, 0.0954],
      [0.1994, 0.0927, 0.0458],
      [0.0856, 0.0339, 0.0902],
      [0.0587, 0.0272, -0.0496],
      [-0.0006, 0.1104, 0.0309],
      [0.0978, 0.0306, 0.0427],
      [-0.0042, 0.1038, 0.1358],
      [-0.0194, 0.002, 0.0669],
      [-0.0488, 0.013, -0.0268],
      [0.0922, 0.0988, 0.0951],
      [-0.0278, 0.0524, -0.0542],
      [0.0332, 0.0456, 0.0895],
      [-0.0069, -0.003, -0.081],
      [-0.0596, -0.0465, -0.0293],
      [-0.1448, -0.1463, -0.1189],
      [0.2394, 0.2135, 0.1925],
    ],
  },
  {
    // Flux.
    ...{ scaling: 0.3611, shift: 0.1159, means: false },
    map: [
      [-0.0346, 0.0244, 0.0681],
      [0.0034, 0.021, 0.0687],
      [0.0275, -0.0668, -0.0433],
      [-0.0174, 0.016, 0.0617],
      [0.0859, 0.0721, 0.0329],
      [0.0004, 0.0383, 0.0115],
      [0.0405, 0.0861, 0.0915],
      [-0.0236, -0.0185, -0.0259],
      [-0.0245, 0.025, 0.118],
      [0.1008, 0.0755, -0.0421],
      [-0.0515, 0.0201, 0.0011],
      [0.0428, -0.0012, -0.0036],
      [0.0817, 0.0765, 0.0749],
      [-0.1264, -0.0522, -0.1103],
      [-0.028, -0.0881, -0.0499],
      [-0.1262, -0.0982, -0.0778],
      [-0.0329, -0.0718, -0.0851],
    ],
  },
];

/** The widths of all of them. */
const WIDTHS = '128,256,512,512';

/** The published map of an autoencoder with this configuration; undefined where none is known. */
export function knownMap(
  { trained, identity }: Pick<Vae, 'trained' | 'identity'>,
  channels: number,
): ColorMap | undefined {
  if (trained.widths.join() !== WIDTHS) return undefined;
  const { scaling, shift, means } = identity;
  const same = KNOWN.find((one) => one.scaling === scaling && one.shift === shift && one.means === means);
  return same?.map.length === channels + 1 ? same.map : undefined;
}

/** Pixels in [-1, 1], `[3, height, width]`, one for each of the latents of dims `[channels, height, width]`. */
export function paint(
  map: ColorMap,
  latents: Float32Array,
  [channels, height, width]: readonly number[],
): Float32Array {
  const plane = height * width;
  const pixels = new Float32Array(3 * plane);
  for (let color = 0; color < 3; color++) {
    const out = pixels.subarray(color * plane, (color + 1) * plane).fill(map[channels][color]);
    for (let c = 0; c < channels; c++) {
      const weight = map[c][color];
      for (let i = 0; i < plane; i++) out[i] += weight * latents[c * plane + i];
    }
  }
  return pixels;
}

/** Latents of a side that a decoder is tried with: a picture that is decoded in a second. */
const TRIAL = 16;
/** Of those, latents of a side that are alike: decoders answer to what is flat, and pictures mostly are. */
const FLAT = 4;

/** Dims of {@link trialLatents}. */
export function trialDims(channels: number): readonly [number, number, number] {
  return [channels, TRIAL, TRIAL];
}

/** Latents to try a decoder with: patches of one colour each, with grain. */
export function trialLatents(channels: number): Float32Array {
  const [, height, width] = trialDims(channels);
  const [rows, columns] = [Math.ceil(height / FLAT), Math.ceil(width / FLAT)];
  const draws = generator(0);
  const patches = draws.randn([channels, rows, columns]).data;
  const grain = draws.randn([channels, height, width]).data;
  return Float32Array.from(grain, (value, i) => {
    const [c, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    return 0.9 * patches[(c * rows + Math.floor(y / FLAT)) * columns + Math.floor(x / FLAT)] + 0.45 * value;
  });
}

/**
 * The map that comes nearest to what a decoder made: least squares over all latents, each with the mean of its pixels.
 *
 * @param dims of the latents, `[channels, height, width]`
 * @param pixels `[3, factor height, factor width]`
 */
export function fitMap(latents: Float32Array, dims: readonly number[], pixels: Float32Array): ColorMap {
  const [channels, height, width] = dims;
  const plane = height * width;
  const means = shrunk(pixels, height, width);
  const n = channels + 1;
  // Normal equations, a row for every channel and one for the constant.
  const left = new Float64Array(n * n);
  const right = Array.from({ length: 3 }, () => new Float64Array(n));
  const value = (c: number, i: number) => (c < channels ? latents[c * plane + i] : 1);
  for (let i = 0; i < plane; i++) {
    for (let r = 0; r < n; r++) {
      const own = value(r, i);
      for (let c = 0; c < n; c++) left[r * n + c] += own * value(c, i);
      for (let color = 0; color < 3; color++) right[color][r] += own * means[color * plane + i];
    }
  }
  // A channel that is the same everywhere adds nothing, and does not spoil the others.
  for (let r = 0; r < n; r++) left[r * n + r] += 1e-6 * plane;
  // Of a decoder that made no numbers there is no map.
  const columns = right.map((one) => solveSymmetric(left, one) ?? new Float64Array(n).fill(Number.NaN));
  return Array.from({ length: n }, (_, r) => columns.map((column) => column[r]));
}

/** Means of the pixels of every latent. */
function shrunk(pixels: Float32Array, height: number, width: number): Float64Array {
  const factor = Math.sqrt(pixels.length / 3 / (height * width));
  const means = new Float64Array(3 * height * width);
  const [tall, wide] = [height * factor, width * factor];
  for (let i = 0; i < pixels.length; i++) {
    const [color, y, x] = [Math.floor(i / (tall * wide)), Math.floor(i / wide) % tall, i % wide];
    means[(color * height + Math.floor(y / factor)) * width + Math.floor(x / factor)] += pixels[i] / factor ** 2;
  }
  return means;
}

/** How alike two maps are, whatever their size: the cosine of what channels add, the mean of the three colours. */
export function likeness(a: ColorMap, b: ColorMap): number {
  const channels = a.length - 1;
  let sum = 0;
  for (let color = 0; color < 3; color++) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let c = 0; c < channels; c++) {
      const [x, y] = [a[c][color], b[c][color]];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    sum += aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0;
  }
  return sum / 3;
}
