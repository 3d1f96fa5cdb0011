/** Are two types one and the same? `same<A, B>(true)` compiles where they are. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** A type is what was expected. */
export function is<Expected>(): <Actual>(value: Actual, same: Same<Actual, Expected>) => void {
  return () => {};
}
/** The last of some values: for functions that look at types and give something. */
export function last<T>(...values: readonly [...unknown[], T]): T {
  return values[values.length - 1] as T;
}
