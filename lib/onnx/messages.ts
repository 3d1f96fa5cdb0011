// What onnxruntime says, in one sentence that names the file.
import { list } from '../base/check.js';
import { availableMemory } from '../base/memory.js';
import { bytes, firstLine } from '../base/text.js';
import { isLfsPointer } from '../folder/files.js';
import { isOutOfMemory } from './memory.js';

/** onnxruntime repeats the path and what it was about to do, or where in its sources it was and what it had tested. */
function reason(message: string): string {
  return firstLine(message)
    .replace(/^Load model (?:from )?.* failed[:.]\s*/, '')
    .replace(/^\S+\.(?:cc|cpp|h):\d+ .* was false\.\s+(?=\w)/, '')
    .replace(/^\S+\.(?:cc|cpp|h):\d+ .*\)\s+(?:\[ONNXRuntimeError\] : \d+ : \w+ : )?(?=\w)/, '');
}

/**
 * Why a device cannot be used, where onnxruntime's words leave that to be guessed: a provider that was not built in, or whose
 * own library is missing.
 */
export function deviceError(device: string, cause: Error, providers: readonly string[], version: string): Error {
  const name = PROVIDERS[device];
  if (name === undefined) return cause;
  const without = `onnxruntime-node ${version} has no ${name} provider on this platform`;
  if (!providers.some((provider) => provider.toLowerCase() === `${name}ExecutionProvider`.toLowerCase())) {
    const others = providers.map((provider) => provider.replace(/ExecutionProvider$/, ''));
    return new Error(`${without}, only ${list(others, 'and')}`, { cause });
  }
  const [, library, why] = /Failed to load library (\S+) with error: (.*)/.exec(firstLine(cause.message)) ?? [];
  if (library === undefined) return cause;
  const missing = `the ${name} provider's library ${library.replace(/.*[\\/]/, '')} cannot be loaded`;
  const how = 'onnxruntime-node fetches it when it is installed, if its install script is let run';
  return new Error(`${missing} (${how}): ${why.replace(`${library}: `, '')}`, { cause });
}
const PROVIDERS: Readonly<Record<string, string | undefined>> = { webgpu: 'WebGPU', cuda: 'CUDA', coreml: 'CoreML' };

/**
 * Why the graph in the file `path` was not loaded.
 *
 * @param where such as `' for cuda'`: the reason may be a provider's, and then not the file's
 */
export function loadError(path: string, where: string, cause: unknown): Error {
  if (isOutOfMemory(cause))
    return memoryError(`to load ${path}`, 'free some, or take a smaller or quantized network', cause);
  if (isLfsPointer(path)) {
    return new Error(`${path} is a git-lfs pointer, not the graph itself: fetch it with git lfs pull`, { cause });
  }
  return new Error(`${path} could not be loaded by onnxruntime${where}: ${reason((cause as Error).message)}`, {
    cause,
  });
}

/** Why a run failed. */
export function runError(path: string, cause: unknown): Error {
  if (isOutOfMemory(cause))
    return memoryError(`to run ${path}`, 'smaller pictures, or fewer at once, take less', cause);
  return new Error(`onnxruntime failed to run ${path}: ${firstLine((cause as Error).message)}`, { cause });
}

/** What was to be had, what there was, and what to do. */
function memoryError(what: string, advice: string, cause: unknown): Error {
  const asked = /(?:of size|requested) (\d+)/i.exec((cause as Error).message)?.[1];
  const more = asked === undefined ? 'more memory' : `another ${bytes(Number(asked))} of memory`;
  return new Error(`Expected ${more} ${what} but ${bytes(availableMemory().bytes)} are left: ${advice}`, { cause });
}
