// The runs that steps on a device are tried with: one for each shape of an update, and each kind of option. Made of what they
// are given, so that a page has them, too.
import type * as lib from '../../../lib/index.js';
import type { SampleOptions, SolverOptions, Tensor } from '../../../lib/index.js';

export interface Case {
  readonly what: string;
  readonly solver?: SolverOptions;
  readonly options: SampleOptions;
  /** 'discrete' where absent. */
  readonly schedule?: 'flow' | 'edm';
  readonly invert?: true;
  /** Why its steps are on the host. */
  readonly onHost?: string;
}

export const cfg = { type: 'classifier-free', scale: 3 } as const;
const half = (x: Tensor) => ({ ...x, data: Float32Array.from(x.data as Float32Array, (v) => v / 2) }) as Tensor;

/** The cases, by what makes schedules and tables. */
export const casesOf = (dpm: typeof lib): readonly Case[] => {
  const { betas, classicTable, NoiseSchedule } = dpm;
  const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
  return [
    { what: 'multistep, second order', options: { steps: 5 } },
    { what: 'multistep, third order', options: { steps: 6, order: 3, lowerOrderFinal: false } },
    { what: 'guidance', solver: { guidance: cfg }, options: { steps: 5, intermediates: true } },
    {
      what: 'guidance in an interval',
      solver: { guidance: { ...cfg, interval: [0.4, 4] } },
      options: { steps: 6, denoiseToZero: true },
    },
    {
      what: 'CFG++, whose history is not what the step uses',
      solver: { guidance: { ...cfg, scale: 0.6, variant: 'cfg++' } },
      options: { steps: 5 },
    },
    { what: 'singlestep', solver: { guidance: cfg }, options: { steps: 6, order: 3, method: 'singlestep' } },
    { what: 'noise prediction', solver: { algorithmType: 'dpmsolver', modelType: 'v' }, options: { steps: 5 } },
    { what: 'SDE', solver: { algorithmType: 'sde-dpmsolver++', guidance: cfg }, options: { steps: 5, seed: 3 } },
    {
      what: 'SDE with a seed a sample',
      solver: { algorithmType: 'sde-dpmsolver' },
      options: { steps: 5, seed: [3, 4], noise: 'philox' },
    },
    {
      what: 'SDE with noise that the step draws',
      solver: { algorithmType: 'sde-dpmsolver++', guidance: cfg },
      options: { steps: 6, seed: 9, noise: 'philox', order: 3, method: 'singlestep' },
    },
    { what: 'flow', schedule: 'flow', solver: { modelType: 'flow' }, options: { steps: 5 } },
    { what: 'UniC', options: { steps: 5, corrector: 'unic' } },
    { what: 'iPNDM', options: { steps: 7, method: 'ipndm', order: 4 } },
    {
      what: 'a first step without the network',
      schedule: 'edm',
      options: { steps: 5, afs: true, lowerOrderFinal: false },
    },
    { what: 'a table', options: { table: classicTable(schedule, { steps: 5 }) } },
    { what: 'a table with rows longer than a step', options: { table: longTable(dpm, schedule) } },
    { what: 'inversion', invert: true, options: { steps: 5 } },
    { what: 'correctXt', solver: { correctXt: half, guidance: cfg }, options: { steps: 4 } },
    { what: 'a known part', solver: { correctXt: putsKnown(dpm, schedule), guidance: cfg }, options: { steps: 4 } },
    { what: 'thresholding', solver: { thresholding: true }, options: { steps: 4 }, onHost: 'thresholding' },
    { what: 'correctX0', solver: { correctX0: half }, options: { steps: 4 }, onHost: 'correctX0' },
    {
      what: 'guidance rescale',
      solver: { guidance: { ...cfg, rescale: 0.7 } },
      options: { steps: 4 },
      onHost: 'guidance that looks at the answers',
    },
    {
      what: 'a classifier',
      solver: { guidance: { type: 'classifier', scale: 2, gradient: half } },
      options: { steps: 4 },
      onHost: "guidance 'classifier'",
    },
    { what: 'adaptive', options: { method: 'adaptive', maxNfe: 60 }, onHost: "method 'adaptive'" },
  ];
};

/** What a mask of a pipeline is to a run: the left half of the pictures follows numbers of its own. */
function putsKnown({ randn }: typeof lib, schedule: lib.NoiseSchedule) {
  const [x0, noise] = [11, 12].map((seed) => randn([2, 3, 8, 8], { seed }).data);
  const mask = Uint8Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? 0 : 1));
  const put = (x: Tensor, t: number) => {
    const data = (x.data as Float32Array).map((value, i) => {
      if (mask[i % 64] === 1) return value;
      return schedule.alpha(t) * x0![i]! + schedule.sigma(t) * noise![i]!;
    });
    return { ...x, data } as Tensor;
  };
  return Object.assign(put, { known: { x0, noise, mask } });
}

function longTable({ classicTable }: typeof lib, schedule: lib.NoiseSchedule) {
  const table = classicTable(schedule, { steps: 7, lowerOrderFinal: false });
  const rows = table.rows!.map((row, i) => [...row, ...Array<number>(i + 2 - row.length).fill(0.01)]);
  return { ...table, rows };
}
