// What the commands that draw write: pictures on sheets or in files of their own, with what made them, and a line about it.
import type { ArgsDef } from 'citty';
import { list } from '../base/check.js';
import { checkWritable, writeFileAtomically } from '../image/file.js';
import {
  checkSide,
  type Coding,
  coder,
  encodePicture,
  FORMATS,
  type Format,
  formatOf,
  QUALITY,
} from '../image/formats.js';
import { enlarge, type Image } from '../image/image.js';
import { sheet, sheetSize } from '../image/sheet.js';
import type { Generation, Tiles, Timings } from '../pipelines/index.js';
import { wholeOf } from './generate.js';
import { say } from './say.js';
import { samplerName, settingsOf, textsOf } from './settings.js';
import { choice, UsageError } from './usage.js';
import { version } from '../base/version.js';

type Values = Record<string, unknown>;

/** Of one sheet. */
export const sheetArgs = {
  scale: {
    type: 'string',
    valueHint: 'N',
    description: 'Enlargement of the pictures (Default: 1, and 4 for small ones on a sheet)',
  },
  output: {
    type: 'string',
    alias: 'o',
    default: 'out.png',
    valueHint: 'FILE',
    description: 'The sheet, a .png, .jpg or .webp file; - is standard output',
  },
  format: {
    type: 'string',
    valueHint: 'NAME',
    description: `Of standard output: ${FORMATS.join(', ')} (Default: png; of a file what its name ends in)`,
  },
  quality: { type: 'string', valueHint: 'N', description: `Of JPEG and WebP, 1 to 100 (Default: ${QUALITY})` },
  json: { type: 'boolean', description: 'Print one JSON object instead of a line' },
} as const satisfies ArgsDef;

export const outputArgs = {
  ...sheetArgs,
  output: {
    ...sheetArgs.output,
    description:
      'A .png, .jpg or .webp file, of several pictures a sheet; pic-%03d.png is a file each, - is standard output',
  },
  sheet: { type: 'boolean', description: 'A sheet with a margin of a single picture, too' },
  like: { type: 'string', valueHint: 'FILE', description: "Take what is not said from a picture's file" },
  json: { type: 'boolean', description: 'Print one JSON object a file instead of a line' },
} as const satisfies ArgsDef;

export interface Destination {
  output: string;
  coding: Coding;
  scale: number | undefined;
  sheet: boolean;
  json: boolean;
}

/**
 * The values of {@link outputArgs} or {@link sheetArgs}; refuses a file that could not be written, or that something is missing
 * for, before any work.
 */
export async function readDestination(values: Values): Promise<Destination> {
  const scale = wholeOf(values, 'scale', 1);
  const output = values.output as string;
  const sheet = (values.sheet as boolean | undefined) ?? false;
  const coding = { format: readFormat(values), quality: wholeOf(values, 'quality', 1) ?? QUALITY };
  if (coding.quality > 100) {
    throw new UsageError(`Expected a whole number from 1 to 100 for --quality but received '${coding.quality}'`);
  }
  if (sheet && PATTERN.test(output)) {
    throw new UsageError(`Expected one file for --output beside --sheet but received the pattern '${output}'`);
  }
  if (output !== '-') checkWritable(numbered(output, 1));
  await coder(coding.format);
  return { output, coding, scale, sheet, json: (values.json as boolean | undefined) ?? false };
}

function readFormat(values: Values): Format {
  const output = values.output as string;
  const asked = choice('format', values.format as string | undefined, FORMATS);
  if (output === '-') return asked ?? 'png';
  const named = formatOf(output);
  if (named === undefined) {
    throw new UsageError(
      `Expected a file name ending in ${list(['.png', '.jpg', '.webp'], 'or')} for --output but received '${output}'`,
    );
  }
  if (asked !== undefined && asked !== named) {
    throw new UsageError(`Expected a file name that fits --format ${asked} for --output but received '${output}'`);
  }
  return named;
}

/** As printf has it: %d, or %03d for three digits. */
const PATTERN = /%(?:0(\d))?d/;

/** The name without its picture's ending and number: what else is written goes by it. */
export function stemOf(output: string): string {
  if (output === '-') return 'out';
  return output.replace(PATTERN, '').replace(/[-_. ]*\.(png|jpe?g|webp)$/i, '') || 'out';
}

/** The name of file `i` where names are numbered. */
function numbered(output: string, i: number): string {
  return output.replace(PATTERN, (_, digits?: string) => String(i).padStart(Number(digits ?? 0), '0'));
}

/** Are several pictures, or one by `--sheet`, laid out on one? */
function onSheet({ output, sheet }: Destination, pictures: number): boolean {
  return sheet || (pictures > 1 && !PATTERN.test(output));
}

/** Refuses a file that is not called a PNG file, or could not be written. */
export function checkPng(flag: string, path: string): void {
  if (!/\.png$/i.test(path)) {
    throw new UsageError(`Expected a file name ending in .png for --${flag} but received '${path}'`);
  }
  checkWritable(path);
}

/** Pixels around the pictures of a sheet. */
const MARGIN = 8;

/** How much pictures are enlarged on a sheet, where nobody says. */
export function scaleOf(scale: number | undefined, width: number): number {
  return scale ?? (width <= 128 ? 4 : 1);
}

/**
 * Refuses what would be too large for a sheet or for a file of its kind, before there are pictures to put on it.
 *
 * @throws RangeError
 */
export function checkSheet(
  rows: number,
  columns: number,
  destination: Destination,
  size: Pick<Image, 'width' | 'height'>,
): void {
  const { scale = 1, coding } = destination;
  if (onSheet(destination, rows * columns)) {
    const options = { scale: scaleOf(destination.scale, size.width), margin: MARGIN };
    checkSide(coding.format, sheetSize(rows, columns, size, options));
  } else checkSide(coding.format, { width: scale * size.width, height: scale * size.height });
}

/** Pictures as they are written: rows of them on a sheet, or one after the other. */
export function laidOut(rows: readonly (readonly (Image | null)[])[], destination: Destination): Image[] {
  const images = rows.flat().filter((image) => image !== null);
  const { scale } = destination;
  if (!onSheet(destination, images.length)) return images.map((image) => enlarge(image, scale ?? 1));
  return [sheet(rows, { scale: scaleOf(scale, images[0].width), margin: MARGIN })];
}

/** Writes picture `i`, from 0, with texts by keyword, and tells the file's name. */
export async function writePicture(
  { output, coding }: Pick<Destination, 'output' | 'coding'>,
  i: number,
  picture: Image,
  texts?: Record<string, string>,
): Promise<string> {
  const bytes = await encodePicture(picture, coding, texts);
  const name = numbered(output, i + 1);
  if (output === '-') process.stdout.write(bytes);
  else writeFileAtomically(name, bytes);
  return name;
}

/** Says to people what is in the file now, or was written to standard output. */
export function sayMade(output: string, what: string): void {
  say(`${output === '-' ? 'standard output' : output}: ${what}`, output);
}

/** What was drawn with: a command and the values of its flags. */
export interface Told {
  readonly command: string;
  readonly values: Values;
}

/** Writes the pictures, on a sheet or each into its file, with what made them; and says what was made. */
export async function report(
  told: Told,
  generation: Generation,
  rows: readonly (readonly (Image | null)[])[],
  destination: Destination,
  details: Record<string, unknown>,
): Promise<void> {
  const { images, nfe, solver, seeds, guidance, table, grid, memory, tiles, timings } = generation;
  const { output, json } = destination;
  const all = promptsOf(details);
  const together = onSheet(destination, images.length);
  const prompts = together ? [all] : images.map((image) => all.slice(...ofRow(rows, image)));
  for (const [i, picture] of laidOut(rows, destination).entries()) {
    const own = { prompts: prompts[i], seeds: together ? seeds : [seeds[i]] };
    const texts = textsOf(settingsOf(told.command, told.values), {
      ...{ version, ...own, guidance, width: images[0].width, height: images[0].height },
      model: (told.values.model as string | undefined) ?? 'shapes',
      steps: details.steps as number | undefined,
      negativePrompt: details.negativePrompt as string | undefined,
      sampler: samplerName(details),
    });
    const name = await writePicture(destination, i, picture, texts);
    if (!json) continue;
    const { width, height } = picture;
    const more = { ...details, ...own, guidance, nfe, solver, table, grid, memory, tiles, timings };
    say(JSON.stringify({ output: name, width, height, ...more }), output);
  }
  if (json) return;
  const pictures = `${images.length} picture${images.length === 1 ? '' : 's'}`;
  const each = images.length === 1 ? '' : ' each';
  const by = table !== undefined ? `, by the table ${table}` : grid !== undefined ? `, on the grid ${grid}` : '';
  const evaluations = `${nfe} evaluation${nfe === 1 ? '' : 's'}${each}${by}`;
  sayMade(output, `${pictures}, ${evaluations}${tiles ? inTiles(tiles) : ''}; ${costs(timings)}`);
}

function inTiles({ rows, columns, width, height }: Tiles): string {
  return `, decoded by ${rows * columns} tiles of ${width} x ${height}`;
}

function promptsOf(details: Record<string, unknown>): readonly string[] {
  const { prompts, target } = details as { prompts?: readonly string[]; target?: string };
  return prompts ?? (target === undefined ? [] : [target]);
}

/** The place of a picture's prompt among them, for slice. */
function ofRow(rows: readonly (readonly (Image | null)[])[], image: Image): [from: number, to: number] {
  const row = rows.findIndex((images) => images.includes(image));
  return [row, row + 1];
}

function costs({ networkMs, stepMs, totalMs }: Timings): string {
  return `${ms(networkMs)} per network call, ${ms(stepMs)} per solver step; ${(totalMs / 1000).toFixed(1)} s in all`;
}

function ms(value: number): string {
  return `${value < 100 ? Number(value.toPrecision(2)) : Math.round(value)} ms`;
}
