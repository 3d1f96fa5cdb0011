// Runs one test file under the guarded uvu and tells test/run.ts over IPC how it went:
// node --import tsx test/harness/child.ts FILE
import * as module from 'node:module';
import { pathToFileURL } from 'node:url';

export type Message =
  | { kind: 'test'; name: string }
  | { kind: 'suite'; passed: number; failed: number; skipped: number }
  | { kind: 'problem'; text: string }
  | { kind: 'done' };

/** What uvu queues for each run(): [its report of errors or true, tests passed, skipped, total]. */
type Runner = () => Promise<[string | true, number, number, number]>;

// uvu looks at these when it is loaded: with UVU_DEFER it queues the suites and leaves running them to us.
const queue: Runner[] = [];
Object.assign(globalThis, { UVU_DEFER: 1, UVU_INDEX: 0, UVU_QUEUE: [queue] });

const hooks = new URL('./hooks.mjs', import.meta.url);
// register() is on its way out where registerHooks() exists, and Node 20 has only the former.
const { registerHooks } = module as unknown as { registerHooks?: (hooks: object) => void };
if (registerHooks) registerHooks(await import(hooks.href));
else module.register(hooks);

const { watch } = await import('./uvu.js');
const send = (message: Message) => process.send?.(message);
watch.onTest = (name) => send({ kind: 'test', name });

// Without the runner nobody would end a test that hangs. The channel must not keep the process alive, though.
process.on('disconnect', () => process.exit(1));
process.channel?.unref();

let done = false;
process.on('exit', () => {
  if (done && queue.length > 0) {
    console.error('test.run() was called after the file had ended: its tests never ran.');
    process.exitCode = 1;
  }
});

await import(pathToFileURL(process.argv[2]!).href);

let suites = 0;
for (let runner = queue.shift(); runner; runner = queue.shift()) {
  const [report, passed, skipped, total] = await runner();
  if (typeof report === 'string') process.stdout.write(`\n${report}\n`);
  for (const error of watch.hookErrors) process.stdout.write(`\n  FAIL ${error}\n\n`);
  // A test that did not get its turn because of a hook has not passed either.
  const failed = Math.max(total - passed, watch.hookErrors.length > 0 ? 1 : 0);
  watch.hookErrors.length = 0;
  send({ kind: 'suite', passed, failed, skipped });
  if (total + skipped === 0) send({ kind: 'problem', text: 'a suite without tests was run' });
  suites++;
}

const forgotten = watch.forgotten();
for (const suite of forgotten) send({ kind: 'problem', text: `${suite}.run() was forgotten: its tests never ran` });
if (suites === 0 && forgotten.length === 0) send({ kind: 'problem', text: 'the file has no tests' });
if (watch.only && process.env.CI) send({ kind: 'problem', text: 'test.only leaves other tests out' });
done = true;
send({ kind: 'done' });
