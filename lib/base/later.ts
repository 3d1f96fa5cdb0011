// Values that may come later.

/** What is given at once, or as a promise. */
export type Later<T> = T | Promise<T>;

/** `next` of a value: at once where the value is there, so that what is synchronous pays for no promise. */
export function whenDone<T, R>(value: Later<T>, next: (value: T) => Later<R>): Later<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
