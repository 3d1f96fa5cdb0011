// Previews on terminals: what each protocol is given is taken apart again, and a run on a terminal of its own draws what it makes.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { decode as decodeSixel } from 'sixel';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { askCell, type Keyboard } from '../../lib/cli/cell.js';
import { drawn } from '../../lib/cli/graphics.js';
import { beside, graphicsOf } from '../../lib/cli/preview.js';
import { readPng } from '../../lib/image/file.js';
import { bufferOf, type Image, stretch } from '../../lib/image/image.js';
import { constant } from '../pipelines/models.js';
import { start } from './command.js';

const test = suite('previews');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-preview-'));
test.after(() => rmSync(folder, { recursive: true }));

/** Four flat quarters, so that stretching changes no colour away from their edges. */
const COLORS = [
  [255, 0, 0],
  [0, 135, 95],
  [8, 8, 8],
  [255, 255, 255],
];
const image: Image = { width: 16, height: 16, data: new Uint8Array(3 * 16 * 16) };
for (let i = 0; i < 256; i++) image.data.set(COLORS[(i % 16 < 8 ? 0 : 1) + (i < 128 ? 0 : 2)], 3 * i);
/** What orders begin with, in patterns, and what ends some of them. */
const [ESC, BEL] = ['\\u001b', '\\u0007'];
const CELLS = { columns: 16, rows: 8 };

/** The middle of each quarter. */
function quarters({ width, height, data }: Image): number[][] {
  return [0.25, 0.75].flatMap((y) =>
    [0.25, 0.75].map((x) => [
      ...data.subarray(3 * (Math.floor(y * height) * width + Math.floor(x * width))).slice(0, 3),
    ]),
  );
}

/** The pictures that kitty would show, each by all of its pieces. */
function kittyPictures(text: string): Image[] {
  const found: Image[] = [];
  let [head, data] = ['', ''];
  for (const [, keys, piece] of text.matchAll(new RegExp(`${ESC}_G([^;]*);([^${ESC}]*)${ESC}\\\\`, 'g'))) {
    assert.ok(piece.length <= 4096, 'a piece');
    if (keys.includes('a=T')) [head, data] = [keys, ''];
    data += piece;
    if (!/m=0/.test(keys)) continue;
    const key = (name: string) => Number(head.match(new RegExp(`(?:^|,)${name}=(\\d+)`))?.[1]);
    assert.is(key('f'), 24);
    const bytes = new Uint8Array(Buffer.from(data, 'base64'));
    assert.is(bytes.length, 3 * key('s') * key('v'));
    found.push({ width: key('s'), height: key('v'), data: bytes });
  }
  return found;
}

/** The pixels of half blocks, each from the cursor's column on. */
function blockPicture(text: string, { columns, rows }: typeof CELLS): Image {
  const lines = text.split(`\x1b[${columns}D\x1b[B`);
  assert.is(lines.length, rows);
  const data = new Uint8Array(3 * columns * 2 * rows);
  for (const [row, line] of lines.entries()) {
    assert.ok(line.endsWith('\x1b[0m'), 'colours end with the line');
    const cells = [...line.matchAll(new RegExp(`${ESC}\\[38;([\\d;]+);48;([\\d;]+)m▀`, 'g'))];
    assert.is(cells.length, columns);
    for (const [x, [, upper, lower]] of cells.entries()) {
      for (const [half, color] of [upper, lower].entries()) {
        data.set(colorOf(color.split(';').map(Number)), 3 * ((2 * row + half) * columns + x));
      }
    }
  }
  return { width: columns, height: 2 * rows, data };
}

/** Of the SGR parameters 2;r;g;b, or 5;n, which is one of xterm's 256 colours. */
function colorOf([kind, ...rest]: number[]): number[] {
  if (kind === 2) return rest;
  const [n] = rest;
  if (n >= 232) return Array<number>(3).fill(8 + 10 * (n - 232));
  const level = (i: number) => (i === 0 ? 0 : 55 + 40 * i);
  return [Math.floor((n - 16) / 36), Math.floor((n - 16) / 6) % 6, (n - 16) % 6].map(level);
}

test('kitty gets the pixels themselves, in pieces, and in place of those before', async () => {
  const large = stretch(image, { width: 100, height: 100 });
  const text = await drawn('kitty', large, CELLS, 24);
  assert.equal(kittyPictures(text), [large]);
  assert.match(text, new RegExp(`^${ESC}_Ga=T,f=24,s=100,v=100,c=16,r=8,i=\\d+,p=1,C=1,q=2,m=1;`));
});

test('iTerm2 gets a PNG file of the cells', async () => {
  const text = await drawn('iterm', image, CELLS, 24);
  const [, size, base64] = text.match(
    new RegExp(`^${ESC}\\]1337;File=inline=1;size=(\\d+);width=16;height=8;[^:]*:([^${BEL}]*)${BEL}$`),
  )!;
  const png = Buffer.from(base64, 'base64');
  assert.is(png.length, Number(size));
  assert.equal(readPng(new Uint8Array(png)), image);
});

test('sixels are no higher than the rows, and of the colours', async () => {
  const text = await drawn('sixel', image, CELLS, 24);
  assert.ok(text.startsWith('\x1bP') && text.endsWith('\x1b\\'));
  const { width, height, data32 } = decodeSixel(Buffer.from(text.slice(text.indexOf('q') + 1, -2)));
  assert.equal([width, height], [16 * 6, 8 * 12]);
  const rgba = new Uint8Array(data32.buffer, data32.byteOffset, data32.byteLength);
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => rgba[4 * Math.floor(i / 3) + (i % 3)]);
  for (const [i, color] of quarters({ width, height, data }).entries()) {
    // Sixels have hundredths of each colour.
    for (const [c, value] of color.entries())
      assert.ok(Math.abs(value - COLORS[i][c]) <= 4, `${color} for ${COLORS[i]}`);
  }
});

/** The size of the first of the sixel pictures in a text. */
function sixelSize(text: string): number[] {
  const { width, height } = decodeSixel(Buffer.from(text.slice(text.indexOf('q') + 1, text.indexOf('\x1b\\'))));
  return [width, height];
}

test('sixels are as large as the cells of which the terminal tells', async () => {
  assert.equal(sixelSize(await drawn('sixel', image, CELLS, 24, { width: 9, height: 18 })), [16 * 9, 8 * 18]);
  // Whole rows of six, which end within the cells: 8 of 17 are 136.
  assert.equal(sixelSize(await drawn('sixel', image, CELLS, 24, { width: 8, height: 17 })), [16 * 8, 132]);
});

/** A keyboard that types an answer when something is written, and what was done with it. */
function keyboard(answer: string | undefined, state: Partial<Keyboard> = {}) {
  const typed = new PassThrough();
  const [modes, written]: [boolean[], string[]] = [[], []];
  const setRawMode = (raw: boolean) => void modes.push(raw);
  const keys: Keyboard = Object.assign(typed, { isTTY: true, isRaw: false, setRawMode }, state);
  const write = (text: string) => {
    written.push(text);
    // In pieces, as slow lines have it.
    for (const letter of answer ?? '') setImmediate(() => typed.write(letter));
    return true;
  };
  return { keys, screen: { write: write as typeof process.stderr.write }, modes, written, typed };
}

test('asks the terminal for the pixels of a cell', async () => {
  for (const [answer, cell] of [
    ['\x1b[6;20;10t\x1b[?62;4;22c', { width: 10, height: 20 }],
    // Typed ahead; one that answers only what every terminal does; none at all; nonsense.
    ['ls\x1b[6;20;10t\x1b[?62c', { width: 10, height: 20 }],
    ['\x1b[?1;2c', undefined],
    [undefined, undefined],
    ['\x1b[6;0;0t\x1b[?1;2c', undefined],
  ] as const) {
    const { keys, screen, modes, written, typed } = keyboard(answer);
    assert.equal(await askCell(keys, screen), cell, JSON.stringify(answer));
    assert.equal(written, ['\x1b[16t\x1b[c']);
    assert.equal(modes, [true, false], 'the terminal is as it was');
    assert.equal([typed.listenerCount('data'), typed.isPaused()], [0, true], 'nobody reads any more');
  }
});

test('asks nobody where somebody else may be reading', async () => {
  const reader = keyboard('');
  reader.typed.on('data', () => {});
  for (const one of [reader, keyboard('', { isTTY: false }), keyboard('', { isRaw: true })]) {
    assert.is(await askCell(one.keys, one.screen), undefined);
    assert.equal([one.written, one.modes], [[], []]);
  }
});

test('half blocks have the colours, or the nearest of 256', async () => {
  for (const bits of [24, 8]) {
    const picture = blockPicture(await drawn('blocks', image, CELLS, bits), CELLS);
    assert.equal(quarters(picture), COLORS, `${bits} bits`);
  }
});

test('knows terminals by their names, and what draws on them', () => {
  for (const [env, as] of [
    [{ TERM: 'xterm-kitty' }, 'kitty'],
    [{ TERM: 'xterm-256color', KITTY_WINDOW_ID: '1' }, 'kitty'],
    [{ TERM_PROGRAM: 'ghostty' }, 'kitty'],
    [{ TERM_PROGRAM: 'iTerm.app' }, 'iterm'],
    [{ TERM_PROGRAM: 'WezTerm' }, 'iterm'],
    [{ TERM: 'xterm-256color', LC_TERMINAL: 'iTerm2' }, 'iterm'],
    [{ TERM: 'foot' }, 'sixel'],
    [{ KONSOLE_VERSION: '220401' }, 'sixel'],
    [{ KONSOLE_VERSION: '211203' }, 'blocks'],
    [{ TERM: 'tmux-256color', KITTY_WINDOW_ID: '1' }, 'blocks'],
    [{ TERM: 'xterm-256color', TMUX: '/tmp/tmux', LC_TERMINAL: 'iTerm2' }, 'blocks'],
    [{ TERM: 'xterm-256color' }, 'blocks'],
    [{}, 'blocks'],
  ] as [Record<string, string>, string][]) {
    assert.is(graphicsOf(env), as, JSON.stringify(env));
  }
});

test('pictures stand side by side, as many as there is room for', () => {
  const of = (columns: number, count = 3) => beside(Array(count).fill(image), 8, columns);
  assert.equal(of(80).cells, { columns: 48, rows: 8 });
  assert.equal([of(80).picture.width, of(80).picture.height], [48, 16]);
  assert.equal(of(40).cells, { columns: 32, rows: 8 });
  assert.equal(of(10).cells, { columns: 9, rows: 8 });
  const wide = beside([stretch(image, { width: 32, height: 16 })], 8, 80);
  assert.equal(wide.cells, { columns: 32, rows: 8 });
});

const hasTerminal = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;
const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));

/** The command line on a terminal of its own, of 90 columns and 40 rows; what it wrote there. */
function onTerminal(args: readonly string[], seen: (text: string, type: (keys: string) => void) => void = () => {}) {
  const words = [process.execPath, '--import', import.meta.resolve('tsx'), main, ...args];
  const line = `stty cols 90 rows 40; exec ${words.map((word) => `'${word}'`).join(' ')}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TERM: 'xterm-256color', COLORTERM: 'truecolor', NO_COLOR: undefined, TMUX: undefined },
  });
  return new Promise<{ text: string; code: number | null }>((resolve, reject) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (piece) => {
      text += piece;
      seen(text, (keys) => child.stdin.write(keys));
    });
    child.on('error', reject).on('close', (code) => resolve({ text, code }));
  });
}

/** What stays of a text without orders that are whole. */
const withoutOrders = (text: string) =>
  text.replace(new RegExp(`${ESC}(?:_[^${ESC}]*${ESC}\\\\|\\[[\\d;?]*[A-Za-z]|[78])`, 'g'), '');

(hasTerminal ? test : test.skip)('a run shows its predictions, and at last what it made', async () => {
  const args = ['sample', 'red', '--model', constant, '--steps', '3', '--count', '2', '-o', 'pic-%d.png'];
  const { text, code } = await onTerminal([...args, '--preview', '--preview-as', 'kitty']);
  assert.is(code, 0, text);
  const shown = kittyPictures(text);
  // Of predictions that come faster than they are drawn the last is.
  assert.ok(shown.length >= 2 && shown.length <= 4, `${shown.length}`);
  const [left, right] = ['pic-1.png', 'pic-2.png'].map((name) => readPng(readFileSync(join(folder, name))));
  const rows = Array.from({ length: 4 }, (_, y) =>
    [left, right].map(({ data }) => [...data.subarray(12 * y, 12 * y + 12)]),
  );
  assert.equal([...shown.at(-1)!.data], rows.flat(2));
  // The lines of the picture are made once, and each drawing leaves the cursor where it was.
  assert.is(text.match(/(?:\r?\n){16}/g)?.length, 1);
  assert.is(text.split('\x1b7\x1b[16A\r').length - 1, shown.length);
  assert.not.match(withoutOrders(text), '\x1b');
});

(hasTerminal ? test : test.skip)('sixels fill the cells of a terminal that answers', async () => {
  const args = ['sample', 'red', '--model', constant, '--steps', '2', '--count', '1', '-o', 'sixel.png'];
  let answered = false;
  const { text, code } = await onTerminal([...args, '--preview', '--preview-as', 'sixel'], (seen, type) => {
    if (answered || !seen.includes('\x1b[16t')) return;
    answered = true;
    type('\x1b[6;24;12t\x1b[?62;4c');
  });
  assert.is(code, 0, text);
  // 16 rows, and twice as many columns for what is as high as it is wide.
  assert.equal(sixelSize(text.slice(text.indexOf('\x1bP'))), [32 * 12, 16 * 24]);
  assert.is(text.split('\x1b[16t').length, 2, 'asked once');
});

(hasTerminal ? test : test.skip)('compare shows its sheet, and decode its pictures', async () => {
  const shown = ['--preview', '--preview-as', 'kitty'];
  const args = ['compare', 'red', '--model', constant, '--solvers', 'ddim,dpmsolver++', '--steps', '1,2'];
  const compared = await onTerminal([...args, '-o', 'grid.png', ...shown]);
  assert.is(compared.code, 0, compared.text);
  const grid = readPng(readFileSync(join(folder, 'grid.png')));
  const last = kittyPictures(compared.text).at(-1)!;
  assert.equal(
    [last.width, last.height, bufferOf(last.data).equals(bufferOf(grid.data))],
    [grid.width, grid.height, true],
  );
  const kept = await start(folder, [
    'txt2img',
    'red',
    '--model',
    constant,
    '--steps',
    '1',
    '--save-latents',
    '-o',
    'kept.png',
  ]).ended;
  assert.is(kept.code, 0, kept.stderr);
  const decoded = await onTerminal([
    'decode',
    'kept.latents.safetensors',
    '--model',
    constant,
    '-o',
    'decoded.png',
    ...shown,
  ]);
  assert.is(decoded.code, 0, decoded.text);
  const [picture, ...others] = kittyPictures(decoded.text);
  assert.equal([others.length, [...picture.data]], [0, [...readPng(readFileSync(join(folder, 'decoded.png'))).data]]);
});

(hasTerminal ? test : test.skip)('a Ctrl-C leaves no order half written', async () => {
  const args = ['sample', 'red', '--model', constant, '--steps', '5000', '--count', '50', '-o', 'never.png'];
  let typed = false;
  const { text, code } = await onTerminal([...args, '--preview', '--preview-as', 'kitty'], (seen, type) => {
    if (typed || !seen.includes('\x1b_G')) return;
    typed = true;
    type('\x03');
  });
  assert.is(code, 130, text.slice(-200));
  assert.ok(kittyPictures(text).length >= 1);
  assert.not.match(withoutOrders(text), '\x1b');
});

test('files and programs get none', async () => {
  const args = ['sample', 'red', '--model', constant, '--steps', '2', '--count', '1', '--preview', '-o', 'none.png'];
  const { code, stdout, stderr } = await start(folder, args).ended;
  assert.equal([code, stderr], [0, '']);
  assert.not.match(stdout, '\x1b');
  const wrong = await start(folder, [...args, '--preview-as', 'kity']).ended;
  assert.is(wrong.code, 2);
  assert.match(
    wrong.stderr,
    /^dpm-solver: Expected kitty, iterm, sixel or blocks for --preview-as but received 'kity'; did/,
  );
});

test.run();
