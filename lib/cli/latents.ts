// Latents in files: what is kept of a run whose picture could not be made, or that was stopped.
import type { ArgsDef } from 'citty';
import { encodeTensor, readTensor } from '../folder/safetensors.js';
import { writeFileAtomically } from '../image/file.js';
import type { GenerateOptions, Generation, Latents } from '../pipelines/index.js';
import { readStdin } from './input.js';
import { type Destination, stemOf } from './output.js';
import { openPreview } from './preview.js';
import type { Telling } from './progress.js';

/** Writes `NAME.latents.safetensors` for `NAME.png`, the picture that they are of. */
function writeLatents(
  output: string,
  latents: Pick<Latents, 'data' | 'dims'>,
  metadata: Readonly<Record<string, string>>,
): string {
  const path = `${stemOf(output)}.latents.safetensors`;
  writeFileAtomically(path, encodeTensor('latents', latents, metadata));
  return path;
}

export const latentsArg = {
  latents: {
    type: 'string',
    valueHint: 'FILE',
    description: 'Go on from what --keep wrote, or begin at latents as at a picture',
  },
} as const satisfies ArgsDef;

/** The options in the value of {@link latentsArg}. */
export async function readStart(
  values: Readonly<Record<string, unknown>>,
): Promise<Pick<GenerateOptions, 'latents' | 'denoisingStart'>> {
  if (values.latents === undefined) return {};
  const { data, dims, metadata } = await readLatents(values.latents as string, '--latents');
  const start = metadata.denoising_start === undefined ? undefined : Number(metadata.denoising_start);
  return { latents: { type: 'float32', data, dims }, ...(start === undefined ? {} : { denoisingStart: start }) };
}

/** Reads what a command kept, or somebody else's file with a tensor `latents`; `-` is standard input, for `flag`. */
export async function readLatents(path: string, flag: string): Promise<ReturnType<typeof readTensor>> {
  if (path === '-') return readTensor('standard input', 'latents', await readStdin(flag));
  return readTensor(path, 'latents');
}

export const keepingArgs = {
  'save-latents': { type: 'boolean', description: 'Write NAME.latents.safetensors beside NAME.png too' },
  keep: { type: 'boolean', description: 'Write it where a Ctrl-C stops the run, after the step that it is in' },
} as const satisfies ArgsDef;

/** What a call is told, and what is kept of it. */
type Call = Pick<GenerateOptions, 'onStep' | 'onProgress' | 'onWarning' | 'signal'>;

/**
 * Makes pictures by `call`, and keeps the latents where {@link keepingArgs} ask for it or they cannot be decoded.
 *
 * @param words that go into the file
 */
export async function keeping<T extends Generation>(
  values: Readonly<Record<string, unknown>>,
  { output, json }: Pick<Destination, 'output' | 'json'>,
  telling: Telling,
  words: { model: string } & Record<string, string>,
  call: (options: Call) => Promise<T>,
): Promise<T> {
  const { DecodeError } = await import('../pipelines/index.js');
  const { onProgress, stop } = telling;
  const preview = openPreview(values, json, telling);
  const told: Call = { onProgress, ...preview.options };
  const abort = new AbortController();
  let last: { data: Float32Array; dims: number[]; step: number; steps: number; share?: number } | undefined;
  const kept: Call = {
    signal: abort.signal,
    onStep: (progress) => {
      const { x, step, steps, share } = progress;
      last = { data: new Float32Array(x.data as Float32Array), dims: [...x.dims], step, steps, share };
      return told.onStep?.(progress);
    },
  };
  const interrupt = () => abort.abort(new Error('The run was stopped'));
  if (values.keep) process.once('SIGINT', interrupt);
  try {
    const made = await call({ ...told, ...(values.keep ? kept : {}) });
    stop();
    await preview.finish(made.images);
    if (values['save-latents']) writeLatents(output, made.sample, words);
    return made;
  } catch (error) {
    stop();
    if (error instanceof DecodeError) {
      const path = writeLatents(output, error.latents, words);
      const message = `${error.message}; the latents are kept: dpm-solver decode ${path} --model ${words.model}`;
      throw new Error(message, { cause: error });
    }
    if (!abort.signal.aborted) throw error;
    if (last) {
      const { step, steps, share, ...state } = last;
      const path = writeLatents(output, state, {
        ...{ ...words, step: String(step), steps: String(steps) },
        ...(share === undefined ? {} : { denoising_start: String(share) }),
      });
      if (!json)
        told.onWarning?.(
          `${path} keeps the state after step ${step}${steps > 0 ? ` of ${steps}` : ''}: --latents goes on from it`,
        );
    }
    process.exit(130);
  } finally {
    process.off('SIGINT', interrupt);
  }
}
