// Models by their name on a Hugging Face hub: the files that a pipeline needs of a repository, in the cache that the hub's own
// tools share.
import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { knownOptions, oneOf, optionalFunction, optionalSignal, show, wrongType } from '../base/check.js';
import { listening } from '../base/listener.js';
import { bytes as amount } from '../base/text.js';
import { parseJson } from '../folder/json.js';
import { readGraph } from '../folder/graph-file.js';
import { modelFolder } from '../folder/packed.js';
import { cacheFolder, Store, storedToken } from './cache.js';
import { describe, fetchFile, type HubFile, isBelow, type Listing, listRepository } from './client.js';
import { type Access, HubMissing, HubUnreachable, several } from './http.js';
import { INDEX, maybeWeights, missingPart, type Needed, neededOf, TABLES } from './needed.js';

/** Where a model's files come from, of {@link pull} and `fromPretrained`. */
export interface HubOptions {
  /** A branch, a tag or a commit; what follows `@` in the name, or `main`, where absent. */
  revision?: string;
  /** The folder of the pipeline in the repository, or in the directory. */
  subfolder?: string;
  /** Where the hub's files are kept: what `HF_HUB_CACHE` or `HF_HOME` say, or `~/.cache/huggingface/hub`, where absent. */
  cacheDir?: string;
  /** Take what has been fetched, and ask nobody; what `HF_HUB_OFFLINE` says where absent. */
  localFilesOnly?: boolean;
  /** For repositories that not everybody may read; what `HF_TOKEN` says, or `hf auth login` has kept, where absent. */
  token?: string | false;
  /** Told as the files come; what it throws, or its promise rejects with, ends the fetching. */
  onProgress?: (progress: HubProgress) => void;
  /** Ends the fetching; what has come is gone on with the next time. */
  signal?: AbortSignal;
}

/** What {@link pull} takes. */
export interface PullOptions extends HubOptions {
  /** float16: `model_fp16.onnx` where there is one. */
  dtype?: 'float32' | 'float16';
}

/** How far the fetching has come. */
export interface HubProgress {
  /** Files are fetched. */
  stage: 'fetch';
  /** The file that is coming, relative to the repository. */
  file: string;
  /** Bytes that are there, those of earlier times among them. */
  done: number;
  /** Of how many; more once the graphs are there, which name the files of their weights. */
  of: number;
  /** Bytes of them that have come this time. */
  fetched: number;
  /** Since it began. */
  seconds: number;
  /** Seconds that the rest will take, once there is something to judge by. */
  left?: number;
}

/** A file that {@link plan} tells of. */
export interface PlannedFile {
  /** Relative to the repository. */
  path: string;
  /** Bytes. */
  size: number;
  /** Is it in the cache? */
  cached: boolean;
  /** Is it only by its name that it may be a graph's weights, as the graph is not there yet? */
  guess: boolean;
}

export const HUB_OPTIONS = [
  ...['revision', 'subfolder', 'cacheDir', 'localFilesOnly', 'token', 'onProgress', 'signal'],
] as const;
/** Where there is something to go on with, a hub that does not answer is not waited for. */
const LITTLE_PATIENCE = { tries: 1, silence: 10_000 };
const SOME_PATIENCE = { tries: 3, silence: 30_000 };

/** Is it the name of a model on a hub, perhaps with a revision, and no path? */
export function isHubId(name: string): boolean {
  const [id, revision] = name.split(/@(.*)/s, 2);
  const parts = id.split('/');
  const isName = (part: string) => /^\w(?:[\w.-]*\w)?$/.test(part) && !/--|\.\./.test(part) && part.length <= 96;
  return parts.length === 2 && parts.every(isName) && (revision === undefined || isBelow(revision));
}

/**
 * The folder of a model: the directory of this path where there is one, the packed model for `'shapes'`, or what
 * {@link pull} fetches.
 *
 * @throws TypeError for options; Error as {@link pull}
 */
export async function findModel(model: string, options: PullOptions): Promise<string> {
  const { subfolder } = checked(options);
  const folder = modelFolder(model);
  if (existsSync(folder) || !isHubId(model)) return subfolder === undefined ? folder : join(folder, subfolder);
  try {
    return await pull(model, options);
  } catch (cause) {
    if (!(cause instanceof HubMissing || cause instanceof HubUnreachable)) throw cause;
    throw new Error(`There is no folder ${model} here, and as the name of a model: ${cause.message}`, { cause });
  }
}

/**
 * Fetches what a pipeline needs of an ONNX repository, and no other format beside it: graphs with the files that their
 * weights are in, configurations and tokenizers. What is in the cache is not fetched again, and what was cut short is gone on
 * with. The hub is the one at `HF_ENDPOINT`, https://huggingface.co where it is not set.
 *
 * @param name `org/name`, or `org/name@revision`
 * @returns the folder of the pipeline
 * @throws TypeError for options; Error in one sentence: no such model, revision or file, a token that is missing or does not
 *   do, no ONNX graphs, a hub that cannot be reached, a wrong checksum, no room; the signal's reason
 */
export async function pull(name: string, options: PullOptions = {}): Promise<string> {
  const request = requestOf(name, options);
  const { id, revision, store, access, offline } = request;
  const kept = store.find(revision);
  const there = kept === undefined ? undefined : wholeOf(kept, request);
  if (offline) {
    if (there?.folder !== undefined) return there.folder;
    throw new Error(
      `Expected ${id} at ${revision} in ${dirname(store.folder)}, as nothing is fetched offline, but ${there?.lacking ?? 'it is not there'}`,
    );
  }
  try {
    const patience = there?.folder === undefined ? SOME_PATIENCE : LITTLE_PATIENCE;
    const listing = await listRepository(id, revision, access, patience);
    const { prefix } = await fetchNeeded(listing, request);
    // Whoever asks for this branch offline gets this commit, which is whole now.
    if (revision !== listing.commit) store.point(revision, listing.commit);
    return join(store.snapshot(listing.commit), prefix.slice(0, -1));
  } catch (cause) {
    access.signal?.throwIfAborted();
    if (cause instanceof HubUnreachable && there?.folder !== undefined) return there.folder;
    throw cause;
  }
}

/**
 * The files that {@link pull} would fetch, and those that it has fetched. Of a graph that has not been fetched it is known by
 * their names alone which files may be its weights.
 *
 * @throws as {@link pull}
 */
export async function plan(name: string, options: PullOptions = {}): Promise<PlannedFile[]> {
  const request = requestOf(name, options);
  const { id, revision, store, access } = request;
  const listing = await listRepository(id, revision, access, SOME_PATIENCE);
  const names = [...listing.files.keys()];
  const { small, graphs } = neededOf(id, names, request);
  const files = new Map<string, boolean>([...small, ...graphs].map((one) => [one, false]));
  for (const graph of graphs) {
    const path = join(store.snapshot(listing.commit), graph);
    const known = existsSync(path);
    const weights = known ? weightsOf(path, graph, listing) : maybeWeights(graph, names);
    for (const one of weights) files.set(one, !known);
  }
  const described = await describe(listing, [...files.keys()], access);
  return described.map(({ path, size, hash }) => {
    return { path, size, cached: store.has(hash.hex, size), guess: files.get(path) === true };
  });
}

/** Who asks for what. */
interface Request {
  readonly id: string;
  readonly revision: string;
  readonly subfolder: string | undefined;
  readonly dtype: PullOptions['dtype'];
  readonly offline: boolean;
  readonly store: Store;
  readonly access: Access;
  readonly onProgress: HubOptions['onProgress'];
}

/** The options, of the types that they should be of. */
function checked(options: PullOptions): PullOptions {
  const { revision, subfolder, cacheDir, localFilesOnly, token, dtype } = options;
  for (const [key, value] of Object.entries({ revision, subfolder })) {
    if (value === undefined) continue;
    if (typeof value !== 'string') throw wrongType('a string', key, value);
    if (!isBelow(value))
      throw new TypeError(`Expected a name, and no way out of the model, for ${key} but received ${show(value)}`);
  }
  if (cacheDir !== undefined && (typeof cacheDir !== 'string' || cacheDir === ''))
    throw wrongType('the path of a folder', 'cacheDir', cacheDir);
  if (localFilesOnly !== undefined && typeof localFilesOnly !== 'boolean')
    throw wrongType('true or false', 'localFilesOnly', localFilesOnly);
  if (token !== undefined && token !== false && typeof token !== 'string')
    throw new TypeError('Expected a string or false for token');
  if (dtype !== undefined) oneOf(dtype, 'dtype', ['float32', 'float16']);
  optionalFunction(options.onProgress, 'onProgress');
  optionalSignal(options.signal);
  return options;
}

function requestOf(name: string, options: PullOptions): Request {
  knownOptions(options, [...HUB_OPTIONS, 'dtype'], 'pull');
  const { subfolder, dtype, onProgress, signal, localFilesOnly, cacheDir, token } = checked(options);
  if (typeof name !== 'string' || !isHubId(name)) {
    throw wrongType("a model's name on a hub, such as org/name,", 'the model', name);
  }
  const [id, after = 'main'] = name.split(/@(.*)/s, 2);
  const { HF_ENDPOINT, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN } = process.env;
  const stored = () => (isOn(HF_HUB_DISABLE_IMPLICIT_TOKEN) ? undefined : storedToken());
  return {
    ...{ id, subfolder, dtype, onProgress },
    revision: options.revision ?? after,
    offline: localFilesOnly ?? isOn(HF_HUB_OFFLINE || TRANSFORMERS_OFFLINE),
    store: new Store(cacheDir ?? cacheFolder(), id),
    access: {
      endpoint: endpointOf(HF_ENDPOINT || 'https://huggingface.co'),
      token: token === false ? undefined : tokenOf(token || stored()),
      signal,
    },
  };
}

function endpointOf(text: string): string {
  if (!URL.canParse(text) || !/^https?:/.test(text)) {
    throw new Error(`Expected an address, such as https://huggingface.co, in HF_ENDPOINT but found ${show(text)}`);
  }
  return text.replace(/\/+$/, '');
}

/** A token that can be in a header; a message must not have it. */
function tokenOf(token: string | undefined): string | undefined {
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new Error('Expected letters and digits in one line for the token of the hub but received something else');
  }
  return token;
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && /^(?:1|on|yes|true)$/i.test(value);
}

/** Small files and graphs first, and then the weights that these name. */
async function fetchNeeded(listing: Listing, request: Request): Promise<Needed> {
  const { id, store, onProgress } = request;
  const needed = neededOf(id, [...listing.files.keys()], request);
  const listener = onProgress && listening(onProgress);
  const tally = new Tally(listener && ((progress) => listener.tell(progress)));
  await fetchAll(listing, [...needed.small, ...needed.graphs], request, tally);
  const weights = new Set<string>();
  for (const graph of needed.graphs) {
    const path = join(store.snapshot(listing.commit), graph);
    for (const file of weightsOf(path, graph, listing)) weights.add(file);
  }
  await fetchAll(listing, [...weights], request, tally);
  await listener?.done();
  return needed;
}

/** The files that a graph's weights are in. */
function weightsOf(path: string, graph: string, { id, files }: Listing): string[] {
  return readGraph(path).files.map(({ location }) => {
    // As exporters write it, now and then.
    const plain = location.replace(/^(?:\.\/)+/, '');
    const name = `${dirname(graph)}/${plain}`;
    if (!isBelow(plain) || !files.has(name)) {
      throw new Error(
        `Expected ${show(location)}, which ${graph} names for its weights, beside it in ${id} but it is not there`,
      );
    }
    return name;
  });
}

/** Fetches files, a few at once. */
async function fetchAll(listing: Listing, paths: readonly string[], request: Request, tally: Tally): Promise<void> {
  const { store, access } = request;
  const files = await describe(listing, paths, access);
  const lacking = files.map(({ hash, size }) => store.lacks(hash.hex, size));
  checkRoom(
    listing.id,
    store,
    lacking.reduce((sum, size) => sum + size, 0),
  );
  files.forEach((file, i) => {
    tally.expect(file, lacking[i]);
  });
  await several(files, access, (file, access) => fetchOne(listing, file, store, access, tally));
}

async function fetchOne(listing: Listing, file: HubFile, store: Store, access: Access, tally: Tally): Promise<void> {
  const { path, size, hash } = file;
  const tell = (bytes: number) => tally.tell(path, bytes);
  access.signal?.throwIfAborted();
  const fetch = (part: string) => fetchFile(listing, file, part, access, tell);
  await store.bring({ hex: hash.hex, size }, fetch, tell, access.signal);
  tell(size);
  store.place(hash.hex, join(store.snapshot(listing.commit), path), path.endsWith(TABLES));
}

/** Half of a model is of no use, and takes an hour to come. */
function checkRoom(id: string, { folder }: Store, needs: number): void {
  let place = folder;
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
  let free: number;
  try {
    const { bavail, bsize } = statfsSync(place);
    free = bavail * bsize;
  } catch {
    return;
  }
  if (needs > free)
    throw new Error(`Expected ${amount(needs)} of room in ${dirname(folder)} for ${id} but there are ${amount(free)}`);
}

/** Milliseconds between two words. */
const PAUSE = 100;

/** What has come of how much. */
class Tally {
  readonly #tell: HubOptions['onProgress'];
  readonly #files = new Map<string, { done: number; before: number; of: number }>();
  readonly #began = performance.now();
  #last = -PAUSE;

  constructor(tell: HubOptions['onProgress']) {
    this.#tell = tell;
  }

  /** @param lacks bytes of it that are not there */
  expect({ path, size }: HubFile, lacks: number): void {
    this.#files.set(path, { done: size - lacks, before: size - lacks, of: size });
  }

  tell(file: string, bytes: number): void {
    const own = this.#files.get(file);
    if (!own) return;
    own.done = bytes;
    // What was there was not of use.
    own.before = Math.min(own.before, bytes);
    const now = performance.now();
    // A gigabyte comes in ten thousands of pieces.
    if (!this.#tell || (bytes < own.of && now - this.#last < PAUSE)) return;
    this.#last = now;
    let [done, of, before] = [0, 0, 0];
    for (const one of this.#files.values()) {
      done += one.done;
      of += one.of;
      before += one.before;
    }
    const fetched = done - before;
    const seconds = (now - this.#began) / 1000;
    // The first files are small, and take as long as large ones.
    const left = done === of ? 0 : fetched > 0 && seconds >= 1 ? ((of - done) * seconds) / fetched : undefined;
    this.#tell({ stage: 'fetch', file, done, of, fetched, seconds, ...(left === undefined ? {} : { left }) });
  }
}

/** The folder of the pipeline in a snapshot, where all of it is there, as far as it says itself; what is lacking otherwise. */
function wholeOf(snapshot: string, request: Request): { folder?: string; lacking?: string } {
  const all = readdirSync(snapshot, { recursive: true, encoding: 'utf8' }).map((path) => path.replaceAll('\\', '/'));
  const names = all.filter((path) => statSync(join(snapshot, path), { throwIfNoEntry: false })?.isFile());
  try {
    const needed = neededOf(request.id, names, request);
    const folder = join(snapshot, needed.prefix.slice(0, -1));
    const index = parseJson(readFileSync(join(folder, INDEX), 'utf8')) as Record<string, unknown>;
    const part = missingPart(index, needed);
    if (part !== undefined) return { lacking: `${part}/model.onnx is missing` };
    for (const graph of needed.graphs) {
      for (const { path, location } of readGraph(join(snapshot, graph)).files) {
        if (!existsSync(path)) return { lacking: `${location}, which ${graph} names for its weights, is missing` };
      }
    }
    return { folder };
  } catch (cause) {
    return { lacking: `a part of it is missing (${(cause as Error).message})` };
  }
}
