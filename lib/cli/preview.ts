// What a run takes its pictures to be, on the terminal while it goes on, above the line that says how far it is.
import type { ArgsDef } from 'citty';
import { stretch, type Image } from '../image/image.js';
import { sheet } from '../image/sheet.js';
import type { GenerateOptions, Progress } from '../pipelines/index.js';
import { uninterrupted } from '../image/file.js';
import { askCell, type Cell } from './cell.js';
import { type Cells, drawn, GRAPHICS, type Graphics } from './graphics.js';
import type { Telling } from './progress.js';
import { choice } from './usage.js';

export const previewArgs = {
  preview: { type: 'boolean', description: 'Show on the terminal what each step takes the pictures to be' },
  'preview-as': {
    type: 'string',
    valueHint: 'NAME',
    description: `How the terminal shows pictures: ${GRAPHICS.join(', ')} (Default: as it can, by its name)`,
  },
} as const satisfies ArgsDef;

/** Rows of a preview; fewer where the terminal is low. */
const MOST_ROWS = 16;
/** Below so many nothing can be seen. */
const LEAST_ROWS = 4;

export interface Preview {
  /** Options of the run: `onStep` where somebody looks, and `onWarning`, as what that writes moves the picture up. */
  readonly options: Pick<GenerateOptions, 'onStep' | 'onWarning'>;
  /** The results, in place of what they were taken to be where that was shown; they stay. */
  finish(images: readonly Image[]): Promise<void>;
}

/**
 * The preview that {@link previewArgs} ask for.
 *
 * @param json a program reads what comes
 */
export function openPreview(
  values: Readonly<Record<string, unknown>>,
  json: boolean,
  { warn }: Pick<Telling, 'warn'>,
): Preview {
  const as = choice('preview-as', values['preview-as'] as string | undefined, GRAPHICS);
  const out = process.stderr;
  const none: Preview = { options: { onWarning: warn }, finish: async () => {} };
  if (values.preview !== true || json || !out.isTTY) return none;
  const colors = out.getColorDepth();
  const graphics = as ?? graphicsOf(process.env);
  const rows = Math.min(MOST_ROWS, out.rows - 3);
  if (rows < LEAST_ROWS || (graphics === 'blocks' && colors < 8)) {
    const why = rows < LEAST_ROWS ? `has ${out.rows} rows` : 'shows no colours';
    warn(`There is no preview, as the terminal ${why}`);
    return none;
  }
  return new Lines(graphics, rows, colors, warn);
}

/** Terminals by what they tell of themselves, and what they show pictures by. Of others nobody knows without asking them. */
const KNOWN: readonly [variable: string, value: RegExp, as: Graphics][] = [
  ['TERM', /kitty|ghostty/, 'kitty'],
  ['KITTY_WINDOW_ID', /./, 'kitty'],
  ['TERM_PROGRAM', /^(ghostty|warpterminal)$/i, 'kitty'],
  ['TERM_PROGRAM', /^(iterm\.app|wezterm|mintty|rio)$/i, 'iterm'],
  ['LC_TERMINAL', /^iterm2$/i, 'iterm'],
  ['TERM', /^(foot|mlterm)/, 'sixel'],
  // Of 22.04, as it writes that.
  ['KONSOLE_VERSION', /^(2[3-9]|[3-9]\d|220[4-9]|221)\d*$/, 'sixel'],
];

/** What the terminal shows pictures by, as far as the environment tells. */
export function graphicsOf(env: Readonly<Record<string, string | undefined>>): Graphics {
  // What they draw on tells its name here, too, but is given nothing that they do not know themselves.
  if (env.TMUX !== undefined || /^(tmux|screen)/.test(env.TERM ?? '')) return 'blocks';
  return KNOWN.find(([variable, value]) => value.test(env[variable] ?? ''))?.[2] ?? 'blocks';
}

/** Some lines above the cursor's own, whose picture is replaced. */
class Lines implements Preview {
  readonly #graphics: Graphics;
  readonly #rows: number;
  readonly #colors: number;
  readonly #warn: Telling['warn'];
  /** Asked once, before the first picture. */
  #cell: Promise<Cell | undefined> | undefined;
  /** Are there lines to draw on? */
  #open = false;
  /** Only one picture is drawn at a time, and of those that came meanwhile the last. */
  #drawing: Promise<void> | undefined;
  #next: (() => Promise<readonly Image[]>) | undefined;

  constructor(graphics: Graphics, rows: number, colors: number, warn: Telling['warn']) {
    this.#warn = warn;
    this.#graphics = graphics;
    this.#rows = rows;
    this.#colors = colors;
  }

  readonly options = {
    onStep: ({ preview }: Progress): Promise<void> => this.#show(() => preview()),
    onWarning: (message: string): void => {
      this.#open = false;
      this.#warn(message);
    },
  };

  async finish(images: readonly Image[]): Promise<void> {
    await this.#show(async () => images);
  }

  #show(images: () => Promise<readonly Image[]>): Promise<void> {
    this.#next = images;
    this.#drawing ??= this.#drawAll().finally(() => {
      this.#drawing = undefined;
    });
    return this.#drawing;
  }

  async #drawAll(): Promise<void> {
    while (this.#next) {
      const next = this.#next;
      this.#next = undefined;
      const images = await next();
      // Of an autoencoder whose colours are not known.
      if (images.length > 0) await this.#draw(images);
    }
  }

  async #draw(images: readonly Image[]): Promise<void> {
    const { picture, cells } = beside(images, this.#rows, process.stderr.columns);
    // Other protocols stretch a picture to its cells by themselves.
    this.#cell ??= this.#graphics === 'sixel' ? askCell(process.stdin, process.stderr) : Promise.resolve(undefined);
    const text = await drawn(this.#graphics, picture, cells, this.#colors, await this.#cell);
    // The lines may be those of a screen that has to move up first. Back to the cursor's own one, which is as it was; half an
    // order would leave the terminal waiting for the rest of it.
    const room = this.#open ? '' : `\r\x1b[2K${'\n'.repeat(this.#rows)}`;
    this.#open = true;
    uninterrupted(() => process.stderr.write(`${room}\x1b7\x1b[${this.#rows}A\r${text}\x1b8`));
  }
}

/** As many of the pictures as there is room for, side by side. */
export function beside(images: readonly Image[], rows: number, columns: number): { picture: Image; cells: Cells } {
  const [{ width, height }] = images;
  // A cell is about twice as high as it is wide.
  const each = Math.max(1, Math.min(columns - 1, Math.round((2 * rows * width) / height)));
  const most = Math.max(1, Math.floor((columns - 1) / each));
  const shown = images.slice(0, most).map((image) => stretch(image, { width, height }));
  return {
    picture: shown.length === 1 ? shown[0] : sheet([shown], { margin: 0 }),
    cells: { columns: each * shown.length, rows },
  };
}
