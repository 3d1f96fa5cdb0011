// The command line as a child process, in a folder.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * Starts the command line.
 *
 * @param options.without variables that it does not see
 * @param options.addresses kilobytes of addresses that it may take, as `ulimit -v` sets them
 */
export function start(
  folder: string,
  args: readonly string[],
  {
    env = {},
    without = [],
    addresses,
  }: { env?: Record<string, string>; without?: readonly string[]; addresses?: number } = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  // The URL, since tsx is looked for from the folder that the command runs in.
  const own = [process.execPath, '--import', import.meta.resolve('tsx'), main, ...args];
  const [command, ...rest] =
    addresses === undefined ? own : ['sh', '-c', `ulimit -v ${addresses} && exec "$@"`, 'sh', ...own];
  const variables: NodeJS.ProcessEnv = { ...process.env, DEBUG: '', NODE_V8_COVERAGE: '', ...env };
  for (const name of without) delete variables[name];
  const child = spawn(command, rest, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: variables,
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject).on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, ended };
}
