// uvu with its blind spots covered. Left alone, uvu swallows a hook that throws, stops without a word at a rejection
// that is no Error, and never notices a suite whose run() was forgotten.
import * as uvu from 'uvu';

export type { Callback, Test } from 'uvu';

type Test<T> = uvu.Test<T>;
type Callback<T> = uvu.Callback<T>;

/** What is known about the file under test, for test/harness/child.ts. */
export const watch = {
  /** What hooks threw since the last suite ended. */
  hookErrors: [] as string[],
  /** Called with the name of each test and `before.each` hook before it runs. */
  onTest: (_name: string) => {},
  /** Names of the suites that have tests which no run() has queued. */
  forgotten: () => [...waiting].filter(([, tests]) => tests > 0).map(([suite]) => suite),
  /** Whether test.only was used, which leaves other tests out. */
  only: false,
};

/** Tests registered since the last run(), by suite. */
const waiting = new Map<string, number>();
let unnamed = 0;

export const test = guard(uvu.test, 'test');

export function suite<T = Record<string, unknown>>(title = '', context?: T): Test<T> {
  return guard(uvu.suite(title, context), title || `suite() number ${++unnamed}`);
}

function guard<T>(inner: Test<T>, title: string): Test<T> {
  const key = waiting.has(title) ? `${title} (${waiting.size})` : title;
  waiting.set(key, 0);
  const count = () => waiting.set(key, waiting.get(key)! + 1);

  const add = (name: string, handler: Callback<T>) => {
    count();
    inner(name, guardTest(name, handler));
  };
  return Object.assign(add, {
    only(name: string, handler: Callback<T>) {
      count();
      watch.only = true;
      inner.only(name, guardTest(name, handler));
    },
    skip(name?: string, handler?: Callback<T>) {
      count();
      inner.skip(name, handler);
    },
    before: Object.assign((hook: Callback<T>) => inner.before(guardHook(`${key}.before`, hook)), {
      // uvu reports this hook as it reports a test.
      each: (hook: Callback<T>) => inner.before.each(guardTest(`${key}.before.each`, hook)),
    }),
    after: Object.assign((hook: Callback<T>) => inner.after(guardHook(`${key}.after`, hook, true)), {
      each: (hook: Callback<T>) => inner.after.each(guardHook(`${key}.after.each`, hook)),
    }),
    run() {
      waiting.set(key, 0);
      inner.run();
    },
  });
}

function guardTest<T>(name: string, handler: Callback<T>): Callback<T> {
  return async (context) => {
    watch.onTest(name);
    try {
      await handler(context);
    } catch (error) {
      // uvu reads error.name and error.stack and loses the whole suite where it cannot.
      throw error instanceof Error ? error : new Error(`The test threw ${describe(error)}, which is no Error.`);
    }
  };
}

function guardHook<T>(name: string, hook: Callback<T>, last = false): Callback<T> {
  return async (context) => {
    try {
      await hook(context);
    } catch (error) {
      watch.hookErrors.push(`${name} threw ${error instanceof Error ? error.stack : describe(error)}`);
      // After `after` nothing is left to stop, and uvu would lose the counts.
      if (!last) throw error instanceof Error ? error : new Error(describe(error));
    }
  };
}

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
