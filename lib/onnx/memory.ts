// What a failed allocation looks like: onnxruntime's, C++'s and JavaScript's words for it.

const WORDS = /failed to allocate memory|bad[_ ]alloc(?:ation)?|out of memory|array buffer allocation failed/i;

/** Did this fail because memory could not be had? */
export function isOutOfMemory(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) if (WORDS.test(e.message)) return true;
  return false;
}
