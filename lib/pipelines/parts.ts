// The parts of a pipeline, loaded from the directories that exported diffusion pipelines come in.
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { knownOptions, oneOf, optionalFunction, show, wholeNumber, wrongType } from '../base/check.js';
import { readJson } from '../folder/files.js';
import { originOf } from '../folder/scheduler-keys.js';
import { findModel, HUB_OPTIONS, type HubOptions, modelName } from '../hub/index.js';
import { GRAPH_DEVICES, type GraphDevice, type SessionOptions } from '../onnx/graph.js';
import { type FolderScheduler, type NetworkFacts, readScheduler, type Training } from '../schedulers/network.js';
import type { SolverTable } from '../solver/table.js';
import { Conditioner } from './conditioner.js';
import { Denoiser } from './denoiser.js';
import { chooseDevice, giveUp } from './device.js';
import { chooseMemory, loadGraphs, type Memory, type Needs, usualNeeds } from './memory.js';
import { findNetwork } from './network-facts.js';
import { Previewer } from './preview.js';
import type { Limits } from './request.js';
import { SmallDecoder } from './small-decoder.js';
import type { OnProgress } from './stages.js';
import { readTables } from './tables.js';
import { Vae } from './vae.js';

/** How {@link DiffusionPipeline.fromPretrained} loads a folder. */
export interface PipelineOptions extends Omit<HubOptions, 'onProgress'> {
  /** onnxruntime's execution providers in order of preference; what `device` says where absent. */
  executionProviders?: SessionOptions['executionProviders'];
  /** Which graphs are taken where a directory has both: model_fp16.onnx comes before model.onnx for `'float16'`. */
  dtype?: 'float32' | 'float16';
  /**
   * Where the networks run: `'cpu'` (the default), `'webgpu'` on any graphics processor, `'cuda'` on an NVIDIA card,
   * `'coreml'` on macOS, `'dml'` on Windows. `'auto'` takes the fastest that computes this folder's network rightly, which a
   * process of its own finds out the first time, and the CPU with a warning where there is none. On WebGPU latents stay there,
   * and the solver's step is made there where that can be; elsewhere it is the CPU's.
   */
  device?: 'auto' | GraphDevice;
  /** Threads of one network operator; onnxruntime's choice where absent or 0. */
  networkThreads?: number;
  /**
   * `'fast'`: all networks are loaded at once and kept. `'low'`: each is loaded when its turn comes and freed after, so that a
   * call takes what its largest part takes, and loads anew. `'auto'`, the default: `'fast'` where all of it fits into the
   * memory that the machine, the container or `ulimit` leaves.
   */
  memory?: 'auto' | 'low' | 'fast';
  /**
   * A small decoder for previews, as TAESD is one: an ONNX graph from latents to pictures, or its folder. By itself one is taken
   * from the model's folder (`taesd/` or `vae_preview/`); diffusers' AutoencoderTiny has its `config.json` beside it.
   */
  previewDecoder?: string;
  /** Told of the bytes that are fetched and loaded: stages `'fetch'` and `'load'`. */
  onProgress?: OnProgress;
}

/** Networks and what is known of them; nothing here changes from call to call. */
export interface Parts {
  readonly denoiser: Denoiser;
  /** The network as a session shares it; the calls' own where absent. */
  readonly shared?: Pick<Denoiser, 'prepare'>;
  readonly conditioner: Conditioner;
  /** null: the network works in pixels. */
  readonly vae: Vae | null;
  /** Of latents; null for pixels. */
  readonly previewer: Previewer | null;
  readonly small: SmallDecoder | undefined;
  readonly scheduler: FolderScheduler;
  /** For DPM-Solver; throws the scheduler's refusal where it cannot follow the network. */
  readonly training: Training;
  /** Is the network one of flow matching? */
  readonly flow: boolean;
  readonly folder: string;
  readonly classifierFolder: string | undefined;
  readonly limits: Limits;
  /** The folder's own, made by calibration. */
  readonly tables: readonly SolverTable[];
  readonly session: SessionOptions;
  readonly memory: Memory;
  /** Do the networks take the machine's memory, and not a card's? */
  readonly onHost: boolean;
}

/** Guidance scales that the kinds of networks are used with. */
const SCALES: Record<Denoiser['kind'], number> = { plain: 7.5, xl: 5, sd3: 7, flux: 3.5 };
/** Of consistency models, which take it as an input. */
const CONSISTENCY_SCALE = 8.5;
/** Of networks in pixels. */
const PIXEL_SCALE = 3;
const STEPS = { distilled: 4, others: 20 };

/** What is known of a pipeline before its networks are loaded. */
export interface Described {
  readonly limits: Limits;
  /** Bytes that a usual call takes of the host's memory; undefined for networks on a card. */
  readonly needs: Needs | undefined;
}

/**
 * Loads what {@link DiffusionPipeline.fromPretrained} says; frees what it had loaded where something is wrong.
 *
 * @param gate loading waits for it
 */
export async function loadParts(
  model: string,
  options: PipelineOptions,
  gate?: (described: Described) => Promise<void>,
): Promise<Parts> {
  if (typeof model !== 'string') throw wrongType("the path of a folder or a model's name on a hub", 'the model', model);
  const { graphs, device, dtype, given, memory, hub } = readOptions(options);
  const { onProgress, previewDecoder } = options;
  const folder = await findModel(model, { ...hub, dtype });
  const index = readJson(folder, ['model_index.json']).json;
  const has = (part: string) => isNamed(index[part]) || existsSync(join(folder, part));
  const { inPixels, classifierFolder } = ownOf(folder, index);
  const tables = readTables(folder);
  // Every file is looked for, and the small ones are read, before gigabytes are loaded.
  const network = has('transformer') ? 'transformer' : 'unet';
  schedulerOf(folder, index, { ...(network === 'transformer' ? { trained: 'flow' } : {}) });
  const latent = !inPixels && ['vae_decoder', 'vae_encoder', 'vae'].some(has);
  const encoders = Conditioner.find(folder, index, graphs);
  findNetwork(folder, network, graphs);
  if (latent) Vae.find(folder, graphs);
  const trial = { folder, network, names: graphs, threads: given.threads } as const;
  const open = (on: GraphDevice) =>
    openParts(
      folder,
      {
        index,
        graphs,
        network,
        encoders,
        latent,
        classifierFolder,
        tables,
        inPixels,
        memory,
        onProgress,
        previewDecoder,
        gate,
      },
      { ...given, device: on },
    );
  if (device !== 'auto') return open(device);
  const chosen = await chooseDevice(trial, dtype);
  try {
    return await open(chosen);
  } catch (error) {
    if (chosen === 'cpu') throw error;
    // What worked once has gone, or has no room for the whole of the pipeline.
    await giveUp({ ...trial, device: chosen }, error as Error);
    return open('cpu');
  }
}

/** What has been found in a folder. */
interface Found {
  readonly index: Readonly<Record<string, unknown>>;
  readonly graphs: readonly string[];
  readonly network: 'unet' | 'transformer';
  readonly encoders: ReturnType<typeof Conditioner.find>;
  readonly latent: boolean;
  readonly inPixels: boolean;
  readonly classifierFolder: string | undefined;
  readonly tables: readonly SolverTable[];
  readonly memory: NonNullable<PipelineOptions['memory']>;
  readonly onProgress: OnProgress | undefined;
  readonly previewDecoder: string | undefined;
  readonly gate: ((described: Described) => Promise<void>) | undefined;
}

async function openParts(folder: string, found: Found, session: SessionOptions): Promise<Parts> {
  const {
    index,
    graphs,
    network,
    encoders,
    latent,
    inPixels,
    classifierFolder,
    tables,
    memory,
    onProgress,
    previewDecoder,
    gate,
  } = found;
  const opened: { release(): Promise<void> }[] = [];
  try {
    const pipeline = typeof index._class_name === 'string' ? index._class_name : undefined;
    const denoiser = await Denoiser.open(folder, network, graphs, session, pipeline);
    opened.push(denoiser);
    const scheduler = schedulerOf(folder, index, factsOf(denoiser));
    // Pixels have one or three channels.
    if (!latent && ![1, 3].includes(denoiser.channels)) Vae.find(folder, graphs);
    const conditioner = await Conditioner.open(folder, index, encoders, denoiser, graphs, session);
    opened.push(conditioner);
    const vae = latent ? await Vae.open(folder, graphs, session, denoiser.kind === 'plain') : null;
    if (vae) opened.push(vae);
    const small = vae ? SmallDecoder.open(folder, previewDecoder, session) : undefined;
    if (small) opened.push(small);
    const previewer = vae && new Previewer(vae, small);
    const limits = limitsOf(denoiser, vae, scheduler, inPixels);
    const { config } = scheduler;
    // What a card has is not the host's to count.
    const onHost = session.executionProviders === undefined && session.device === 'cpu';
    const networks = { denoiser, conditioner, vae, limits };
    await gate?.({ limits, needs: onHost ? usualNeeds(networks) : undefined });
    const chosen = memory !== 'auto' ? memory : onHost ? chooseMemory(networks) : ('fast' as const);
    if (chosen === 'low') networks.vae?.decoder.setAlone();
    // Everything has been looked at before gigabytes are loaded.
    const all = [...conditioner.graphs, denoiser.graph, ...(vae ? [vae.decoder] : [])];
    if (chosen === 'fast') await loadGraphs(all, onProgress);
    return {
      ...{
        denoiser,
        conditioner,
        vae,
        previewer,
        small,
        scheduler,
        folder,
        onHost,
        classifierFolder,
        limits,
        tables,
        session,
        memory: chosen,
      },
      get training() {
        return scheduler.training;
      },
      flow: originOf(scheduler.name)?.network === 'flow' || config.use_flow_sigmas === true,
    };
  } catch (error) {
    await Promise.all(opened.map((part) => part.release()));
    throw error;
  }
}

/** Does model_index.json name a class for a part? diffusers writes [null, null] for one that was left out. */
export function isNamed(entry: unknown): boolean {
  return Array.isArray(entry) ? entry[0] !== null : entry !== undefined && entry !== null;
}

/** What model_index.json has for this package alone. */
function ownOf(
  folder: string,
  index: Readonly<Record<string, unknown>>,
): { inPixels: boolean; classifierFolder: string | undefined } {
  const own = (index._dpm_solver ?? {}) as { space?: unknown; classifier?: unknown };
  const { classifier } = own;
  if (
    classifier !== undefined &&
    (typeof classifier !== 'string' || !/^[\w.-]+$/.test(classifier) || /^\.+$/.test(classifier))
  ) {
    throw new Error(
      `Expected the name of a folder in ${folder} for classifier in model_index.json but found ${show(classifier)}`,
    );
  }
  return {
    inPixels: own.space === 'pixel',
    classifierFolder: classifier ?? (existsSync(join(folder, 'classifier')) ? 'classifier' : undefined),
  };
}

/** What the network's own file proves of its training. */
function factsOf({ facts, distilled }: Denoiser): NetworkFacts {
  const { kind, guidanceWidth } = facts;
  return {
    ...(kind === 'sd3' || kind === 'flux' ? { trained: 'flow' as const } : {}),
    // Consistency models, and Flux without its input for guidance: schnell.
    distilled: guidanceWidth > 0 || (kind === 'flux' && !distilled),
  };
}

/** The scheduler's file, with what the folder's other files say of it. */
function schedulerOf(folder: string, index: Readonly<Record<string, unknown>>, network: NetworkFacts): FolderScheduler {
  const { json, path } = readJson(folder, ['scheduler/scheduler_config.json']);
  // [library, class], as diffusers writes it.
  const named = Array.isArray(index.scheduler) ? index.scheduler[1] : undefined;
  const names = [modelName(folder), lastPart(index._name_or_path), String(index._class_name)];
  return readScheduler(json, path, {
    ...network,
    names,
    ...(typeof named === 'string' ? { named } : {}),
    ...(typeof index._class_name === 'string' ? { pipeline: index._class_name } : {}),
  });
}

/** The last part of a model's name or path: what is before it says who made it. */
function lastPart(name: unknown): string {
  return typeof name === 'string' ? basename(name) : '';
}

function readOptions(options: PipelineOptions): {
  graphs: readonly string[];
  device: 'auto' | GraphDevice;
  dtype: 'float32' | 'float16';
  memory: NonNullable<PipelineOptions['memory']>;
  given: SessionOptions;
  hub: HubOptions;
} {
  const known = ['executionProviders', 'dtype', 'device', 'networkThreads', 'memory', 'previewDecoder', ...HUB_OPTIONS];
  knownOptions(options, known, 'fromPretrained');
  optionalFunction(options.onProgress, 'onProgress');
  if (options.previewDecoder !== undefined && typeof options.previewDecoder !== 'string') {
    throw wrongType('the path of a graph or a folder', 'previewDecoder', options.previewDecoder);
  }
  const memory = oneOf(options.memory ?? 'auto', 'memory', ['auto', 'low', 'fast']);
  const dtype = oneOf(options.dtype ?? 'float32', 'dtype', ['float32', 'float16']);
  const { executionProviders, networkThreads } = options;
  const hub: HubOptions = Object.fromEntries(HUB_OPTIONS.map((key) => [key, options[key]]));
  if (executionProviders !== undefined && !Array.isArray(executionProviders)) {
    throw wrongType('an array of names or objects', 'executionProviders', executionProviders);
  }
  if (networkThreads !== undefined) wholeNumber(networkThreads, 'networkThreads', 0);
  const device = oneOf<'auto' | GraphDevice>(options.device ?? 'cpu', 'device', ['auto', ...GRAPH_DEVICES]);
  return {
    memory,
    graphs: dtype === 'float16' ? ['model_fp16.onnx', 'model.onnx'] : ['model.onnx'],
    // Whoever names providers has chosen.
    device: executionProviders === undefined ? device : 'cpu',
    dtype,
    hub,
    given: { threads: networkThreads, ...(executionProviders ? { executionProviders } : {}) },
  };
}

function limitsOf(denoiser: Denoiser, vae: Vae | null, scheduler: FolderScheduler, inPixels: boolean): Limits {
  const { kind, channels, patch, multiple, extraChannels, size, guidanceWidth } = denoiser.facts;
  const factor = vae?.factor ?? 1;
  const [height, width] = size;
  const guidance = denoiser.distilled ? 'input' : kind === 'flux' ? 'none' : 'pair';
  const few = scheduler.distilled;
  const standard = guidanceWidth > 0 ? CONSISTENCY_SCALE : inPixels ? PIXEL_SCALE : SCALES[kind];
  return {
    ...{ latent: vae !== null, channels, factor, patch, guidance },
    unit: Math.max(multiple, patch),
    size: { width: width * factor, height: height * factor },
    defaultSteps: few ? STEPS.distilled : STEPS.others,
    // One that was distilled to a few steps has its guidance in it, unless it takes a scale.
    defaultGuidance: guidance === 'none' || (few && guidance === 'pair') ? 1 : standard,
    inpainting: extraChannels > 0,
  };
}

/** Frees the networks, after the runs that are under way. */
export async function releaseParts({ denoiser, conditioner, vae, small }: Parts): Promise<void> {
  await Promise.all([denoiser.release(), conditioner.release(), vae?.release(), small?.release()]);
}
