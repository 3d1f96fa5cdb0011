// `dpm-solver pull`: fetches a model from a hub into the cache that every command looks in.
import { existsSync } from 'node:fs';
import { type ArgsDef, defineCommand } from 'citty';
import { bytes } from '../base/text.js';
import { type HubProgress, isHubId, type PlannedFile, plan, pull as pullModel } from '../hub/index.js';
import { DTYPES, modelArgs } from './generate.js';
import { telling } from './progress.js';
import { say } from './say.js';
import { choice, UsageError } from './usage.js';

/** What the help ends with. */
export const examples = [
  'dpm-solver pull org/name',
  'dpm-solver pull org/name --revision onnx --dtype float16 --dry-run',
  'dpm-solver txt2img "an astronaut on a horse" --model org/name',
];

const { revision, subfolder, dtype } = modelArgs;
const args = {
  name: { type: 'positional', required: false, valueHint: 'ORG/NAME', description: 'The model, or ORG/NAME@REVISION' },
  ...{ revision, subfolder, dtype },
  'dry-run': { type: 'boolean', description: 'List the files, and fetch none' },
  json: { type: 'boolean', description: 'Print one JSON object' },
} as const satisfies ArgsDef;

export const pull = defineCommand({
  meta: { name: 'pull', description: 'Fetch the ONNX files of a model from a Hugging Face hub' },
  args,
  async run({ args }) {
    const [name, ...more] = args._;
    if (name === undefined) throw new UsageError('The name of a model is missing, such as org/name');
    if (more.length > 0) throw new UsageError(`Expected one name but received '${more[0]}' too`);
    if (!isHubId(name)) {
      const why = existsSync(name) ? ', which is here already' : '';
      throw new UsageError(`Expected the name of a model, such as org/name, but received '${name}'${why}`);
    }
    const dtype = choice('dtype', args.dtype, DTYPES);
    const options = { revision: args.revision, subfolder: args.subfolder, dtype };
    if (args['dry-run']) {
      const files = await plan(name, options);
      if (args.json) say(JSON.stringify({ name, files }));
      else for (const line of linesOf(files)) say(line);
      return;
    }
    let [size, fetched] = [0, 0];
    const { onProgress: tell, stop } = telling(args.json ?? false);
    const onProgress = (progress: HubProgress) => {
      ({ of: size, fetched } = progress);
      tell?.(progress);
    };
    const folder = await pullModel(name, { ...options, onProgress }).finally(stop);
    say(args.json ? JSON.stringify({ name, folder, bytes: size, fetched }) : folder);
  },
});

function linesOf(files: readonly PlannedFile[]): string[] {
  const sum = (some: readonly PlannedFile[]) => bytes(some.reduce((total, { size }) => total + size, 0));
  const count = ({ length }: readonly PlannedFile[]) => `${length} file${length === 1 ? '' : 's'}`;
  const sure = files.filter(({ guess }) => !guess);
  const guesses = files.filter(({ guess }) => guess);
  const line = ({ path, size, cached, guess }: PlannedFile) =>
    `${bytes(size).padStart(10)}  ${path}${cached ? ' (there)' : guess ? ' (if a graph names it)' : ''}`;
  const lacking = sure.filter(({ cached }) => !cached);
  const perhaps = guesses.length === 0 ? '' : `, and perhaps ${sum(guesses)} of weights in ${count(guesses)}`;
  return [...files.map(line), `${sum(lacking)} of ${sum(sure)} in ${count(sure)} to fetch${perhaps}`];
}
