// Cards as the launch planner sees them.

export interface Card {
  multiprocessors: number;
  /** That one block may have, and that the blocks of a multiprocessor have together. */
  sharedBytes: number;
  sharedMultiprocessor: number;
  cooperative: boolean;
  /** Clusters of 1, 2, ... 16 blocks that run at once, with one block on a multiprocessor and with two. */
  clusters: number[][];
}

const SIZES = Array.from({ length: 16 }, (_, k) => k + 1);

export const withoutClusters: number[][] = [SIZES.map(() => 0), SIZES.map(() => 0)];

/** Where nothing is known but how many multiprocessors share what a cluster may not cross. */
export function clusters(groups: number[]): number[][] {
  const fit = (each: number) =>
    SIZES.map((size) => groups.reduce((sum, group) => sum + Math.floor((group * each) / size), 0));
  return [fit(1), fit(2)];
}

// What cudaOccupancyMaxActiveClusters answered on an H200; an H100 (SXM) is the same die.
const HOPPER = [
  [132, 66, 39, 30, 22, 17, 15, 15, 9, 7, 7, 7, 7, 7, 7, 7],
  [264, 132, 79, 62, 47, 39, 32, 30, 23, 21, 16, 16, 14, 14, 14, 14],
];

export const H200: Card = {
  multiprocessors: 132,
  sharedBytes: 232448,
  sharedMultiprocessor: 233472,
  cooperative: true,
  clusters: HOPPER,
};
export const H100 = H200;
/** 148 multiprocessors: how they are grouped is a guess. */
export const B200: Card = { ...H200, multiprocessors: 148, clusters: clusters([18, 18, 18, 18, 18, 18, 20, 20]) };
export const A100: Card = {
  multiprocessors: 108,
  sharedBytes: 166912,
  sharedMultiprocessor: 167936,
  cooperative: true,
  clusters: withoutClusters,
};
export const RTX4090: Card = { ...A100, multiprocessors: 128, sharedBytes: 101376, sharedMultiprocessor: 102400 };
export const T4: Card = { ...A100, multiprocessors: 40, sharedBytes: 65536, sharedMultiprocessor: 65536 };
