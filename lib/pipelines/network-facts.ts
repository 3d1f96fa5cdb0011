// What a network is: told by the graph itself, by the configuration beside it, and where neither says so by what is known of
// its kind.
import { list, show } from '../base/check.js';
import { findFile, isThere, readJson } from '../folder/files.js';
import type { Graph } from '../onnx/graph.js';

/** The element types a state may be given to a network in. */
export type NetworkType = 'float32' | 'float16' | 'float64';

/**
 * - `plain`: a U-Net with one text encoder, in pixels or latents (Stable Diffusion 1 and 2)
 * - `xl`: a U-Net that is told the picture's size and a pooled vector too (Stable Diffusion XL)
 * - `sd3`: a transformer over latents (Stable Diffusion 3)
 * - `flux`: a transformer over latents packed two by two, with places (Flux)
 */
export type DenoiserKind = 'plain' | 'xl' | 'sd3' | 'flux';

/** The inputs that are conditioned on by prompt, by kind, and those that are made here. */
export const INPUTS: Record<DenoiserKind, { text: readonly string[]; made: readonly string[] }> = {
  plain: { text: ['encoder_hidden_states'], made: ['timestep_cond'] },
  xl: { text: ['encoder_hidden_states', 'text_embeds', 'time_ids'], made: ['timestep_cond'] },
  sd3: { text: ['encoder_hidden_states', 'pooled_projections'], made: [] },
  flux: { text: ['encoder_hidden_states', 'pooled_projections'], made: ['img_ids', 'txt_ids', 'guidance'] },
};

const OUTPUTS = ['out_sample', 'out_hidden_states', 'sample'];

/** Sides of the states that the networks of a kind were trained on, where no file says so. */
const SIZES: Record<DenoiserKind, number> = { plain: 64, xl: 128, sd3: 128, flux: 128 };

/** Numbers of time_ids: height and width twice and where the picture was cut, or a score in place of the second size. */
const TIME_IDS = [6, 5];

/** What is known of a network before a batch is prepared. */
export interface NetworkFacts {
  readonly kind: DenoiserKind;
  /** Names of the state's input and of the output. */
  readonly state: string;
  readonly output: string;
  /** Of the state. */
  readonly type: NetworkType;
  /** Channels of the state, and those that an inpainting network takes besides. */
  readonly channels: number;
  readonly extraChannels: number;
  /** Height and width of the states that the network was trained on. */
  readonly size: readonly [height: number, width: number];
  /** Latents that are one token. */
  readonly patch: number;
  /** Heights and widths of states are multiples of this. */
  readonly multiple: number;
  /** The most that a state's height or width may be; undefined where nothing bounds it. */
  readonly most: number | undefined;
  /** Numbers a token, where the graph or the configuration says so. */
  readonly contextWidth: number | undefined;
  /** Numbers of the embedded guidance scale that a consistency model takes; 0 for others. */
  readonly guidanceWidth: number;
  /** Is it told how beautiful the picture is to be, as the refiner of Stable Diffusion XL is? */
  readonly scored: boolean;
}

/** The graph and its configuration, so that a missing file is told before any network is loaded. */
export function findNetwork(folder: string, network: 'unet' | 'transformer', names: readonly string[]): string {
  return findFile(
    folder,
    names.map((name) => `${network}/${name}`),
  );
}

/**
 * Reads what a graph and its `config.json` say. diffusers' own converter writes no configuration: the graph then
 * declares the channels.
 *
 * @param pipeline the class that model_index.json names
 * @throws Error that names the file, when the graph does not take what a denoiser takes, or the two do not agree
 */
export function readNetwork(
  folder: string,
  network: 'unet' | 'transformer',
  graph: Graph,
  pipeline: string | undefined,
): NetworkFacts {
  const { path } = graph;
  const state = network === 'unet' ? 'sample' : 'hidden_states';
  const type = networkType(graph, state);
  const output = OUTPUTS.find((name) => graph.outputs.has(name)) ?? 'sample';
  networkType(graph, output, 'output');
  graph.input('timestep');
  const kind = kindOf(network, graph);
  const known = [state, 'timestep', ...INPUTS[kind].text, ...INPUTS[kind].made];
  for (const name of graph.inputs.keys()) {
    if (!known.includes(name)) throw new Error(`Nothing is known to feed the input ${name} of ${path} with`);
  }
  const ids = graph.inputs.get('time_ids')?.shape.at(-1);
  if (typeof ids === 'number' && !TIME_IDS.includes(ids)) {
    throw new Error(
      `Expected ${list(TIME_IDS.map(String), 'or')} numbers for the input time_ids of ${path}, which declares ${ids}`,
    );
  }
  const config = readConfig(folder, network);
  const channels = channelsOf(kind, graph, state, output, config, pipeline);
  const { json } = config;
  const patch = kind === 'flux' ? 2 : kind === 'sd3' ? whole(config, 'patch_size', 2) : 1;
  const places = kind === 'sd3' ? whole(config, 'pos_embed_max_size', 0) : 0;
  return {
    ...{ kind, state, output, type, patch },
    ...channels,
    size: sizeOf(kind, graph, state, config),
    multiple: network === 'unet' ? 2 ** levelsOf(config, graph) : patch,
    most: places === 0 ? undefined : places * patch,
    contextWidth: [graph.inputs.get('encoder_hidden_states')?.shape.at(-1), json.joint_attention_dim].find(
      (value) => typeof value === 'number',
    ),
    guidanceWidth: guidanceWidthOf(graph, config),
    scored: ids === 5 || (ids !== 6 && kind === 'xl' && isScored(graph, json)),
  };
}

interface Config {
  readonly json: Readonly<Record<string, unknown>>;
  /** undefined: there is none. */
  readonly path: string | undefined;
}

function readConfig(folder: string, network: string): Config {
  const name = `${network}/config.json`;
  return isThere(folder, name) ? readJson(folder, [name]) : { json: {}, path: undefined };
}

function kindOf(network: 'unet' | 'transformer', graph: Graph): DenoiserKind {
  if (network === 'transformer') return graph.inputs.has('img_ids') ? 'flux' : 'sd3';
  return graph.inputs.has('text_embeds') ? 'xl' : 'plain';
}

/** A whole number above 0 in a configuration, or what stands for an absent one. */
function whole({ json, path }: Config, key: string, standard: number): number {
  const value = json[key] ?? undefined;
  if (value === undefined) return standard;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected a whole number for ${key} in ${path} but found ${show(value)}`);
}

function channelsOf(
  kind: DenoiserKind,
  graph: Graph,
  state: string,
  output: string,
  config: Config,
  pipeline: string | undefined,
): Pick<NetworkFacts, 'channels' | 'extraChannels'> {
  // Packed latents are tokens, whose features come last.
  const at = kind === 'flux' ? -1 : 1;
  const declared = (name: string, place: 'inputs' | 'outputs') => {
    const value = graph[place].get(name)?.shape.at(at);
    return typeof value === 'number' ? value : 0;
  };
  const made = whole(config, 'out_channels', declared(output, 'outputs'));
  // Of an inpainting network the converter declares no number of channels.
  const nine = /^OnnxStableDiffusionInpaintPipeline$/.test(pipeline ?? '') && made > 0 ? 2 * made + 1 : 0;
  const all = whole(config, 'in_channels', declared(state, 'inputs') || nine || made);
  if (all === 0) {
    throw new Error(
      config.path === undefined
        ? `Expected ${state === 'sample' ? 'unet' : 'transformer'}/config.json, as ${graph.path} declares no number of channels, but there is none`
        : `Expected whole numbers for in_channels and sample_size in ${config.path}`,
    );
  }
  const where = config.path ?? graph.path;
  if (kind === 'flux') {
    if (all % 4 !== 0) throw new Error(`Expected a multiple of 4 for in_channels in ${where} but found ${all}`);
    return { channels: all / 4, extraChannels: 0 };
  }
  // Networks that predict a variance too have twice the channels; those are not inpainting networks.
  const channels = made > 0 && made < all ? made : all;
  const extraChannels = all - channels;
  if (extraChannels !== 0 && extraChannels !== channels + 1) {
    throw new Error(
      `Expected ${channels} input channels, or ${2 * channels + 1} of an inpainting network, in ${where} but found ${all}`,
    );
  }
  return { channels, extraChannels };
}

function sizeOf(kind: DenoiserKind, graph: Graph, state: string, { json, path }: Config): readonly [number, number] {
  const declared = kind === 'flux' ? [] : graph.input(state).shape.slice(2);
  const fixed = declared.length === 2 && declared.every((side) => typeof side === 'number');
  const size = json.sample_size ?? (fixed ? declared : path === undefined || kind === 'flux' ? SIZES[kind] : undefined);
  const sides = Array.isArray(size) ? size : [size, size];
  for (const side of sides) {
    if (!(typeof side === 'number' && Number.isSafeInteger(side) && side > 0)) {
      throw new Error(`Expected whole numbers for in_channels and sample_size in ${path}`);
    }
  }
  return [sides[0], sides[1]];
}

/** How often a U-Net halves its states: all of its blocks but the last do, unless the graph itself has to be asked. */
function levelsOf({ json, path }: Config, { file }: Graph): number {
  const blocks = json.down_block_types;
  if (blocks === undefined || blocks === null) return file.halvings;
  if (Array.isArray(blocks) && blocks.length > 0 && blocks.length <= 16) return blocks.length - 1;
  throw new Error(`Expected a list of blocks for down_block_types in ${path} but found ${show(blocks)}`);
}

/** The width of `timestep_cond`: the guidance scale, embedded, that consistency models take (LCM). */
function guidanceWidthOf(graph: Graph, config: Config): number {
  const input = graph.inputs.get('timestep_cond');
  if (!input) return 0;
  const declared = input.shape.at(-1);
  const width = typeof declared === 'number' ? declared : whole(config, 'time_cond_proj_dim', 0);
  if (width > 0) return width;
  throw new Error(
    `Expected time_cond_proj_dim, the width of the input timestep_cond, in ${config.path} but found none`,
  );
}

/** Where the graph leaves the number of time_ids open, the width of their embedding tells: they come beside the pooled vector. */
function isScored(graph: Graph, json: Readonly<Record<string, unknown>>): boolean {
  const { projection_class_embeddings_input_dim: all, addition_time_embed_dim: each } = json;
  const pooled = graph.inputs.get('text_embeds')?.shape.at(-1);
  if (typeof all !== 'number' || typeof each !== 'number' || typeof pooled !== 'number') return false;
  return all - 5 * each === pooled;
}

export function networkType(graph: Graph, name: string, kind: 'input' | 'output' = 'input'): NetworkType {
  const { type } = graph[kind](name);
  if (type === 'float32' || type === 'float16' || type === 'float64') return type;
  const expected = list(['float32', 'float16', 'float64'], 'or');
  throw new Error(`Expected ${expected} for the ${kind} ${name} of ${graph.path} but it is ${show(type)}`);
}
