// Which files of a repository a pipeline needs: repositories have the same model in several formats, and ONNX is one of them.
import { list } from '../base/check.js';

/** What there is of a model, by the names that exporters give it. */
const PARTS = [
  ...['unet', 'transformer', 'text_encoder', 'text_encoder_2', 'text_encoder_3', 'vae_decoder', 'vae_encoder'],
  // Small decoders for previews.
  ...['taesd', 'taesd/vae_decoder', 'vae_preview', 'vae_preview/vae_decoder'],
  'classifier',
];
const NETWORKS = ['unet', 'transformer'];

/** The only file that every pipeline has. */
export const INDEX = 'model_index.json';
/** Tables that calibration has made, which it adds to. */
export const TABLES = 'scheduler/solver_tables.json';

const SMALL = [
  /^model_index\.json$/,
  /^scheduler\/(?:scheduler_config|solver_tables)\.json$/,
  /^(?:unet|transformer|vae|vae_decoder|vae_encoder|text_encoder(?:_[23])?|classifier)\/config\.json$/,
  /^(?:taesd|vae_preview)\/(?:vae_decoder\/)?config\.json$/,
  /^tokenizer(?:_[23])?\/(?:tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json$/,
  /^tokenizer(?:_[23])?\/merges\.txt$/,
  // Where it is all there is, the sentence that says what converts it needs it.
  /^tokenizer(?:_[23])?\/spiece\.model$/,
];

/** Of other formats, previews and what surrounds a repository: never the weights of a graph. */
const NO_WEIGHTS =
  /\.(?:onnx|json|txt|md|safetensors|ckpt|pt|pth|msgpack|h5|xml|tflite|mlmodelc?|mlpackage|gguf|png|jpe?g|webp|gif|py|model)$|(?:^|\/)(?:openvino|pytorch|diffusion_pytorch|flax|tf)_model.*\.bin$|(?:^|\/)\./i;

/** A choice that a repository leaves. */
export interface Choice {
  readonly dtype?: 'float32' | 'float16';
  readonly subfolder?: string;
}

/** The files that are needed, but for those that graphs name for their weights. */
export interface Needed {
  /** Of the pipeline in the repository: empty, or with a slash at its end. */
  readonly prefix: string;
  /** Paths in the repository. */
  readonly small: readonly string[];
  readonly graphs: readonly string[];
}

/**
 * What a pipeline needs of these files.
 *
 * @throws Error in one sentence: there is no pipeline in them, or several of which one is to be chosen
 */
export function neededOf(id: string, names: readonly string[], choice: Choice): Needed {
  const prefix = prefixOf(id, names, choice);
  const inside = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  return {
    prefix,
    small: inside.filter((name) => SMALL.some((pattern) => pattern.test(name))).map((name) => prefix + name),
    graphs: graphsOf(inside, choice.dtype).map((name) => prefix + name),
  };
}

/** Files beside a graph that may be its weights, by their names alone. */
export function maybeWeights(graph: string, names: readonly string[]): string[] {
  const folder = graph.slice(0, graph.lastIndexOf('/') + 1);
  return names.filter((name) => name.startsWith(folder) && !NO_WEIGHTS.test(name));
}

function prefixOf(id: string, names: readonly string[], { dtype, subfolder }: Choice): string {
  const of = (prefix: string) =>
    names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const isPipeline = (prefix: string) => of(prefix).includes(INDEX) && graphsOf(of(prefix), dtype).some(isNetwork);
  if (subfolder !== undefined) {
    const prefix = `${subfolder}/`;
    if (isPipeline(prefix)) return prefix;
    if (of(prefix).length === 0)
      throw new Error(`There is no folder ${subfolder} in ${id}: it has ${some(foldersOf(names))}`);
    throw nothingIn(`${subfolder} of ${id}`, id, of(prefix), dtype);
  }
  if (isPipeline('')) return '';
  const others = names.filter((name) => name.endsWith(`/${INDEX}`)).map((name) => name.slice(0, -INDEX.length));
  const found = others.filter(isPipeline);
  if (found.length === 1) return found[0];
  if (found.length > 1) {
    const choices = found.map((prefix) => prefix.slice(0, -1));
    throw new Error(`Expected a subfolder for ${id}, which has pipelines in ${list(choices, 'and')}`);
  }
  throw nothingIn(id, id, names, dtype);
}

/** The sentence for a folder without a pipeline in ONNX. */
function nothingIn(where: string, id: string, names: readonly string[], dtype: Choice['dtype']): Error {
  if (!names.includes(INDEX)) {
    return new Error(`Expected ${INDEX} in ${where}, as pipelines of diffusers have it, but it has ${some(names)}`);
  }
  const half = dtype !== 'float16' && graphsOf(names, 'float16').find(isNetwork);
  if (half)
    return new Error(
      `Expected unet/model.onnx or transformer/model.onnx in ${where} but it has ${half}: ask for dtype float16`,
    );
  const beside = names.filter((name) => NETWORKS.some((network) => name.startsWith(`${network}/`)));
  return new Error(
    `Expected unet/model.onnx or transformer/model.onnx in ${where} but it has ${some(beside)}: look for another revision or repository, or export it with optimum-cli export onnx --model ${id} FOLDER`,
  );
}

/** The graph of every part that is there. */
function graphsOf(names: readonly string[], dtype: Choice['dtype']): string[] {
  const preferred = dtype === 'float16' ? ['model_fp16.onnx', 'model.onnx'] : ['model.onnx'];
  return PARTS.flatMap((part) => {
    const found = preferred.find((graph) => names.includes(`${part}/${graph}`));
    return found === undefined ? [] : [`${part}/${found}`];
  });
}

function isNetwork(graph: string): boolean {
  return NETWORKS.some((network) => graph.startsWith(`${network}/`));
}

/** Are all parts that an index names among the graphs? */
export function missingPart(index: Readonly<Record<string, unknown>>, { prefix, graphs }: Needed): string | undefined {
  const isNamed = (part: string) => Array.isArray(index[part]) && index[part][0] !== null;
  return PARTS.find((part) => isNamed(part) && !graphs.some((graph) => graph.startsWith(`${prefix}${part}/`)));
}

function foldersOf(names: readonly string[]): string[] {
  const folders = names.filter((name) => name.includes('/')).map((name) => name.slice(0, name.indexOf('/')));
  return [...new Set(folders)];
}

function some(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  return names.length > 5 ? `${names.slice(0, 5).join(', ')}, ...` : list(names, 'and');
}
