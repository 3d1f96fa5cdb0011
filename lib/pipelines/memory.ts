// What a call takes of the machine's memory, and how: all networks at once, or each while its turn lasts.
import { dirname } from 'node:path';
import { availableMemory, type Room } from '../base/memory.js';
import { bytes } from '../base/text.js';
import { isThere, readJson } from '../folder/files.js';
import type { Graph } from '../onnx/graph.js';
import type { Conditioner, Size } from './conditioner.js';
import type { Denoiser } from './denoiser.js';
import type { Limits } from './request.js';
import { type OnProgress, Stage } from './stages.js';
import { bytesFor, cutOf, fixedSizes, type Tiling } from './tiling.js';
import type { Vae } from './vae.js';

/** How networks share the memory: all are kept, or each is open only while its turn lasts. */
export type Memory = 'low' | 'fast';

/** Loads graphs that are not loaded, one after the other. */
export async function loadGraphs(graphs: readonly Graph[], onProgress: OnProgress | undefined): Promise<void> {
  const missing = graphs.filter((graph) => !graph.loaded);
  if (missing.length > 0) {
    const stage = new Stage('load', sum(missing.map((graph) => graph.bytes)), onProgress);
    for (const graph of missing) {
      await graph.load();
      stage.advance(graph.bytes);
    }
  }
  // Those that somebody else is loading.
  for (const graph of graphs) await graph.load();
}

/** Does work that runs some graphs; with `'low'` they are loaded for it, and unloaded where nobody else is at work with them. */
export async function inTurn<T>(
  graphs: readonly Graph[],
  { memory, onProgress }: { memory: Memory; onProgress: OnProgress | undefined },
  work: () => Promise<T>,
): Promise<T> {
  for (const graph of graphs) graph.hold();
  try {
    await loadGraphs(graphs, onProgress);
    return await work();
  } finally {
    await Promise.all(graphs.map((graph) => graph.drop(memory === 'low')));
  }
}

/** Bytes that a call takes, as far as they can be told from its graphs; the process itself is not in them. */
export interface Needs {
  /** With all networks open. */
  readonly fast: number;
  /** With one at a time. */
  readonly low: number;
}

interface Networks {
  readonly denoiser: Denoiser;
  readonly conditioner: Conditioner;
  readonly vae: Vae | null;
  readonly limits: Limits;
}

/**
 * What a call will take.
 *
 * @param samples of one network call: pictures, twice under classifier-free guidance
 */
export function needsOf(
  { denoiser, conditioner, vae, limits }: Networks,
  { width, height }: Size,
  samples: number,
  tiling: Tiling,
): Needs {
  const [h, w] = [height / limits.factor, width / limits.factor];
  const encoders = conditioner.graphs.map(inMemory);
  const network = inMemory(denoiser.graph);
  const run = denoisingBytes(denoiser.graph, h, w, samples, limits.patch);
  let [decoder, decoding] = [0, 0];
  if (vae) {
    decoder = inMemory(vae.decoder);
    const whole = { height: h, width: w, fixed: fixedSizes(vae.decoder, 'latent_sample', 1) };
    // With 'auto' it will be by tiles that fit, the smallest of which hardly take anything.
    const choice = cutOf(vae, whole, tiling, () => (tiling.way === 'auto' ? 0 : Infinity));
    const [rows, columns] = choice ? [choice.cut.rows[0].length, choice.cut.columns[0].length] : [h, w];
    decoding = bytesFor(vae.trained, rows, columns, vae.factor);
  }
  return {
    fast: sum(encoders) + network + decoder + Math.max(run, decoding),
    low: Math.max(...encoders, 0, network + run, decoder + decoding),
  };
}

/** Room that is not promised to anybody: what the estimates may be wrong by. */
export const MARGIN = 0.9;

/** What a call for one picture of the model's own size takes, under guidance and decoded whole. */
export function usualNeeds(networks: Networks): Needs {
  return needsOf(networks, networks.limits.size, 2, { way: 'whole', overlap: 0 });
}

/** How a pipeline shares the memory where it may choose: all at once if usual pictures, decoded whole, then fit. */
export function chooseMemory(networks: Networks, room: Room = availableMemory()): Memory {
  return usualNeeds(networks).fast <= MARGIN * room.bytes ? 'fast' : 'low';
}

/**
 * What is to be said before a call that will not fit; undefined where it will.
 *
 * @param open bytes of graphs that are loaded already, which take no more of what is left
 */
export function warningOf(
  needs: Needs,
  memory: Memory,
  open: number,
  room: Room = availableMemory(),
): string | undefined {
  const most = needs[memory] - open;
  if (most <= room.bytes) return undefined;
  const whose = { machine: '', group: " by the container's limit", limit: ' by ulimit -v' }[room.by];
  const advice =
    memory === 'fast' && needs.low <= room.bytes
      ? `memory: 'low' takes about ${bytes(needs.low)}`
      : 'smaller pictures, or fewer at once, take less';
  return `This takes about ${bytes(most)} more of memory, and ${bytes(room.bytes)} are left${whose}, so that it may fail: ${advice}`;
}

/** Bytes of the weights of those that are loaded. */
export function openBytes({ denoiser, conditioner, vae }: Networks): number {
  const graphs = [...conditioner.graphs, denoiser.graph, ...(vae ? [vae.decoder] : [])];
  return sum(graphs.filter((graph) => graph.loaded).map(inMemory));
}

/** Weights in memory: onnxruntime widens float16 where it computes on the CPU. */
function inMemory({ file: { weights } }: Graph): number {
  return sum([...weights].map(([type, size]) => (type === 'float16' ? 2 * size : size)));
}

/** Matrices of all tokens by all tokens that live at once, and tensors of the widest level. */
const MATRICES = 3;
const TENSORS = 40;

/**
 * Bytes that one call of a denoiser takes besides its weights, for exports whose attention is not fused, as they come from
 * exporters; measured on Stable Diffusion's (docs/performance.md).
 */
export function denoisingBytes({ path }: Graph, height: number, width: number, samples: number, patch: number): number {
  const folder = dirname(path);
  const config = isThere(folder, 'config.json') ? readJson(folder, ['config.json']).json : {};
  const at = (key: string, level: number): number | undefined => {
    const value = Array.isArray(config[key]) ? config[key][Math.min(level, config[key].length - 1)] : config[key];
    return typeof value === 'number' && value > 0 ? value : undefined;
  };
  const blocks = Array.isArray(config.down_block_types) ? config.down_block_types : undefined;
  if (blocks) {
    const level = blocks.findIndex((name) => /attn/i.test(String(name)));
    const channels = at('block_out_channels', 0) ?? 320;
    const plain = TENSORS * channels * height * width;
    if (level < 0) return 4 * samples * plain;
    // What diffusers' UNets call attention_head_dim is the number of heads.
    const heads = at('num_attention_heads', level) ?? at('attention_head_dim', level) ?? 8;
    return 4 * samples * (MATRICES * heads * ((height * width) / 4 ** level) ** 2 + plain);
  }
  const heads = at('num_attention_heads', 0) ?? 24;
  const side = at('attention_head_dim', 0) ?? 64;
  const tokens = (height * width) / Math.max(patch, 2) ** 2 + TEXT;
  return 4 * samples * (MATRICES * heads * tokens ** 2 + TENSORS * heads * side * tokens);
}

/** Tokens of text that a transformer looks at beside those of the picture, at most. */
const TEXT = 512;

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
