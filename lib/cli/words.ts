// The commands as data: what the scripts for the Tab key and the manual page are made of.
import type { ArgsDef, CommandDef } from 'citty';
import { SOLVERS } from '../pipelines/solvers.js';
import { classNames } from '../schedulers/from-config.js';
import { METHODS, SOLVER_TYPES } from '../solver/options.js';
import { FORMATS } from '../image/formats.js';
import { DEVICES, DTYPES, GRIDS, MEMORIES, ORDERS, TILINGS } from './generate.js';
import { GRAPHICS } from './graphics.js';
import { SHELLS } from './usage.js';

/** What stands behind a flag: nothing, a file, a folder, one of a list, or something else. */
export type Value = 'none' | 'file' | 'folder' | 'other' | readonly string[];

export interface Flag {
  /** Without dashes. */
  readonly name: string;
  /** One letter. */
  readonly letter?: string;
  readonly value: Value;
  /** As the help has it. */
  readonly hint?: string;
  readonly description: string;
  /** What holds where it is not given. */
  readonly standard?: string;
}

export interface Command {
  readonly name: string;
  readonly description: string;
  /** What stands without a flag, as the help names it, and what it is. */
  readonly positionals: readonly {
    readonly name: string;
    readonly description: string;
    readonly values?: readonly string[];
  }[];
  readonly flags: readonly Flag[];
}

/** Flags whose values have a list, whatever the command. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  solver: SOLVERS,
  solvers: SOLVERS,
  order: ORDERS,
  'skip-type': GRIDS,
  'solver-type': SOLVER_TYPES,
  method: METHODS,
  scheduler: classNames(),
  device: DEVICES,
  dtype: DTYPES,
  memory: MEMORIES,
  'vae-tiling': TILINGS,
  format: FORMATS,
  'preview-as': GRAPHICS,
};

/** citty's definitions as {@link Command}s. */
export function wordsOf(definitions: Readonly<Record<string, CommandDef>>): Command[] {
  return Object.entries(definitions).map(([name, { meta, args }]) => {
    const entries = Object.entries((args ?? {}) as ArgsDef);
    return {
      name,
      description: (meta as { description?: string }).description ?? '',
      positionals: entries
        .filter(([, { type }]) => type === 'positional')
        .map(([own, { description = '' }]) => ({
          name: own,
          description,
          ...(own === 'shell' ? { values: SHELLS } : {}),
        })),
      flags: [...entries.flatMap(([own, definition]) => flagOf(own, definition)), HELP],
    };
  });
}

const HELP: Flag = { name: 'help', letter: 'h', value: 'none', description: 'What the command takes' };

function flagOf(name: string, definition: ArgsDef[string]): Flag[] {
  if (definition.type === 'positional') return [];
  const {
    type,
    alias,
    valueHint,
    description = '',
    default: standard,
  } = definition as {
    type?: string;
    alias?: string | string[];
    valueHint?: string;
    description?: string;
    default?: unknown;
  };
  const letter = [alias ?? []].flat().find((other) => other.length === 1);
  return [
    {
      name,
      ...(letter === undefined ? {} : { letter }),
      value: type === 'boolean' ? 'none' : valueFor(name, valueHint),
      ...(valueHint === undefined ? {} : { hint: valueHint }),
      description,
      ...(typeof standard === 'string' ? { standard } : {}),
    },
  ];
}

function valueFor(name: string, hint: string | undefined): Value {
  if (hint === 'FILE') return 'file';
  if (hint === 'DIR') return 'folder';
  return Object.hasOwn(LISTS, name) ? LISTS[name] : 'other';
}
