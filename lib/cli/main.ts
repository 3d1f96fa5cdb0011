#!/usr/bin/env node
// The command line: `dpm-solver sample`, `txt2img`, `img2img`, `inpaint`, `edit`, `decode`, `compare`, `calibrate`, `serve`,
// `pull`, `info` and `completion`.
import { inspect, stripVTControlCharacters } from 'node:util';
import { type ArgsDef, type CommandDef, defineCommand, renderUsage, runCommand } from 'citty';
import { nearest } from '../base/text.js';
import { calibrate, examples as calibrateExamples } from './calibrate.js';
import { compare } from './compare.js';
import { completionOf, examples as completionExamples } from './completion.js';
import { decode, examples as decodeExamples } from './decode.js';
import { edit, img2img, inpaint, txt2img } from './draw.js';
import { info } from './info.js';
import { pull, examples as pullExamples } from './pull.js';
import { sample, examples as sampleExamples } from './sample.js';
import { serve, examples as serveExamples } from './serve.js';
import { tell, warn } from './say.js';
import { withLike } from './settings.js';
import { checkFlags, UsageError } from './usage.js';
import { version } from './version.js';

const completion = completionOf(() => commands);

// biome-ignore lint/suspicious/noExplicitAny: commands with different arguments
const commands: Record<string, CommandDef<any>> = {
  sample,
  txt2img,
  img2img,
  inpaint,
  edit,
  decode,
  compare,
  calibrate,
  serve,
  pull,
  info,
  completion,
};

/** What a command's help ends with. */
const examples = new Map<CommandDef, readonly string[]>([
  [sample as CommandDef, sampleExamples],
  [serve as CommandDef, serveExamples],
  [pull as CommandDef, pullExamples],
  [calibrate as CommandDef, calibrateExamples],
  [decode as CommandDef, decodeExamples],
  [completion as CommandDef, completionExamples],
  [
    txt2img as CommandDef,
    ['dpm-solver txt2img "an astronaut on a horse" --model ./sd-v1-5 --steps 20 -o astronaut.png'],
  ],
  [
    img2img as CommandDef,
    ['dpm-solver img2img "a castle at night" --model ./sd-v1-5 --image castle.png --strength 0.6'],
  ],
  [
    inpaint as CommandDef,
    ['dpm-solver inpaint "a cat on a bench" --model ./sd-inpainting --image bench.png --mask seat.png'],
  ],
  [
    edit as CommandDef,
    ['dpm-solver edit --model ./sd-v1-5 --image bowl.png --source "a bowl of fruits" --target "a bowl of pears"'],
  ],
  [
    compare as CommandDef,
    [
      'dpm-solver compare "a red circle on a blue background" -o grid.png',
      'dpm-solver compare "a castle" --model ./sd-v1-5 --solvers ddim,dpmsolver,dpmsolver++ --steps 10,20,50,999',
    ],
  ],
]);

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
    const shown = Object.entries(commands).map(([own, command]) => [own, examples.get(command) ?? []] as const);
    process.stdout.write(manual(version, wordsOf(commands), new Map(shown)));
    return;
  }
  if (name === 'help' && rest.length > 0) {
    await help(commandOf(rest[0]), main);
    return;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await help(main);
    return;
  }
  const command = commandOf(name);
  const end = rest.indexOf('--');
  const flags = end < 0 ? rest : rest.slice(0, end);
  if (flags.includes('--help') || flags.includes('-h')) {
    await help(command, main);
    return;
  }
  const definition = command.args as ArgsDef;
  checkFlags(rest, definition);
  await runCommand(command, { rawArgs: 'like' in definition ? await withLike(rest, definition) : rest });
}

// biome-ignore lint/suspicious/noExplicitAny: commands with different arguments
function commandOf(name: string): CommandDef<any> {
  if (Object.hasOwn(commands, name)) return commands[name];
  const meant = nearest(name, Object.keys(commands));
  throw new UsageError(`There is no command ${name}${meant ? `; did you mean ${meant}?` : '; see dpm-solver --help'}`);
}

async function help(command: CommandDef, parent?: CommandDef): Promise<void> {
  const text = await renderUsage(command, parent);
  // citty colours whatever it is printed to.
  const plain = process.stdout.isTTY ? text : stripVTControlCharacters(text);
  console.log(plain.replace(/ +$/gm, '').trimEnd());
  const lines = examples.get(command);
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
