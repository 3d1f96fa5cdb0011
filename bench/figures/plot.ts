/**
 * SVG plots for the documentation: lines, points and trajectories on linear or logarithmic axes ({@link plot}) and
 * grouped bars ({@link bars}), with error bars. Each brings its own page colour and follows the reader's light or dark
 * scheme; the legend stands above the panels and never on them. Text and colours are in a style sheet, coordinates are
 * rounded to a tenth of a pixel, so that equal data give equal files.
 */

export interface Axis {
  /** What it shows, with the unit. */
  label: string;
  scale?: 'linear' | 'log';
  /** All that the data take up unless told. */
  domain?: readonly [number, number];
  ticks?: readonly number[];
  format?: (value: number) => string;
}

export interface Point {
  x: number;
  y: number;
  /** An interval in y, drawn as an error bar. */
  low?: number;
  high?: number;
}

export type Marker = 'circle' | 'square' | 'triangle' | 'diamond' | 'cross' | 'none';
/** A place in the palette, the text's colour, or that of what is secondary. */
export type Color = number | 'ink' | 'muted';

export interface Series {
  /** Its name in the legend; '': not in the legend. Series of several panels with one name share an entry. */
  name: string;
  points: readonly Point[];
  /** The series' place among those of its panel unless told. */
  color?: Color;
  /** A shape of its own for each colour unless told. */
  marker?: Marker;
  markerSize?: number;
  /** Join the points; true. A point that an axis cannot show (not finite, or not positive on a log axis) is a gap. */
  line?: boolean;
  dash?: boolean;
  width?: number;
  opacity?: number;
}

export interface Panel {
  title?: string;
  x: Axis;
  y: Axis;
  series: readonly Series[];
  /** Words at a place of the data. */
  labels?: readonly { x: number; y: number; text: string; anchor?: 'start' | 'middle' | 'end' }[];
  /** A thin line across the panel with words at its right end. */
  rules?: readonly { y: number; text: string }[];
  /** Units of x and y are equally long: the panel is made as high as that takes. */
  equal?: boolean;
}

export interface Plot {
  title: string;
  /** What the figure shows, for those who cannot see it. */
  description: string;
  panels: readonly Panel[];
  /** Panels beside one another; as many as there are, at most 2. */
  columns?: number;
  /** Of the whole picture; 760. */
  width?: number;
  /** Of each panel's data; 260. */
  height?: number;
  /** A line of small print below. */
  note?: string;
}

export interface Value {
  y: number;
  low?: number;
  high?: number;
}

export interface Bars {
  title: string;
  description: string;
  /** What the groups are. */
  label: string;
  y: Axis;
  groups: readonly string[];
  /** One value per group; null: none. */
  series: readonly { name: string; values: readonly (Value | null)[]; color?: Color }[];
  rules?: Panel['rules'];
  width?: number;
  height?: number;
  note?: string;
}

// ---- what it looks like ---------------------------------------------------------------------------------------------

const LIGHT = ['#0b62a8', '#c8501e', '#2b7f3f', '#8a3fa0', '#a07800', '#00808a', '#c22f6b', '#5a5f66'];
const DARK = ['#6cb6ff', '#ff9a66', '#6fcf85', '#d49bf0', '#e3c04f', '#4fd0d8', '#ff86b3', '#aab1ba'];
const MARKERS: Marker[] = ['circle', 'square', 'triangle', 'diamond', 'cross'];
const [FONT, SMALL] = [12, 11];

/** No custom properties: not every viewer of SVG knows them. */
function colors(scheme: {
  page: string;
  ink: string;
  muted: string;
  grid: string;
  palette: readonly string[];
}): string {
  const { page, ink, muted, grid, palette } = scheme;
  const named = [...palette.map((color, i) => [`c${i}`, color]), ['ink', ink], ['muted', muted]];
  return [
    `.page{fill:${page}}text{fill:${ink}}.halo{stroke:${page}}.m{fill:${muted}}.grid{stroke:${grid}}.axis{stroke:${muted}}`,
    ...named.map(([name, color]) => `.${name} .f{fill:${color}}.${name} .l,.${name} .e{stroke:${color}}`),
  ].join('');
}
const STYLE = [
  `text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:${FONT}px}`,
  `.s{font-size:${SMALL}px}.t{font-size:15px;font-weight:600}.p{font-weight:600}`,
  '.grid{stroke-width:1}.axis{stroke-width:1;fill:none}',
  '.l{fill:none;stroke-linejoin:round;stroke-linecap:round}.e{fill:none}',
  '.halo{paint-order:stroke;stroke-width:3px;stroke-linejoin:round}',
  colors({ page: '#ffffff', ink: '#1f2328', muted: '#656d76', grid: '#e4e8ec', palette: LIGHT }),
  '@media(prefers-color-scheme:dark){',
  colors({ page: '#0d1117', ink: '#e6edf3', muted: '#9198a1', grid: '#262c36', palette: DARK }),
  '}',
].join('');

const escapeText = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
export const px = (value: number) => String(Math.round(value * 10) / 10 + 0);
/** About how wide a text comes out. */
export const widthOf = (text: string, size = FONT) => 0.6 * size * [...text].length;
const classOf = (color: Color) => (typeof color === 'number' ? `c${color % LIGHT.length}` : color);

// ---- axes -----------------------------------------------------------------------------------------------------------

/** From data to a share of the axis. */
interface Drawn {
  at: (value: number) => number;
  shows: (value: number) => boolean;
  ticks: { at: number; text: string }[];
}

const SUPERSCRIPT: Record<string, string> = Object.fromEntries([...'-0123456789'].map((c, i) => [c, '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'[i]]));
const plain = (value: number) => String(Number(value.toPrecision(10)));
function logarithmic(value: number): string {
  const exponent = Math.floor(Math.log10(value) + 1e-9);
  if (exponent >= -2 && exponent <= 3) return plain(value);
  const lead = Math.round(value / 10 ** exponent);
  return `${lead === 1 ? '' : `${lead}·`}10${[...String(exponent)].map((c) => SUPERSCRIPT[c]).join('')}`;
}

function draw(axis: Axis, values: readonly number[]): Drawn {
  const log = axis.scale === 'log';
  const shows = (value: number) => Number.isFinite(value) && (!log || value > 0);
  const known = values.filter(shows);
  let [low, high] = axis.domain ?? extent(known, log);
  // A little room at both ends, unless the ends are given.
  if (!axis.domain) {
    const room = log ? (high / low) ** 0.04 : 0.04 * (high - low);
    [low, high] = log ? [low / room, high * room] : [low === 0 ? 0 : low - room, high + room];
  }
  const map = log ? Math.log : (value: number) => value;
  const [from, to] = [map(low), map(high)];
  const ticks = axis.ticks ?? (log ? logTicks(low, high) : linearTicks(low, high));
  const format = axis.format ?? (log ? logarithmic : plain);
  const inside = ticks.filter(
    (tick) => tick >= low * (low > 0 ? 1 - 1e-9 : 1 + 1e-9) - 1e-300 && tick <= high + 1e-9 * Math.abs(high),
  );
  const at = (value: number) => (map(value) - from) / (to - from);
  return { at, shows, ticks: inside.map((tick) => ({ at: at(tick), text: format(tick) })) };
}

function extent(values: readonly number[], log: boolean): [number, number] {
  if (values.length === 0) return log ? [1, 10] : [0, 1];
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  if (high > low) return [low, high];
  return log ? [low / 2, low * 2] : [low - 1, low + 1];
}

function linearTicks(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * (1 - 1e-9))!;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const parts = decades < 1 ? [1, 2, 3, 5] : decades < 2.5 ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil(decades / 7));
  const ticks: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    if (e % stride === 0) for (const part of parts) ticks.push(Number(`${part}e${e}`));
  }
  return ticks.filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
}

// ---- pieces ---------------------------------------------------------------------------------------------------------

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export function text(
  x: number,
  y: number,
  words: string,
  options: { anchor?: string; style?: string; turn?: boolean } = {},
) {
  const anchor = options.anchor && options.anchor !== 'start' ? ` text-anchor="${options.anchor}"` : '';
  const style = options.style ? ` class="${options.style}"` : '';
  const turn = options.turn ? ` transform="rotate(-90 ${px(x)} ${px(y)})"` : '';
  return `<text x="${px(x)}" y="${px(y)}"${anchor}${style}${turn}>${escapeText(words)}</text>`;
}

function shape(marker: Marker, x: number, y: number, r: number): string {
  const [l, t, d] = [px(x - r), px(y - r), px(2 * r)];
  switch (marker) {
    case 'circle':
      return `<circle cx="${px(x)}" cy="${px(y)}" r="${px(r)}"/>`;
    case 'square':
      return `<path d="M${l} ${t}h${d}v${d}h-${d}z"/>`;
    case 'triangle':
      return `<path d="M${px(x)} ${px(y - 1.2 * r)}l${px(1.15 * r)} ${px(2.1 * r)}h-${px(2.3 * r)}z"/>`;
    case 'diamond':
      return `<path d="M${px(x)} ${px(y - 1.3 * r)}l${px(1.3 * r)} ${px(1.3 * r)}l-${px(1.3 * r)} ${px(1.3 * r)}l-${px(1.3 * r)} -${px(1.3 * r)}z"/>`;
    case 'cross':
      return `<path class="l" stroke-width="2" d="M${l} ${t}l${d} ${d}m0 -${d}l-${d} ${d}"/>`;
    case 'none':
      return '';
  }
}

function errorBar(x: number, low: number, high: number): string {
  return `M${px(x)} ${px(low)}V${px(high)}M${px(x - 3)} ${px(low)}h6M${px(x - 3)} ${px(high)}h6`;
}

/** Title, legend and small print around panels; `body` is drawn below `top`, which it is told, and returns its height. */
export function page(
  about: { title: string; description: string; note?: string; width: number },
  legend: readonly { name: string; sample: (x: number, y: number) => string }[],
  body: (top: number) => { svg: string; height: number },
): string {
  const { title, description, note, width } = about;
  const head = [text(16, 26, title, { style: 't' })];
  let [x, y] = [16, 48];
  for (const { name, sample } of legend) {
    const needs = 30 + widthOf(name) + 14;
    if (x > 16 && x + needs > width - 8) [x, y] = [16, y + 19];
    head.push(sample(x, y - 4), text(x + 30, y, name));
    x += needs;
  }
  const top = legend.length > 0 ? y + 12 : 38;
  const drawn = body(top);
  let height = top + drawn.height + 8;
  const foot: string[] = [];
  for (const line of note ? wrap(note, (width - 32) / (0.53 * SMALL)) : []) {
    foot.push(text(16, height + 6, line, { style: 's m' }));
    height += 15;
  }
  height = Math.ceil(height + 4);
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escapeText(title)}</title>`,
    `<desc id="desc">${escapeText(description)}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${width}" height="${height}" rx="6"/>`,
    ...head,
    drawn.svg,
    ...foot,
    '</svg>',
  ].join('\n')}\n`;
}

function wrap(words: string, length: number): string[] {
  const lines = [''];
  for (const word of words.split(' ')) {
    const line = lines[lines.length - 1];
    if (line && line.length + 1 + word.length > length) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines;
}

/** The frame of a panel: grid, ticks, labels. */
function frame(
  box: Box,
  x: Drawn,
  y: Drawn,
  labels: { x: string; y: string; yOffset: number; gridX: boolean },
): string {
  const { left, top, width, height } = box;
  const [right, bottom] = [left + width, top + height];
  const out: string[] = [];
  const lines: string[] = [];
  for (const tick of y.ticks) {
    const at = bottom - tick.at * height;
    lines.push(`M${px(left)} ${px(at)}H${px(right)}`);
    out.push(text(left - 6, at + 4, tick.text, { anchor: 'end', style: 's m' }));
  }
  let free = -Infinity;
  for (const tick of x.ticks) {
    const at = left + tick.at * width;
    if (labels.gridX) lines.push(`M${px(at)} ${px(top)}V${px(bottom)}`);
    // Where ticks stand close, words that would touch are left out.
    const half = widthOf(tick.text, SMALL) / 2;
    if (at - half < free) continue;
    free = at + half + 3;
    out.push(text(at, bottom + 15, tick.text, { anchor: 'middle', style: 's m' }));
  }
  return [
    `<path class="grid" d="${lines.join('')}"/>`,
    `<path class="axis" d="M${px(left)} ${px(top)}V${px(bottom)}H${px(right)}"/>`,
    ...out,
    text(left + width / 2, bottom + 33, labels.x, { anchor: 'middle' }),
    text(left - labels.yOffset, top + height / 2, labels.y, { anchor: 'middle', turn: true }),
  ].join('');
}

function rulesOf(rules: Panel['rules'], box: Box, y: Drawn): string {
  return (rules ?? [])
    .map((rule) => {
      const at = box.top + box.height * (1 - y.at(rule.y));
      const line = `<path class="axis" stroke-dasharray="5 4" d="M${px(box.left)} ${px(at)}h${px(box.width)}"/>`;
      return line + text(box.left + box.width - 4, at - 4, rule.text, { anchor: 'end', style: 's m halo' });
    })
    .join('');
}

// ---- lines, points, trajectories ------------------------------------------------------------------------------------

const styled = (series: Series, index: number) => {
  const color = series.color ?? index;
  const marker = series.marker ?? (typeof color === 'number' ? MARKERS[color % MARKERS.length] : 'none');
  const { line = true, dash = false, width = 1.8, opacity = 1, markerSize = 3.2 } = series;
  return { color, marker, line, dash, width, opacity, markerSize };
};

export function plot(p: Plot): string {
  const { width = 760, height = 260, panels } = p;
  const columns = p.columns ?? Math.min(2, panels.length);
  const legend = new Map<string, (x: number, y: number) => string>();
  for (const panel of panels) {
    panel.series.forEach((series, i) => {
      if (series.name === '' || legend.has(series.name)) return;
      const s = styled(series, i);
      const dash = s.dash ? ' stroke-dasharray="6 4"' : '';
      const line = (x: number, y: number) =>
        s.line ? `<path class="l" stroke-width="${s.width}"${dash} d="M${px(x)} ${px(y)}h24"/>` : '';
      legend.set(
        series.name,
        (x, y) => `<g class="${classOf(s.color)}">${line(x, y)}<g class="f">${shape(s.marker, x + 12, y, 3.2)}</g></g>`,
      );
    });
  }
  const slug = p.title.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return page(
    { ...p, width },
    [...legend].map(([name, sample]) => ({ name, sample })),
    (start) => {
      const cell = width / columns;
      const svg: string[] = [];
      let top = start;
      for (let row = 0; row * columns < panels.length; row++) {
        const across = panels.slice(row * columns, (row + 1) * columns);
        let most = 0;
        across.forEach((panel, column) => {
          const series = panel.series.flatMap((s) => s.points);
          const x = draw(
            panel.x,
            series.map((point) => point.x),
          );
          const y = draw(panel.y, [
            ...series.flatMap((point) => [point.y, point.low ?? point.y, point.high ?? point.y]),
            ...(panel.rules ?? []).map((rule) => rule.y),
          ]);
          const offset = 20 + Math.max(...y.ticks.map((tick) => widthOf(tick.text, SMALL)), 8);
          const left = column * cell + offset + 16;
          const inner = { left, top: top + (panel.title ? 26 : 8), width: (column + 1) * cell - 16 - left, height };
          if (panel.equal) inner.height = (inner.width * span(panel.y)) / span(panel.x);
          if (panel.title) svg.push(text(inner.left, top + 16, panel.title, { style: 'p' }));
          svg.push(frame(inner, x, y, { x: panel.x.label, y: panel.y.label, yOffset: offset, gridX: true }));
          svg.push(rulesOf(panel.rules, inner, y));
          const clip = `${slug}${row * columns + column}`;
          const { left: l, top: t, width: w, height: h } = inner;
          svg.push(
            `<clipPath id="${clip}"><rect x="${px(l - 5)}" y="${px(t - 5)}" width="${px(w + 10)}" height="${px(h + 10)}"/></clipPath>`,
            `<g clip-path="url(#${clip})">`,
            ...panel.series.map((one, i) => drawSeries(one, i, inner, x, y)),
            '</g>',
          );
          for (const label of panel.labels ?? []) {
            const { anchor } = label;
            const [lx, ly] = [l + x.at(label.x) * w, t + (1 - y.at(label.y)) * h];
            svg.push(text(lx, ly, label.text, { anchor, style: 's halo' }));
          }
          most = Math.max(most, inner.top + inner.height + 42 - top);
        });
        top += most + 4;
      }
      return { svg: svg.join('\n'), height: top - start };
    },
  );
}

function span(axis: Axis): number {
  if (!axis.domain)
    throw new TypeError(`Expected a domain for an axis of equal units but received none for ${axis.label}`);
  return axis.domain[1] - axis.domain[0];
}

function drawSeries(series: Series, index: number, box: Box, x: Drawn, y: Drawn): string {
  const s = styled(series, index);
  const place = (point: Point) => ({
    px: box.left + x.at(point.x) * box.width,
    py: box.top + (1 - y.at(point.y)) * box.height,
  });
  const line: string[] = [];
  const marks: string[] = [];
  const errors: string[] = [];
  let pen = 'M';
  for (const point of series.points) {
    if (!x.shows(point.x) || !y.shows(point.y)) {
      pen = 'M';
      continue;
    }
    const at = place(point);
    line.push(`${pen}${px(at.px)} ${px(at.py)}`);
    pen = 'L';
    marks.push(shape(s.marker, at.px, at.py, s.markerSize));
    if (point.low !== undefined && point.high !== undefined) {
      const ends = [point.low, point.high].map((v) => box.top + (1 - (y.shows(v) ? y.at(v) : 0)) * box.height);
      errors.push(errorBar(at.px, ends[0], ends[1]));
    }
  }
  const dash = s.dash ? ' stroke-dasharray="6 4"' : '';
  const opacity = s.opacity < 1 ? ` opacity="${s.opacity}"` : '';
  return [
    `<g class="${classOf(s.color)}"${opacity}>`,
    s.line ? `<path class="l" stroke-width="${s.width}"${dash} d="${line.join('')}"/>` : '',
    errors.length > 0 ? `<path class="e" d="${errors.join('')}"/>` : '',
    s.marker === 'none' ? '' : `<g class="f">${marks.join('')}</g>`,
    '</g>',
  ].join('');
}

// ---- bars -----------------------------------------------------------------------------------------------------------

export function bars(b: Bars): string {
  const { width = 760, height = 260, groups, series } = b;
  const legend = series
    .map((one, i) => ({ name: one.name, color: one.color ?? i }))
    .filter((one) => one.name !== '')
    .map(({ name, color }) => ({
      name,
      sample: (x: number, y: number) =>
        `<g class="${classOf(color)}"><path class="f" d="M${px(x + 8)} ${px(y - 5)}h14v10h-14z"/></g>`,
    }));
  return page({ ...b, width }, legend, (start) => {
    const values = series.flatMap((one) => one.values.filter((value) => value !== null));
    const log = b.y.scale === 'log';
    const y = draw(b.y, [
      // Bars stand on zero, where there is one.
      ...(log ? [] : [0]),
      ...values.flatMap((value) => [value.y, value.low ?? value.y, value.high ?? value.y]),
      ...(b.rules ?? []).map((rule) => rule.y),
    ]);
    const offset = 20 + Math.max(...y.ticks.map((tick) => widthOf(tick.text, SMALL)), 8);
    const left = offset + 16;
    const box = { left, top: start + 8, width: width - 16 - left, height };
    const slot = box.width / groups.length;
    const x: Drawn = {
      at: (value) => value,
      shows: () => true,
      ticks: groups.map((group, i) => ({ at: (i + 0.5) / groups.length, text: group })),
    };
    const svg = [frame(box, x, y, { x: b.label, y: b.y.label, yOffset: offset, gridX: false })];
    const thick = Math.min(40, (0.8 * slot) / series.length);
    const floor = box.top + box.height * (1 - (log ? 0 : y.at(0)));
    series.forEach((one, k) => {
      const rects: string[] = [];
      const errors: string[] = [];
      one.values.forEach((value, i) => {
        if (!value || !y.shows(value.y)) return;
        const at = box.left + (i + 0.5) * slot + (k - series.length / 2) * thick;
        const to = box.top + box.height * (1 - y.at(value.y));
        rects.push(`M${px(at + 0.5)} ${px(floor)}h${px(thick - 1)}V${px(to)}h-${px(thick - 1)}z`);
        if (value.low !== undefined && value.high !== undefined) {
          const ends = [value.low, value.high].map((v) => box.top + box.height * (1 - (y.shows(v) ? y.at(v) : 0)));
          errors.push(errorBar(at + thick / 2, ends[0], ends[1]));
        }
      });
      svg.push(`<g class="${classOf(one.color ?? k)}"><path class="f" d="${rects.join('')}"/></g>`);
      if (errors.length > 0) svg.push(`<g class="ink"><path class="e" d="${errors.join('')}"/></g>`);
    });
    svg.push(rulesOf(b.rules, box, y));
    return { svg: svg.join('\n'), height: height + 8 + 42 };
  });
}
