// A process that runs a network once on a device and once on the CPU. It is a process of its own since drivers write to the
// terminal as they like, and one that is broken may take its process along.
import { convert } from '../addon/native.js';
import { type ElementType, fill, type GraphDevice, type Slot, slot } from '../onnx/graph.js';
import { loadRuntime } from '../onnx/runtime.js';
import { type Conditioning, Denoiser, type Shape } from './denoiser.js';

/** What is to be proved. */
export interface Trial {
  readonly folder: string;
  readonly network: 'unet' | 'transformer';
  readonly names: readonly string[];
  readonly device: GraphDevice;
  readonly threads: number | undefined;
}

/** What came out, or why nothing did. */
export type Proof =
  | {
      /** Root of the mean square of what the outputs differ by, in that of the CPU's; not a number where one is not. */
      readonly difference: number;
      /** The best of two calls. */
      readonly cpuMs: number;
      readonly deviceMs: number;
      /** The network's own pixels or latents for one of the trial's. */
      readonly scale: number;
    }
  | { readonly reason: string };

/** Sides of the trial's latents, where the graph takes any. */
const SIDE = 16;
/** A call that is not worth a second one. */
const LONG_MS = 5000;
/** Tokens, where the graph takes any. */
const TOKENS = 8;

async function prove({ folder, network, names, device, threads }: Trial): Promise<Proof> {
  (await loadRuntime()).env.logLevel = 'fatal';
  const results: { data: Float64Array; ms: number }[] = [];
  let scale = 1;
  for (const one of ['cpu', device] as const) {
    const denoiser = await Denoiser.open(folder, network, names, { device: one, threads });
    try {
      const shape = shapeOf(denoiser);
      scale = (denoiser.facts.size[0] * denoiser.facts.size[1]) / (shape[1] * shape[2]);
      results.push(await run(denoiser, shape));
    } finally {
      await denoiser.release();
    }
  }
  const [cpu, other] = results;
  let [square, sum] = [0, 0];
  cpu.data.forEach((value, i) => {
    square += value * value;
    sum += (value - other.data[i]) ** 2;
  });
  return { difference: Math.sqrt(sum / square), cpuMs: cpu.ms, deviceMs: other.ms, scale };
}

function shapeOf(denoiser: Denoiser): Shape {
  const declared = denoiser.kind === 'flux' ? [] : denoiser.graph.input(denoiser.state).shape.slice(2);
  const [height, width] = denoiser.facts.size.map((own, i) => {
    const fixed = declared[i];
    return typeof fixed === 'number' ? fixed : Math.min(own, SIDE);
  });
  return [denoiser.channels, height, width];
}

async function run(denoiser: Denoiser, shape: Shape): Promise<{ data: Float64Array; ms: number }> {
  const conditioning = new Map<string, Slot>();
  for (const [name, type] of denoiser.conditioning) {
    const { shape: dims } = denoiser.graph.input(name);
    conditioning.set(
      name,
      waves(
        type,
        dims.slice(1).map((dim) => sizeOf(dim, name, denoiser)),
      ),
    );
  }
  const [, height, width] = shape;
  const extra = new Float32Array(denoiser.facts.extraChannels * height * width);
  const evaluate = denoiser.prepare([conditioning as Conditioning], shape, { extra, guidance: 1 });
  const x = waves(denoiser.type, [1, ...shape]);
  let ms = Number.POSITIVE_INFINITY;
  let data = new Float64Array();
  for (let i = 0; i < 3; i++) {
    const begun = performance.now();
    // Late in the schedule, in the units of most networks and in those of a flow.
    const output = await evaluate(x as never, denoiser.kind === 'flux' ? 0.5 : 500);
    const took = performance.now() - begun;
    data = Float64Array.from(numbers(output as Slot));
    // The first call prepares what the others use, and so is left out where it does not tell enough already.
    if (i > 0 || took > LONG_MS) ms = Math.min(ms, took);
    if (took > LONG_MS) break;
  }
  return { data, ms };
}

function sizeOf(dim: number | string, name: string, { facts: { contextWidth } }: Denoiser): number {
  if (typeof dim === 'number') return dim;
  return name === 'time_ids'
    ? 6
    : name === 'encoder_hidden_states' || contextWidth === undefined
      ? TOKENS
      : contextWidth;
}

/** Numbers of the size of noise that are no noise: the same everywhere. */
function waves(type: ElementType, dims: readonly number[]): Slot {
  const made = slot(type, dims);
  const one = slot(type, [1]);
  for (let i = 0; i < made.data.length; i++) {
    fill(one, Math.sin(12.9898 * (i + 1)) * 1.4);
    made.data[i] = one.data[0] as never;
  }
  return made;
}

function numbers({ type, data }: Slot): Float32Array | Float64Array {
  if (type !== 'float16') return data as Float32Array;
  const wide = new Float32Array(data.length);
  convert(data as Uint16Array, wide);
  return wide;
}

process.once('message', async (trial: Trial) => {
  const proof = await prove(trial).catch((error): Proof => ({ reason: (error as Error).message }));
  process.send?.(proof, () => process.disconnect());
});
