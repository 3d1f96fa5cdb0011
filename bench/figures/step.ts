// How the step grows with elements and threads, what sorting would cost, and how long one call takes.
import { existsSync } from 'node:fs';
import type { GrowthResults } from '../step/growth.js';
import type { LatencyResults } from '../step/latency.js';
import { type Rendered, results, table } from './data.js';
import { type Panel, plot } from './plot.js';

const BYTES = 20;

export function render(): Rendered {
  const there = (name: string) => existsSync(new URL(`../results/${name}.json`, import.meta.url));
  // Timings are made where nothing else runs, and may not have been made yet.
  if (!there('step-growth') || !there('step-latency')) return { svgs: {}, tables: {} };
  const { rows } = results<GrowthResults>('step-growth');
  const latency = results<LatencyResults>('step-latency');
  const threads = [...new Set(rows.map((row) => row.threads))].sort((a, b) => a - b);
  const x: Panel['x'] = {
    label: 'elements',
    scale: 'log',
    ticks: [2 ** 14, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26],
    format: (value) => (value >= 2 ** 20 ? `${value / 2 ** 20} M` : `${value / 2 ** 10} K`),
  };
  const speed = (name: string, count: number) =>
    rows
      .filter((row) => row.threads === count)
      .map((row) => ({ x: row.elements, y: (BYTES * row.elements) / row.microseconds[name] / 1000 }));
  const limit = (count: number) =>
    rows
      .filter((row) => row.threads === count)
      .map(({ elements, microseconds: t }) => ({
        x: elements,
        y: (BYTES * elements) / Math.min(t.limit, t.limitNonTemporal) / 1000,
      }));
  const named = (count: number) => (count === 1 ? '1 thread' : `${count} threads`);
  const milliseconds = (name: string, count: number) =>
    rows
      .filter((row) => row.threads === count && row.microseconds[name] !== undefined)
      .map((row) => ({ x: row.elements, y: row.microseconds[name] / 1000 }));
  const time = (value: number | undefined) =>
    value === undefined ? '–' : value < 1000 ? `${value.toPrecision(3)} µs` : `${(value / 1000).toPrecision(3)} ms`;
  return {
    svgs: {
      'step-growth': plot({
        title: 'The step by number of elements',
        description:
          'Left: gigabytes a second of the plain step and of a loop that only reads and writes, by number of elements, for one and more threads. Right: milliseconds of the thresholded step, by selection and by sorting.',
        panels: [
          {
            title: 'plain, against memory',
            x,
            y: { label: 'GB/s', scale: 'log' },
            series: threads.flatMap((count, i) => [
              { name: `step, ${named(count)}`, points: speed('step', count), color: i },
              { name: `limit, ${named(count)}`, points: limit(count), color: i, dash: true, marker: 'none' as const },
            ]),
          },
          {
            title: 'with dynamic thresholding',
            x,
            y: { label: 'ms', scale: 'log' },
            series: [
              ...threads.map((count, i) => ({
                name: `by selection, ${named(count)}`,
                points: milliseconds('thresholded', count),
                color: 2 + i,
              })),
              { name: 'by sorting, 1 thread', points: milliseconds('sorted', 1), color: 6 },
            ],
          },
        ],
        width: 860,
        height: 250,
        note: 'float32, warm caches where the tensors fit, one sample; 20 bytes an element. The limit reads and writes the same memory with next to no arithmetic.',
      }),
    },
    tables: {
      'step-growth': table(
        [
          'elements',
          'threads',
          'step',
          'GB/s',
          'of the limit',
          'thresholded',
          'to plain',
          'by sorting',
          'to selection',
        ],
        rows.map((row) => [
          x.format!(row.elements),
          row.threads,
          time(row.microseconds.step),
          ((BYTES * row.elements) / row.microseconds.step / 1000).toFixed(1),
          `${Math.round(100 * row.ratios.ofLimit)}%`,
          time(row.microseconds.thresholded),
          row.ratios.threshold.toFixed(2),
          time(row.microseconds.sorted),
          row.ratios.sorted === undefined ? '–' : row.ratios.sorted.toFixed(0),
        ]),
      ),
      'step-latency': table(
        ['one call, 1x4x64x64', 'median', '75%', '99%', '99.9%', 'calls a second'],
        latency.rows.map((row) => [
          row.name,
          ...[row.p50, row.p75, row.p99, row.p999].map(time),
          `${row.hz.toLocaleString('en')} ± ${row.margin}%`,
        ]),
      ),
    },
  };
}
