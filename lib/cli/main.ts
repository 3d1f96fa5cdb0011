#!/usr/bin/env node
// The command line: `dpm-solver sample`, `dpm-solver info`.
import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import { type ArgsDef, type CommandDef, defineCommand, renderUsage, runCommand } from 'citty';
import { nearest } from '../text.js';
import { info } from './info.js';
import { examples, sample } from './sample.js';
import { checkFlags, UsageError } from './usage.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

// biome-ignore lint/suspicious/noExplicitAny: commands with different arguments
const commands: Record<string, CommandDef<any>> = { sample, info };

const main = defineCommand({
  meta: { name: 'dpm-solver', version, description: 'Diffusion sampling with DPM-Solver and DPM-Solver++' },
  subCommands: commands,
});

async function run(raw: readonly string[]): Promise<void> {
  const [name, ...rest] = raw;
  if (name === '--version' || name === '-v') {
    console.log(version);
    return;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await help(main);
    return;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) {
    const meant = nearest(name, Object.keys(commands));
    throw new UsageError(
      `There is no command ${name}${meant ? `; did you mean ${meant}?` : '; see dpm-solver --help'}`,
    );
  }
  const end = rest.indexOf('--');
  const flags = end < 0 ? rest : rest.slice(0, end);
  if (flags.includes('--help') || flags.includes('-h')) {
    await help(command, main);
    return;
  }
  checkFlags(rest, command.args as ArgsDef);
  await runCommand(command, { rawArgs: rest });
}

async function help(command: CommandDef, parent?: CommandDef): Promise<void> {
  const text = await renderUsage(command, parent);
  // citty colours whatever it is printed to.
  const plain = process.stdout.isTTY ? text : stripVTControlCharacters(text);
  console.log(plain.replace(/ +$/gm, '').trimEnd());
  if (command === sample) console.log(['', 'EXAMPLES', '', ...examples.map((line) => `  ${line}`)].join('\n'));
}

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

run(process.argv.slice(2)).catch((error: unknown) => {
  if (process.env.DEBUG) console.error(error);
  else console.error(`dpm-solver: ${error instanceof Error ? error.message : error}`);
  // What was asked for cannot be: options that do not go together are refused by TypeErrors and RangeErrors.
  const usage = error instanceof UsageError || error instanceof TypeError || error instanceof RangeError;
  process.exitCode = usage ? 2 : 1;
});
