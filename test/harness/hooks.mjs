// A module hook: what a test file imports as 'uvu' is the guarded uvu beside this file.
const guarded = new URL('./uvu.ts', import.meta.url).href;

export function resolve(specifier, context, nextResolve) {
  const inside = context.parentURL?.startsWith(guarded);
  return nextResolve(specifier === 'uvu' && !inside ? guarded : specifier, context);
}
