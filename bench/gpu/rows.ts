// What the benchmark measures, a row a line of JSON: what each part of it is, and what the targets ask of them.

export interface Row {
  part: 'steps' | 'kernels';
  shape: string;
  variant: string;
  /** Which kernel served it. */
  kernel: string;
  /** Microseconds back to back, in a graph, from the call to its end, and of JavaScript's time until it is queued. */
  microseconds: number;
  graph?: number;
  call?: number;
  queued?: number;
  /** The fewest bytes that have to cross memory; what that makes in TB/s, and of the bandwidth of a copy in the same run. */
  bytes: number;
  terabytesPerSecond: number;
  copy: number;
  share: number;
}

/** The same step by PyTorch: microseconds on the card, and from the call to its end. */
export interface EagerRow {
  part: 'eager';
  shape: string;
  variant: string;
  way: 'eager' | 'compiled';
  device: number;
  call: number;
  torch: string;
}

/** A whole run of DPMSolver: milliseconds from call to result. */
export interface RunRow {
  part: 'runs';
  shape: string;
  steps: number;
  /** The network is one step kernel: one call after the other, and as one graph. */
  eager: number;
  graph: number;
  /** Microseconds of a step of the first. */
  step: number;
  /** A network on the host that returns its input, and how long of that the run stood still for copies. */
  host: number;
  hostCopies: number;
}

/** What the host takes, on a card that forgets what it is given: microseconds a step. */
export interface HostRow {
  part: 'host';
  variant: string;
  steps: number;
  /** Before the first step (its rows are computed there), and from then on. */
  start: number;
  step: number;
  /** Of `sample`, with all that it takes. */
  whole: number;
}

export type AnyRow = Row | EagerRow | RunRow | HostRow;

export interface Target {
  what: string;
  target: number;
  /** The worst of the rows that it speaks of, and which one that is. */
  worst: number | null;
  where: string | null;
  met: boolean | null;
}

const elements = (shape: string) => shape.split('x').reduce((product, size) => product * Number(size), 1);
const beyondCache = (r: Row) => r.bytes > 2 ** 27;
const latent = (r: Row) => /x4x(64x64|128x128)$/.test(r.shape);
const thresholds = (r: Row) => r.variant.endsWith('threshold');
const large = (r: Row) => /x3x\d+x\d+$/.test(r.shape) && elements(r.shape) >= 16 * 3 * 256 * 256;
const smallest = (r: Row) => r.shape === '1x4x64x64' && !thresholds(r);

function inRuns(all: readonly AnyRow[]): Target {
  const rows = all.filter((row): row is HostRow => row.part === 'host' && row.steps > 1);
  const worst = rows.sort((a, b) => b.step - a.step)[0];
  return {
    what: 'microseconds of the host for a step of a run',
    target: 2,
    worst: worst?.step ?? null,
    where: worst?.variant ?? null,
    met: worst ? worst.step <= 2 : null,
  };
}

/** Whether they were met, from whatever rows there are. */
export function targets(all: readonly AnyRow[]): Target[] {
  const steps = all.filter((row): row is Row => row.part === 'steps');
  const eager = all.filter((row): row is EagerRow => row.part === 'eager' && 'way' in row && row.way === 'eager');
  const theirs = ({ shape, variant }: Row) => eager.find((row) => row.shape === shape && row.variant === variant);
  const judge = (
    what: string,
    goal: number,
    sign: 1 | -1,
    value: (r: Row) => number | undefined,
    of: (r: Row) => boolean,
  ): Target => {
    const found = steps
      .filter(of)
      .map((row) => ({ row, value: value(row) }))
      .filter((each): each is { row: Row; value: number } => each.value !== undefined)
      .sort((a, b) => sign * (a.value - b.value));
    const worst = found[0];
    return {
      what,
      target: goal,
      worst: worst ? worst.value : null,
      where: worst ? `${worst.row.shape} ${worst.row.variant}` : null,
      met: worst ? sign * (worst.value - goal) >= 0 : null,
    };
  };
  const onDevice = (r: Row) => theirs(r) && theirs(r)!.device / r.microseconds;
  const toCompletion = (r: Row) => theirs(r) && r.call && theirs(r)!.call / r.call;
  return [
    judge(
      'share of copy bandwidth beyond the cache',
      0.85,
      1,
      (r) => r.share,
      (r) => beyondCache(r) && !thresholds(r),
    ),
    judge(
      'the same with thresholding, from 16x3x256x256 on',
      0.6,
      1,
      (r) => r.share,
      (r) => large(r) && thresholds(r),
    ),
    inRuns(all),
    judge('microseconds per launch, small latents', 4, -1, (r) => r.microseconds, smallest),
    judge('the same inside a graph', 2.5, -1, (r) => r.graph, smallest),
    judge('times as fast as eager PyTorch to completion, latents', 10, 1, toCompletion, latent),
    judge('times as fast on the card, beyond the cache', 4.5, 1, onDevice, (r) => beyondCache(r) && !thresholds(r)),
    judge('the same with thresholding', 8, 1, onDevice, (r) => beyondCache(r) && thresholds(r)),
  ];
}

/** A line for people. */
export function line(row: AnyRow): string {
  const us = (value: number) => `${value.toFixed(2)} us`;
  if ('way' in row)
    return `${row.shape.padEnd(14)}  ${row.variant.padEnd(18)}  ${row.way.padEnd(12)}  device ${us(row.device)}, call ${us(row.call)}`;
  if (row.part === 'host')
    return `host: ${row.variant}: ${us(row.step)} a step, ${us(row.start)} a step before the first, sample ${us(row.whole)}`;
  if (row.part === 'runs') {
    return `${row.shape.padEnd(14)}  ${row.steps} steps      eager ${row.eager.toFixed(2)} ms (${row.step.toFixed(1)} us a step), graph ${row.graph.toFixed(2)} ms, network on the host ${row.host.toFixed(2)} ms (copies ${row.hostCopies.toFixed(2)})`;
  }
  const columns = [
    row.shape.padEnd(14),
    row.variant.padEnd(24),
    row.kernel.padEnd(11),
    us(row.microseconds).padStart(11),
    row.bytes ? `${(100 * row.share).toFixed(0)}% of copy`.padStart(13) : ''.padStart(13),
    row.graph === undefined ? '' : `graph ${us(row.graph)}`,
    row.call === undefined ? '' : `call ${us(row.call)}`,
    row.queued === undefined ? '' : `queued ${us(row.queued)}`,
  ];
  return columns.join('  ').trimEnd();
}
