// `dpm-solver completion SHELL`: a script that tells the shell what may follow at the Tab key. All is in the script: nothing
// of the command line is run or evaluated while somebody types.
import { type CommandDef, defineCommand } from 'citty';
import { choice, SHELLS, UsageError } from './usage.js';
import type { Command, Flag, Value } from './words.js';

export const examples: readonly string[] = [
  'source <(dpm-solver completion bash)     # in ~/.bashrc',
  'source <(dpm-solver completion zsh)      # in ~/.zshrc, after compinit',
  'dpm-solver completion fish | source      # in ~/.config/fish/config.fish',
];

/** The command, which has to know all others. */
export function completionOf(commands: () => Readonly<Record<string, CommandDef>>) {
  return defineCommand({
    meta: { name: 'completion', description: "A script for a shell's Tab key" },
    args: { shell: { type: 'positional', required: false, description: `Which shell: ${SHELLS.join(', ')}` } },
    async run({ args }) {
      if (args.shell === undefined) throw new UsageError(`A shell is missing: ${SHELLS.join(', ')}`);
      if (args._.length > 1) throw new UsageError(`Expected one shell but received '${args._[1]}'`);
      const shell = choice('shell', args.shell, SHELLS) as (typeof SHELLS)[number];
      // Not before: it needs all that a flag may name.
      const { wordsOf } = await import('./words.js');
      process.stdout.write({ bash, zsh, fish }[shell](wordsOf(commands())));
    },
  });
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
/** The first part of a flag's help, which one line has to do for. */
const short = (text: string) => text.replace(/ \(Default: .*$/, '');

/** The flag as it is typed, by both of its names. */
const spelled = ({ name, letter }: Flag) => [`--${name}`, ...(letter === undefined ? [] : [`-${letter}`])];

function bash(commands: readonly Command[]): string {
  const words = (list: readonly string[]) => quoted(list.join(' '));
  const perValue = (value: Value) => {
    if (value === 'file') return 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"))';
    if (value === 'folder') return 'compopt -o filenames; COMPREPLY=($(compgen -d -- "$word"))';
    if (value === 'other') return ':';
    return `COMPREPLY=($(compgen -W ${words(value as readonly string[])} -- "$word"))`;
  };
  const lines = commands.flatMap(({ name, flags, positionals }) => {
    const [first] = positionals;
    const follow = flags
      .filter(({ value }) => value !== 'none')
      .map((flag) => `        ${spelled(flag).join('|')}) ${perValue(flag.value)}; return ;;`);
    const all = flags.flatMap(spelled);
    return [
      `    ${name})`,
      '      case "$before" in',
      ...follow,
      '      esac',
      `      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W ${words(all)} -- "$word"))`,
      ...(first?.values ? [`      else COMPREPLY=($(compgen -W ${words(first.values)} -- "$word"))`] : []),
      '      fi ;;',
    ];
  });
  return `# The Tab key for dpm-solver, in bash.
_dpm_solver() {
  local IFS=$' \\t\\n' word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  # --flag=value is three words for bash.
  if [[ $word == '=' ]]; then word=''
  elif [[ $before == '=' ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W ${words([...commands.map(({ name }) => name), 'help', '--help', '--version'])} -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    help) COMPREPLY=($(compgen -W ${words(commands.map(({ name }) => name))} -- "$word")) ;;
${lines.join('\n')}
  esac
}
complete -F _dpm_solver dpm-solver
`;
}

function zsh(commands: readonly Command[]): string {
  const plain = (text: string) => text.replace(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''");
  const action = (value: Value) => {
    if (value === 'file') return '_files';
    if (value === 'folder') return '_files -/';
    return value === 'other' ? ' ' : `(${(value as readonly string[]).join(' ')})`;
  };
  const specs = ({ flags, positionals }: Command) => [
    ...flags.flatMap((flag) => {
      const follows = flag.value === 'none' ? '' : `:${plain(flag.hint ?? flag.name)}:${action(flag.value)}`;
      return spelled(flag).map((typed) => {
        const sign = flag.value !== 'none' && typed.startsWith('--') ? '=' : '';
        return `'${typed}${sign}[${plain(short(flag.description))}]${follows}'`;
      });
    }),
    ...positionals.map(({ name, values }) => `'*:${plain(name)}:${values ? `(${values.join(' ')})` : ' '}'`),
  ];
  const cases = commands.map(
    (command) => `    ${command.name}) _arguments -s -S \\\n      ${specs(command).join(' \\\n      ')} ;;`,
  );
  const names = commands.map(({ name, description }) => `    '${name}:${plain(description)}'`);
  return `#compdef dpm-solver
# The Tab key for dpm-solver, in zsh.
_dpm_solver() {
  local -a commands=(
${names.join('\n')}
    'help:What a command takes'
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
    help) _describe command commands ;;
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _dpm_solver ]]; then _dpm_solver "$@"; else compdef _dpm_solver dpm-solver; fi
`;
}

function fish(commands: readonly Command[]): string {
  const first = 'complete -c dpm-solver -f -n __fish_use_subcommand';
  const lines = commands.flatMap(({ name, flags, positionals }) => {
    const there = `complete -c dpm-solver -n '__fish_seen_subcommand_from ${name}'`;
    const value = (of: Value) => {
      if (of === 'none') return '';
      if (of === 'file') return ' -r -F';
      if (of === 'folder') return " -x -a '(__fish_complete_directories)'";
      return of === 'other' ? ' -x' : ` -x -a ${quoted((of as readonly string[]).join(' '))}`;
    };
    return [
      ...positionals.flatMap(({ values }) => (values ? [`${there} -f -a ${quoted(values.join(' '))}`] : [])),
      ...flags.map((flag) => {
        const letter = flag.letter === undefined ? '' : ` -s ${flag.letter}`;
        return `${there} -l ${flag.name}${letter}${value(flag.value)} -d ${quoted(short(flag.description))}`;
      }),
    ];
  });
  return `# The Tab key for dpm-solver, in fish.
complete -c dpm-solver -f
${commands.map(({ name, description }) => `${first} -a ${name} -d ${quoted(description)}`).join('\n')}
${first} -a help -d 'What a command takes'
complete -c dpm-solver -f -n '__fish_seen_subcommand_from help' -a ${quoted(commands.map(({ name }) => name).join(' '))}
${lines.join('\n')}
`;
}
