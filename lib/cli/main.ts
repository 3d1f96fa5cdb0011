#!/usr/bin/env node
// The command line: `dpm-solver sample`, `txt2img`, `img2img`, `inpaint`, `edit`, `decode`, `compare`, `calibrate`, `bench`,
// `serve`, `worker`, `pull`, `info` and `completion`.
import { inspect, stripVTControlCharacters } from 'node:util';
import { type ArgsDef, type CommandDef, defineCommand, renderUsage, runCommand } from 'citty';
import { nearest } from '../base/text.js';
import { bench, examples as benchExamples } from './bench.js';
import { calibrate, examples as calibrateExamples } from './calibrate.js';
import { compare } from './compare.js';
import { configArg, configFlags } from './config.js';
import { completionOf, examples as completionExamples } from './completion.js';
import { decode, examples as decodeExamples } from './decode.js';
import { edit, img2img, inpaint, txt2img } from './draw.js';
import { info } from './info.js';
import { pull, examples as pullExamples } from './pull.js';
import { sample, examples as sampleExamples } from './sample.js';
import { serve, examples as serveExamples } from './serve.js';
import { tell, warn } from './say.js';
import { withLike } from './settings.js';
import { beforeDashes, checkFlags, UsageError } from './usage.js';
import { version } from '../base/version.js';
import { worker, examples as workerExamples } from './worker.js';

const completion = completionOf(() => commands);

/** Each with the flag that all have, but for the one that takes no flags. */
// biome-ignore lint/suspicious/noExplicitAny: commands with different arguments
const commands: Record<string, CommandDef<any>> = {
  ...configurable({
    ...{ sample, txt2img, img2img, inpaint, edit, decode, compare, calibrate, bench },
    ...{ serve, worker, pull, info },
  }),
  completion,
};

// biome-ignore lint/suspicious/noExplicitAny: as above
function configurable(own: Record<string, CommandDef<any>>): Record<string, CommandDef<any>> {
  const all = Object.entries(own);
  return Object.fromEntries(all.map(([name, one]) => [name, { ...one, args: { ...one.args, ...configArg } }]));
}

/** What a command's help ends with. */
const examples: Readonly<Record<string, readonly string[]>> = {
  sample: sampleExamples,
  serve: serveExamples,
  worker: workerExamples,
  pull: pullExamples,
  calibrate: calibrateExamples,
  decode: decodeExamples,
  bench: benchExamples,
  completion: completionExamples,
  txt2img: ['dpm-solver txt2img "an astronaut on a horse" --model ./sd-v1-5 --steps 20 -o astronaut.png'],
  img2img: ['dpm-solver img2img "a castle at night" --model ./sd-v1-5 --image castle.jpg --strength 0.6'],
  inpaint: ['dpm-solver inpaint "a cat on a bench" --model ./sd-inpainting --image bench.png --mask seat.png'],
  edit: ['dpm-solver edit --model ./sd-v1-5 --image bowl.png --source "a bowl of fruits" --target "a bowl of pears"'],
  compare: [
    'dpm-solver compare "a red circle on a blue background" -o grid.png',
    'dpm-solver compare "a castle" --model ./sd-v1-5 --solvers ddim,dpmsolver,dpmsolver++ --steps 10,20,50,999',
  ],
};

const main = defineCommand({
  meta: { name: 'dpm-solver', version, description: 'Diffusion sampling with DPM-Solver and DPM-Solver++' },
  subCommands: commands,
});

async function run(raw: readonly string[]): Promise<void> {
  const [name, ...rest] = raw;
  if (name !== undefined && ['--version', '-V', '-v', 'version'].includes(name)) {
    console.log(version);
    return;
  }
  if (name === 'help' && rest[0] === '--man') {
    const [{ manual }, { wordsOf }] = await Promise.all([import('./man.js'), import('./words.js')]);
    const shown = Object.keys(commands).map((own) => [own, examples[own] ?? []] as const);
    process.stdout.write(manual(version, wordsOf(commands), new Map(shown)));
    return;
  }
  if (name === 'help' && rest.length > 0) {
    await help(rest[0]);
    return;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await help();
    return;
  }
  const command = commandOf(name);
  const flags = beforeDashes(rest);
  if (flags.includes('--help') || flags.includes('-h')) {
    await help(name);
    return;
  }
  const definition = command.args as ArgsDef;
  checkFlags(rest, definition);
  const said = 'like' in definition ? await withLike(rest, definition) : rest;
  const others = 'config' in definition ? configFlags(name, rest, argsOfAll()) : [];
  await runCommand(command, { rawArgs: [...others, ...said] });
}

// biome-ignore lint/suspicious/noExplicitAny: commands with different arguments
function commandOf(name: string): CommandDef<any> {
  if (Object.hasOwn(commands, name)) return commands[name];
  const meant = nearest(name, Object.keys(commands));
  throw new UsageError(`There is no command ${name}${meant ? `; did you mean ${meant}?` : '; see dpm-solver --help'}`);
}

/** The flags of each command that a file may say. */
function argsOfAll(): Record<string, ArgsDef> {
  const all = Object.entries(commands).map(([name, { args }]) => [name, args as ArgsDef] as const);
  return Object.fromEntries(all.filter(([, args]) => 'config' in args));
}

/** Of a command, or of all. */
async function help(name?: string): Promise<void> {
  const text = await (name === undefined ? renderUsage(main) : renderUsage(commandOf(name), main));
  // citty colours whatever it is printed to.
  const plain = process.stdout.isTTY ? text : stripVTControlCharacters(text);
  console.log(plain.replace(/ +$/gm, '').trimEnd());
  const lines = name === undefined ? undefined : examples[name];
  if (lines) console.log(['', 'EXAMPLES', '', ...lines.map((line) => `  ${line}`)].join('\n'));
}

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

run(process.argv.slice(2)).catch((error: unknown) => {
  if (process.env.DEBUG) tell(inspect(error));
  // What a file holds may be a part of it.
  else warn(`${error instanceof Error ? error.message : error}`);
  // What was asked for cannot be: options that do not go together are refused by TypeErrors and RangeErrors.
  const usage = error instanceof UsageError || error instanceof TypeError || error instanceof RangeError;
  process.exitCode = usage ? 2 : 1;
});
