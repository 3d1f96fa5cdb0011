// From the steps of a table to its evaluations: what stands between two of them is folded into the row before, in double
// precision, so that no step and no history entry is left that the network has no part in.

/** A sum over the state that the network saw last and over its outputs, by the number of the evaluation. */
interface Sum {
  /** NaN where it cannot be told. */
  state: number;
  readonly outputs: Map<number, number>;
}

/** One step of a table. */
export interface TableStep {
  /** [a, c_i, c_i-1, ...] */
  readonly row: readonly number[];
  /** How m_i comes about without the network. */
  readonly derive?: readonly number[];
}

/** An evaluation and the way to the next one, or to the end. */
export interface FoldedStep {
  /** Which of the table's steps has the evaluation. */
  readonly step: number;
  /** [a, c_k, c_k-1, ...] over this evaluation's output and those of the ones before. */
  readonly row: readonly number[];
}

export interface Folded {
  /** What the start is multiplied by before the first evaluation; 1 where that is the first step's. */
  readonly scale: number;
  readonly steps: readonly FoldedStep[];
}

/**
 * Folds the steps without an evaluation. An entry that was derived from a state lives on in that of later states: of
 * x_i+1 = a x_i + ..., x_i is (x_i+1 - ...) / a. Where nothing is derived every row comes out as it went in, bit for bit.
 *
 * @throws RangeError where a derived entry is read after a step that forgets its state, as a is 0
 */
export function foldSteps(steps: readonly TableStep[]): Folded {
  const folded: FoldedStep[] = [];
  /** m_0, m_1, ... of the table. */
  const entries: Sum[] = [];
  /** x_i, over the state that the network saw last. */
  let current: Sum = { state: 1, outputs: new Map() };
  let scale = 1;
  let evaluated: number | undefined;
  /** Completes the row of the latest evaluation; from now on sums are over the state that it leads to. */
  const close = (): void => {
    const { state, outputs } = current;
    if (evaluated === undefined) scale = state;
    else folded.push({ step: evaluated, row: rowOf(current, folded.length) });
    for (const entry of entries) {
      if (entry.state === 0) continue;
      const share = state === 0 ? Number.NaN : entry.state / state;
      for (const [k, weight] of outputs) add(entry, k, -share * weight);
      entry.state = share;
    }
    current = { state: 1, outputs: new Map() };
  };
  steps.forEach(({ row, derive }, i) => {
    if (derive) {
      const entry: Sum = { state: 0, outputs: new Map() };
      addMultiple(entry, current, derive[0]);
      for (let k = 1; k < derive.length; k++) addMultiple(entry, entries[i - k], derive[k]);
      entries.push(entry);
    } else {
      if (evaluated !== undefined || i > 0) close();
      evaluated = i;
      entries.push({ state: 0, outputs: new Map([[folded.length, 1]]) });
    }
    const next: Sum = { state: 0, outputs: new Map() };
    addMultiple(next, current, row[0]);
    for (let k = 1; k < row.length; k++) addMultiple(next, entries[i + 1 - k], row[k]);
    current = next;
  });
  close();
  return { scale, steps: folded };
}

function add(sum: Sum, k: number, weight: number): void {
  sum.outputs.set(k, (sum.outputs.get(k) ?? 0) + weight);
}

function addMultiple(sum: Sum, other: Sum, factor: number): void {
  if (factor === 0) return;
  if (Number.isNaN(other.state)) {
    throw new RangeError(
      'Expected no use of a derived entry in table.rows after a row that starts with 0, which forgets its state, but received one',
    );
  }
  sum.state += factor * other.state;
  for (const [k, weight] of other.outputs) add(sum, k, factor * weight);
}

/** [a, c_k, c_k-1, ...] down to the earliest output that counts. */
function rowOf({ state, outputs }: Sum, k: number): number[] {
  const earliest = Math.min(k, ...Array.from(outputs, ([j, weight]) => (weight === 0 ? k : j)));
  return [state, ...Array.from({ length: k - earliest + 1 }, (_, j) => outputs.get(k - j) ?? 0)];
}
