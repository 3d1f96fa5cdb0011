// Rows of coefficients, computed natively from nodes of the noise schedule (native/coefficients/rows.h says what they mean).
import { addon } from './native.js';

/** Where things stand in a row; mirrors native/step/row.h. */
export const ROW = {
  /** of x in the prediction P */
  cx: 0,
  /** of m, the (conditional) output */
  cm: 1,
  /** of u, the unconditional output */
  cu: 2,
  /** of g, the gradient of a classifier */
  cg: 3,
  /** one of the values of TRANSFORM */
  transform: 4,
  /** quantile: which one of |P|, 0 to 1 */
  ratio: 5,
  /** quantile: s is at least this, above 0; clamp: the bound */
  floor: 6,
  /** quantile: s is at most this, above 0; may be Infinity */
  cap: 7,
  /** of P in the history entry D0 */
  ep: 8,
  /** of x in D0 */
  ex: 9,
  /** of m in D0 */
  em: 10,
  /** of u in D0 */
  eu: 11,
  /** a, bp, b0, b1, b2, b3, n of the first output: add an offset of SUM */
  first: 12,
  /** the same of the second output */
  second: 20,
  /** numbers of one row */
  length: 32,
} as const;

/** Offsets inside `first` and `second`; mirrors native/step/row.h. */
export const SUM = {
  /** of base, the state that the step starts from */
  a: 0,
  /** of the prediction P */
  bp: 1,
  /** of the new history entry D0 */
  b0: 2,
  /** of D1, the latest earlier one */
  b1: 3,
  /** of D2 */
  b2: 4,
  /** of D3 */
  b3: 5,
  /** of the noise z */
  n: 6,
  /** numbers of one sum */
  length: 7,
} as const;

/** What a row does to the prediction P; mirrors native/step/row.h. */
export const TRANSFORM = {
  /** P as it is */
  none: 0,
  /** P <- clip(P, -floor, floor) */
  clamp: 1,
  /** P <- clip(P, -s, s) / s, s the quantile between floor and cap (Saharia et al. 2022, arXiv 2205.11487) */
  quantile: 2,
  /** P is read from the buffer `p` */
  given: 3,
} as const;

// These mirror native/coefficients/rows.h.
export const END = { regular: 0, clean: 1, noise: 2 } as const;
export const FORM = { data: 0, noise: 1 } as const;
export const MODEL_TYPE = { noise: 0, x_start: 1, v: 2, score: 3, flow: 4 } as const;
export const GUIDANCE = { none: 0, classifierFree: 1, classifier: 2 } as const;
export const METHOD = { multistep: 0, singlestep: 1 } as const;
/** What the functions that fill rows return; mirrors native/coefficients/rows.h. */
export const STATUS = {
  /** the row is filled */
  ok: 0,
  /** an argument is out of its range, or a node contradicts its `end` */
  invalid: 1,
  /** no value at alpha = 0 in this form */
  atNoise: 2,
  /** no value at sigma = 0 in this form */
  atClean: 3,
  /** tau > 0 in a step towards noise */
  sdeInversion: 4,
  /** a node is not where the method wants it */
  misplaced: 5,
  /** a coefficient is not a finite double */
  overflow: 6,
} as const;

/** What a solver works with: x0 (`'data'`, DPM-Solver++) or epsilon (`'noise'`, DPM-Solver). */
export type Form = keyof typeof FORM;
/** What a network predicts: epsilon, x0, v = alpha epsilon - sigma x0, the score -epsilon / sigma, or epsilon - x0. */
export type ModelType = keyof typeof MODEL_TYPE;
/** How a condition comes in: not at all, by an unconditional output u, or by the gradient g of a classifier. */
export type Guidance = keyof typeof GUIDANCE;
/** Steps that use earlier predictions, or stages of their own. */
export type Method = keyof typeof METHOD;
/** One of the values of STATUS. */
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** A time, seen through x = alpha x0 + sigma epsilon; lambda = log(alpha / sigma). */
export interface Node {
  /** 0 or more; 0 at a noise end. */
  readonly alpha: number;
  /** 0 or more; 0 at a clean end. */
  readonly sigma: number;
  /** Looked at for regular nodes only. */
  readonly lambda: number;
  /** One of the values of END; regular unless told. */
  readonly end?: 0 | 1 | 2;
}

/** One update of DPM-Solver or DPM-Solver++ from `base` to `target` (arXiv 2206.00927 and 2211.01095). */
export interface Update {
  /** Which of the two families. */
  readonly method: Method;
  /** What P and D1, D2 are: x0 or epsilon. */
  readonly form: Form;
  /** How many predictions it uses: P, and D1, D2 for orders above 1. */
  readonly order: 1 | 2 | 3;
  /** Weights of the Taylor expansion ('heun' in diffusers) instead of those of the papers' algorithms. */
  readonly taylor?: boolean;
  /** Multistep third order with the second derivative that makes it third order. */
  readonly exact?: boolean;
  /** tau^2: 0 (default) is the ODE, 1 the SDE. */
  readonly tau2?: number;
  /** Where the step goes. */
  readonly target: Node;
  /** The node of the state that the step starts from. */
  readonly base: Node;
  /** Where P, D1 and D2 were evaluated; `order` of them. Multistep: the first is `base`; singlestep: the last is. */
  readonly nodes: readonly Node[];
}

interface Native {
  predictionRow(
    rows: Float64Array,
    index: number,
    modelType: number,
    form: number,
    guidance: number,
    scale: number,
    node: Float64Array,
  ): Status;
  updateRow(
    rows: Float64Array,
    index: number,
    second: number,
    method: number,
    form: number,
    order: number,
    taylor: number,
    exact: number,
    tau2: number,
    nodes: Float64Array,
  ): Status;
  uniPCRow(
    rows: Float64Array,
    index: number,
    form: number,
    predictorOrder: number,
    correctorOrder: number,
    bh1: number,
    nodes: Float64Array,
  ): Status;
  saSolverRow(
    rows: Float64Array,
    index: number,
    form: number,
    predictorOrder: number,
    correctorOrder: number,
    tau2: number,
    lastTau2: number,
    nodes: Float64Array,
  ): Status;
  lmsRow(rows: Float64Array, index: number, order: number, sigmas: Float64Array): Status;
  ddimRow(
    rows: Float64Array,
    index: number,
    modelType: number,
    eta: number,
    rederive: number,
    nodes: Float64Array,
  ): Status;
  pndmRow(rows: Float64Array, index: number, v: number, nodes: Float64Array, weights: Float64Array): Status;
  edmPredictionRow(rows: Float64Array, index: number, v: number, sigmaData: number, node: Float64Array): Status;
  keepNoise(rows: Float64Array, index: number, node: Float64Array): Status;
  elementary(name: 'exp' | 'expm1' | 'log' | 'log1p', x: Float64Array, out: Float64Array): void;
  phi(k: number, z: number): number;
  weight(form: number, k: number, h: number, tau2: number): number;
}

// Asked for at each call: native.ts shows this module to others, and so may be loaded after it.
const native = (): Native => addon as unknown as Native;

// Rows are made in every step: the nodes travel in buffers that are made once.
const oneNode = new Float64Array(4);
const twoNodes = new Float64Array(2 * 4);
const fourWeights = new Float64Array(4);
const fiveNodes = new Float64Array(5 * 4);
const fiveSigmas = new Float64Array(5);

function put(to: Float64Array, i: number, node: Node): void {
  to[4 * i] = node.alpha;
  to[4 * i + 1] = node.sigma;
  to[4 * i + 2] = node.lambda;
  to[4 * i + 3] = node.end ?? END.regular;
}

/**
 * Fills cx, cm, cu, cg, transform, ep, ex, em, eu of row `index`: from the network's outputs at `node` to the
 * prediction P (x0 or epsilon, as `form` says), D0 = P.
 *
 * @param rows whole rows of ROW.length numbers
 * @param index of the row, from 0
 * @param node where the network was evaluated
 * @param scale of the guidance s: u + s (m - u), or epsilon - s sigma g; finite
 * @returns a STATUS; unless it is `ok`, the row is as it was
 * @throws TypeError for rows of another kind, RangeError for an index outside of them
 */
export function predictionRow(
  rows: Float64Array,
  index: number,
  modelType: ModelType,
  form: Form,
  node: Node,
  guidance: Guidance = 'none',
  scale = 1,
): Status {
  put(oneNode, 0, node);
  return native().predictionRow(rows, index, MODEL_TYPE[modelType], FORM[form], GUIDANCE[guidance], scale, oneNode);
}

/**
 * Fills a, bp, b0, b1, b2, b3, n of the `first` or `second` sum of row `index`: DPM-Solver and DPM-Solver++ of orders 1
 * to 3, multistep and singlestep, ODE and SDE (docs/mathematics.md has each with its source).
 *
 * @param rows whole rows of ROW.length numbers
 * @param index of the row, from 0
 * @returns a STATUS, `invalid` for fewer nodes than `order`; unless it is `ok`, the row is as it was
 * @throws TypeError for rows of another kind, RangeError for an index outside of them
 */
export function updateRow(
  rows: Float64Array,
  index: number,
  update: Update,
  sum: 'first' | 'second' = 'first',
): Status {
  if (update.nodes.length < update.order) return STATUS.invalid;
  put(fiveNodes, 0, update.target);
  put(fiveNodes, 1, update.base);
  // Those beyond the order are not looked at.
  for (let i = 0; i < 3; i++) put(fiveNodes, 2 + i, update.nodes[i] ?? update.base);
  return native().updateRow(
    rows,
    index,
    sum === 'second' ? 1 : 0,
    METHOD[update.method],
    FORM[update.form],
    update.order,
    update.taylor ? 1 : 0,
    update.exact ? 1 : 0,
    update.tau2 ?? 0,
    fiveNodes,
  );
}

/** A step of UniPC (native/coefficients/unipc.h). */
export interface UniPCUpdate {
  readonly form: Form;
  readonly predictorOrder: 1 | 2 | 3;
  /** 0: no corrector. */
  readonly correctorOrder: 0 | 1 | 2 | 3;
  readonly solverType: 'bh1' | 'bh2';
  readonly target: Node;
  /** Where P was evaluated. */
  readonly current: Node;
  /** Where D1, D2 and D3 were, as many as the orders read; the corrector's base stands at the first. */
  readonly history: readonly Node[];
}

/**
 * Fills both sums of row `index`: `first` is the network's next input, `second` the corrected state, from which the next
 * corrector starts. Returns a STATUS; unless it is `ok`, the row is as it was.
 */
export function uniPCRow(rows: Float64Array, index: number, update: UniPCUpdate): Status {
  put(fiveNodes, 0, update.target);
  put(fiveNodes, 1, update.current);
  for (let i = 0; i < 3; i++) put(fiveNodes, 2 + i, update.history[i] ?? update.current);
  const bh1 = update.solverType === 'bh1' ? 1 : 0;
  return native().uniPCRow(
    rows,
    index,
    FORM[update.form],
    update.predictorOrder,
    update.correctorOrder,
    bh1,
    fiveNodes,
  );
}

/** A step of SA-Solver (native/coefficients/adams.h). */
export interface SaSolverUpdate {
  readonly form: Form;
  readonly predictorOrder: 1 | 2 | 3 | 4;
  /** 0: no corrector. */
  readonly correctorOrder: 0 | 1 | 2 | 3 | 4;
  /** tau^2 of the step to the target. */
  readonly tau2: number;
  /** tau^2 of the step that led to `current`. */
  readonly lastTau2: number;
  readonly target: Node;
  /** Where P was evaluated. */
  readonly current: Node;
  /** Where D1, D2 and D3 were, as many as the orders read. */
  readonly history: readonly Node[];
}

/**
 * Fills both sums of row `index`: `first` is the network's next input, `second` what the next corrector starts from,
 * with the noise of this step in it. Returns a STATUS; unless it is `ok`, the row is as it was.
 */
export function saSolverRow(rows: Float64Array, index: number, update: SaSolverUpdate): Status {
  put(fiveNodes, 0, update.target);
  put(fiveNodes, 1, update.current);
  for (let i = 0; i < 3; i++) put(fiveNodes, 2 + i, update.history[i] ?? update.current);
  const { predictorOrder, correctorOrder, tau2, lastTau2 } = update;
  const form = FORM[update.form];
  return native().saSolverRow(rows, index, form, predictorOrder, correctorOrder, tau2, lastTau2, fiveNodes);
}

/**
 * Fills `first` of row `index` with a linear multistep step over sigma (LMS): x plus the integral of the polynomial
 * through P, D1, D2, D3, which are derivatives of x in sigma at `sigmas`. Returns a STATUS; unless it is `ok`, the row is
 * as it was.
 *
 * @param target the sigma where the step ends
 * @param sigmas those of P, D1, ..., one to four
 */
export function lmsRow(rows: Float64Array, index: number, target: number, sigmas: readonly number[]): Status {
  fiveSigmas.fill(0);
  fiveSigmas[0] = target;
  for (let i = 0; i < Math.min(sigmas.length, 4); i++) fiveSigmas[1 + i] = sigmas[i];
  return native().lmsRow(rows, index, Math.min(sigmas.length, 4), fiveSigmas);
}

/**
 * Fills row `index` with a step of DDIM from `current` to `target`: P is x0, D0 the noise. `rederive` takes the noise
 * from the (clipped) x0. Returns a STATUS; unless it is `ok`, the row is as it was.
 */
export function ddimRow(
  rows: Float64Array,
  index: number,
  modelType: ModelType,
  current: Node,
  target: Node,
  eta = 0,
  rederive = false,
): Status {
  put(twoNodes, 0, current);
  put(twoNodes, 1, target);
  return native().ddimRow(rows, index, MODEL_TYPE[modelType], eta, rederive ? 1 : 0, twoNodes);
}

/**
 * Fills row `index` with PNDM's transfer from one node to another: the noise is the weighted sum of P, D1, D2 and D3,
 * which are the network's outputs as they are, noise or v. Returns a STATUS; unless it is `ok`, the row is as it was.
 */
export function pndmRow(
  rows: Float64Array,
  index: number,
  modelType: 'noise' | 'v',
  from: Node,
  to: Node,
  weights: readonly number[],
): Status {
  put(twoNodes, 0, from);
  put(twoNodes, 1, to);
  for (let i = 0; i < 4; i++) fourWeights[i] = weights[i] ?? 0;
  return native().pndmRow(rows, index, modelType === 'v' ? 1 : 0, twoNodes, fourWeights);
}

/** Fills the prediction of row `index`, x0 of an EDM network at `node`, and D0 = P. Returns a STATUS. */
export function edmPredictionRow(
  rows: Float64Array,
  index: number,
  modelType: 'noise' | 'v',
  sigmaData: number,
  node: Node,
): Status {
  put(oneNode, 0, node);
  return native().edmPredictionRow(rows, index, modelType === 'v' ? 1 : 0, sigmaData, oneNode);
}

/**
 * Lets row `index`, whose P is x0 and whose sums are those of a noise form, keep and use the noise that belongs to P:
 * D0 = (x - alpha P) / sigma. Returns a STATUS.
 */
export function keepNoise(rows: Float64Array, index: number, node: Node): Status {
  put(oneNode, 0, node);
  return native().keepNoise(rows, index, oneNode);
}

/** @internal out[i] = f(x[i]) */
export function elementary(name: 'exp' | 'expm1' | 'log' | 'log1p', x: Float64Array, out: Float64Array): void {
  native().elementary(name, x, out);
}

/** @internal phi_k(z), k = 1 .. 4 */
export function phi(k: number, z: number): number {
  return native().phi(k, z);
}

/** @internal The weight of the k-th Taylor coefficient in a step of size h. */
export function weight(form: Form, k: number, h: number, tau2 = 0): number {
  return native().weight(FORM[form], k, h, tau2);
}
