// Is one solver better than another on samples that both have run on?

/** Whole numbers below `count` from a seed: xorshift32 (Marsaglia 2003), good enough to draw samples with. */
export function picker(seed: number): (count: number) => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x6d2b79f5) >>> 0 || 1;
  return (count) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

/**
 * The share of paired bootstraps (Efron & Tibshirani 1993, ch. 13: as many samples as there are, drawn with replacement,
 * the same for both) in which the mean of `ours` is below that of `theirs`.
 *
 * @param ours, theirs one number a sample, smaller is better
 */
export function winShare(
  ours: ArrayLike<number>,
  theirs: ArrayLike<number>,
  { draws = 2000, seed = 0 }: { draws?: number; seed?: number } = {},
): number {
  const n = ours.length;
  const differences = Float64Array.from({ length: n }, (_, i) => ours[i] - theirs[i]);
  const pick = picker(seed);
  let wins = 0;
  for (let d = 0; d < draws; d++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += differences[pick(n)];
    if (sum < 0) wins++;
  }
  return wins / draws;
}
