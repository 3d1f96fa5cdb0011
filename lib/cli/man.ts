// The manual page, in the macros of man(7): the commands, their flags and examples, as the help has them.
import type { Command } from './words.js';

/** A page as `man` reads it. */
export function manual(
  version: string,
  commands: readonly Command[],
  examples: ReadonlyMap<string, readonly string[]>,
) {
  const sections = commands.flatMap(({ name, description, positionals, flags }) => [
    `.SS "dpm-solver ${name}"`,
    `${plain(description)}.`,
    ...positionals.flatMap((one) => ['.TP', `\\fI${plain(one.name)}\\fR`, sentence(one.description)]),
    ...flags.flatMap(({ name: flag, letter, hint, value, description: text, standard }) => [
      '.TP',
      [letter === undefined ? [] : [`\\fB\\-${letter}\\fR`], `\\fB${plain(`--${flag}`)}\\fR`].flat().join(', ') +
        (value === 'none' ? '' : ` \\fI${plain(hint ?? 'VALUE')}\\fR`),
      sentence(standard === undefined ? text : `${text} (Default: ${standard})`),
    ]),
  ]);
  const shown = [...examples.values()].flat().flatMap((line) => ['.nf', plain(line), '.fi', '.PP']);
  return `${[
    `.TH DPM-SOLVER 1 "" "dpm-solver ${version}" "User Commands"`,
    '.SH NAME',
    'dpm\\-solver \\- pictures from diffusion models, with DPM\\-Solver and DPM\\-Solver++',
    '.SH SYNOPSIS',
    '.B dpm\\-solver',
    '\\fICOMMAND\\fR [\\fIARGUMENT\\fR ...]',
    '.SH DESCRIPTION',
    'Draws pictures with diffusion models in a folder of ONNX graphs, or with the small one that comes with it, in 10 to 20',
    'evaluations of the network, by the solvers of Lu et al. 2022 (arXiv 2206.00927 and 2211.01095).',
    '.SH COMMANDS',
    ...sections,
    '.SH EXAMPLES',
    ...shown.slice(0, -1),
    '.SH EXIT STATUS',
    '.TP',
    '0',
    'All went well.',
    '.TP',
    '1',
    'Something failed on the way.',
    '.TP',
    '2',
    'What was asked for cannot be.',
    '.SH FILES',
    '.TP',
    '\\fI*.png\\fR, \\fI*.jpg\\fR, \\fI*.webp\\fR',
    'Pictures have the settings that made them in them: \\fB\\-\\-like\\fR reads these back.',
    '.TP',
    '\\fI~/.config/dpm\\-solver/config.json\\fR',
    'Flags that hold where they are not typed: of all commands that have them, and in an object by the name of a command its own.',
    '.SH ENVIRONMENT',
    '.TP',
    'DPM_SOLVER_CONFIG',
    'Another such file; where it is empty, none.',
    '.TP',
    'DPM_SOLVER_<COMMAND>_<FLAG>',
    'The value of a flag, which comes before that of a file: DPM_SOLVER_SERVE_TIME_LIMIT.',
  ].join('\n')}\n`;
}

const sentence = (text: string) => plain(/[.!?)]$/.test(text) ? text : `${text}.`);

/** Text that no macro is taken for, with minus signs that can be copied. */
function plain(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
