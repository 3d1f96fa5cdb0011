// How a condition comes in, evaluation by evaluation: whether the network is asked twice, and how the two answers are combined.
//
// Every variant is a weighted sum of x, of the conditional and of the unconditional output, so that all of them are entries of
// the row; where the weights depend on the answers, native reductions of each sample say what they are (native/step/guidance.h).
import {
  type Form,
  type ModelType,
  type Node,
  predictionRow,
  ROW,
  STATUS,
  type Status,
  SUM,
} from '../addon/coefficients.js';
import {
  finiteNumber,
  knownOptions,
  list,
  oneOf,
  optionalFunction,
  outOfRange,
  wholeNumber,
  wrongType,
} from '../base/check.js';
import type { Tensor } from '../base/tensor.js';

/** How two predictions become one: see {@link ClassifierFreeGuidance.variant}. */
export type GuidanceVariant = 'cfg' | 'cfg++' | 'cfg-zero' | 'apg';
/** @internal */
export const GUIDANCE_VARIANTS: readonly GuidanceVariant[] = ['cfg', 'cfg++', 'cfg-zero', 'apg'];

/** Guidance by two predictions (Ho & Salimans 2022, arXiv 2207.12598), u without and c with the condition. */
export interface ClassifierFreeGuidance {
  /** The model is called with the batch doubled, first half unconditional, second conditional. */
  type: 'classifier-free';
  /**
   * s of u + s (c - u); finite. With 1 the batch is not doubled, and all of it conditional. A function is asked once for
   * each evaluation, with its sigma / alpha, which is Infinity where alpha is 0.
   */
  scale: number | ((sigma: number) => number);
  /**
   * sigma / alpha between which the network is guided (Kynkäänniemi et al. 2024, arXiv 2404.07724), the lower one first,
   * both included; 0 and Infinity. Outside, the network is called with the batch as it is, conditional: half the price.
   */
  interval?: readonly [low: number, high: number];
  /**
   * `'cfg'` (default): u + s (c - u).
   *
   * `'cfg++'` (Chung et al. 2024, arXiv 2406.08070): the guided x0, but the noise of the unconditional prediction. Steps of
   * DPM-Solver++ multistep; scales from 0 to 1 as published, larger ones as ComfyUI takes them.
   *
   * `'cfg-zero'` (CFG-Zero*, Fan et al. 2025, arXiv 2503.18886): q u + s (c - q u) with q = (c, u) / ((u, u) + 1e-8) in each
   * sample, over the noise or the velocity.
   *
   * `'apg'` (adaptive projected guidance, Sadat et al. 2024, arXiv 2410.02416): with d = c - u over x0, no longer than
   * `norm`, what of it is parallel to c is multiplied by `eta`; then c + s d, as ComfyUI has it: s is one less than in
   * `'cfg'`, and 0 is no guidance.
   */
  variant?: GuidanceVariant;
  /** Of `'apg'`: how much of what is parallel to the conditional prediction stays; 0. With 1 all of it. */
  eta?: number;
  /** Of `'apg'`: the greatest length of a sample's d, 0 or more; 5. 0: any. */
  norm?: number;
  /** Of `'apg'`: d becomes d plus so much of what it was at the evaluation before, -1 to 1; 0. Not for adaptive runs. */
  momentum?: number;
  /** Of `'apg'`: what d is added to, the conditional prediction (default) or, as diffusers has it, the unconditional one. */
  base?: 'cond' | 'uncond';
  /**
   * Of `'cfg-zero'`: steps at the start through which nothing moves, and the network is not asked; on flow schedules only, and
   * 0 on others. 1 for runs of more than 10 steps, as published, and 0 for shorter ones.
   */
  zeroSteps?: number;
  /**
   * Lin et al. 2023 (arXiv 2305.08891): the share, 0 to 1, to which each sample of the guided output gets the standard
   * deviation of the conditional one; 0. Not with `'cfg++'`.
   */
  rescale?: number;
}

/**
 * How a condition comes in: not by the solver, by two predictions, or by the gradient of a classifier (Dhariwal & Nichol 2021,
 * arXiv 2105.05233).
 */
export type GuidanceOption<T extends Tensor = Tensor> =
  | {
      /** The network's prediction as it is. */
      type: 'uncond';
    }
  | ClassifierFreeGuidance
  | {
      /** The gradient is taken off the noise prediction: epsilon - s sigma g. */
      type: 'classifier';
      /** s; finite. */
      scale: number;
      /** Of log p(condition | x) in x; t is modelTime. Not needed for `start`, whose `advance` takes it. */
      gradient?: (x: T, t: number) => Tensor | Promise<Tensor>;
    };

const KEYS = {
  uncond: ['type'],
  'classifier-free': [
    ...(['type', 'scale', 'interval', 'variant', 'eta', 'norm', 'momentum', 'base', 'zeroSteps', 'rescale'] as const),
  ],
  classifier: ['type', 'scale', 'gradient'],
} as const;

/** Options of one variant alone. */
const OWN = { eta: 'apg', norm: 'apg', momentum: 'apg', base: 'apg', zeroSteps: 'cfg-zero' } as const;

/** @internal */
export function readGuidance(guidance: GuidanceOption): GuidanceOption {
  if (typeof guidance === 'number') {
    throw wrongType(`{ type: 'classifier-free', scale: ${guidance} }`, 'guidance', guidance);
  }
  const type = (guidance as { type?: unknown } | null)?.type;
  oneOf(type as string, 'guidance.type', ['uncond', 'classifier-free', 'classifier'] as const);
  knownOptions(guidance, KEYS[guidance.type], `guidance '${guidance.type}'`);
  if (guidance.type === 'uncond') return { type: 'uncond' };
  if (guidance.type === 'classifier') {
    finiteNumber(guidance.scale, 'guidance.scale');
    optionalFunction(guidance.gradient, 'guidance.gradient');
    return { ...guidance };
  }
  return { type: 'classifier-free', ...readClassifierFree(guidance, (key) => `guidance.${key}`) };
}

/**
 * All but the type, checked; what is absent stays absent.
 *
 * @param nameOf what an option is called where it is asked for
 * @internal
 */
export function readClassifierFree(
  given: Omit<ClassifierFreeGuidance, 'type'>,
  nameOf: (key: keyof ClassifierFreeGuidance) => string,
): Omit<ClassifierFreeGuidance, 'type'> {
  const { scale, variant, eta, norm, momentum, base, zeroSteps, rescale, interval } = given;
  if (typeof scale !== 'function') finiteNumber(scale, nameOf('scale'));
  if (variant !== undefined) oneOf(variant, nameOf('variant'), GUIDANCE_VARIANTS);
  for (const key of Object.keys(OWN) as (keyof typeof OWN)[]) {
    if (given[key] === undefined || OWN[key] === (variant ?? 'cfg')) continue;
    throw outOfRange(`no ${nameOf(key)} without variant '${OWN[key]}'`, nameOf(key), given[key]);
  }
  if (eta !== undefined) finiteNumber(eta, nameOf('eta'));
  if (norm !== undefined && !(finiteNumber(norm, nameOf('norm')) >= 0)) {
    throw outOfRange('a number of at least 0', nameOf('norm'), norm);
  }
  if (momentum !== undefined) within(momentum, nameOf('momentum'), -1, 1);
  if (base !== undefined) oneOf(base, nameOf('base'), ['cond', 'uncond'] as const);
  if (zeroSteps !== undefined) wholeNumber(zeroSteps, nameOf('zeroSteps'), 0);
  if (rescale !== undefined) within(rescale, nameOf('rescale'), 0, 1);
  if (rescale && variant === 'cfg++') throw outOfRange(`0 with variant 'cfg++'`, nameOf('rescale'), rescale);
  const read = interval === undefined ? {} : { interval: readInterval(interval, nameOf('interval')) };
  const { type: _, ...rest } = given as ClassifierFreeGuidance;
  return { ...rest, ...read };
}

function within(value: number, name: string, low: number, high: number): void {
  finiteNumber(value, name);
  if (value < low || value > high) throw outOfRange(`a number from ${low} to ${high}`, name, value);
}

/** @internal */
export function readInterval(interval: unknown, name: string): readonly [number, number] {
  const ends = Array.isArray(interval) && interval.length === 2 ? interval : [];
  const [low, high] = ends as readonly unknown[];
  if (typeof low !== 'number' || typeof high !== 'number' || !(low >= 0) || !(low <= high)) {
    throw outOfRange('two numbers of at least 0, the lower one first,', name, String(interval));
  }
  return [low, high];
}

/** The scale that leaves the conditional prediction as it is. */
function neutral({ variant, base = 'cond' }: ClassifierFreeGuidance): number | undefined {
  if (variant === 'cfg++') return undefined;
  return variant === 'apg' && base === 'cond' ? 0 : 1;
}

/** Is anything guided at all? @internal */
export function isGuided(guidance: GuidanceOption): boolean {
  if (guidance.type === 'uncond') return false;
  if (guidance.type === 'classifier') return guidance.scale !== 1;
  return mayDouble(guidance);
}

/** Is the network asked twice at any time? @internal */
export function mayDouble(guidance: GuidanceOption): boolean {
  return guidance.type === 'classifier-free' && guidance.scale !== neutral(guidance);
}

/** The scale at a node, or undefined where the network is asked once, with the condition. @internal */
export function scaleAt(guidance: GuidanceOption, { alpha, sigma }: Node): number | undefined {
  if (guidance.type !== 'classifier-free') return undefined;
  const noise = sigma / alpha;
  const { scale, interval } = guidance;
  if (interval && !(noise >= interval[0] && noise <= interval[1])) return undefined;
  const s = typeof scale === 'number' ? scale : finiteNumber(scale(noise), `guidance.scale(${noise})`);
  return s === neutral(guidance) ? undefined : s;
}

const KIND = { cfg: 0, 'cfg-zero': 1, apg: 2 } as const;

/** What weighs the two answers of each sample, where the answers themselves decide. */
export interface Guide {
  /**
   * As native/step/guidance.h has it: kind, s, eta, norm, rescale, whether d is added to u; then the prediction P = fx x +
   * fm m of the row, and the quantity Q = qx x + qm m that the variant looks at.
   */
  readonly parameters: Float64Array;
  /** Where d is kept: a row whose first sum is the new one, over m, u and the last d (g), and its index in the plan. */
  readonly keep?: { readonly row: Float64Array; readonly index: number };
}

/** Numbers of {@link Guide.parameters}. @internal */
export const GUIDE_LENGTH = 10;

/** Does a run keep the differences of its evaluations? @internal */
export function keepsDifference(guidance: GuidanceOption): boolean {
  return guidance.type === 'classifier-free' && guidance.variant === 'apg' && (guidance.momentum ?? 0) !== 0;
}

/** d = Q_c - Q_u + momentum times the last d. */
function differenceRow(qm: number, momentum: number): Float64Array {
  const row = new Float64Array(ROW.length);
  row[ROW.cm] = qm;
  row[ROW.cu] = -qm;
  row[ROW.cg] = momentum;
  row[ROW.ep] = 1;
  row[ROW.first + SUM.bp] = 1;
  return row;
}

/** @internal Fills the prediction of row `index` as the guidance has it at a node, without thresholding. */
export function predictGuided(
  rows: Float64Array,
  index: number,
  { modelType, form, node, guidance }: { modelType: ModelType; form: Form; node: Node; guidance: GuidanceOption },
): Status {
  if (guidance.type === 'uncond') return predictionRow(rows, index, modelType, form, node);
  if (guidance.type === 'classifier') {
    return predictionRow(rows, index, modelType, form, node, 'classifier', guidance.scale);
  }
  return predictionRow(rows, index, modelType, form, node, 'classifierFree', scaleAt(guidance, node) ?? 1);
}

/** @internal What weighs the answers at a node, or undefined where the row alone does. */
export function guideAt(
  guidance: GuidanceOption,
  { modelType, form, node, flow }: { modelType: ModelType; form: Form | 'output'; node: Node; flow: boolean },
): Guide | undefined {
  const s = scaleAt(guidance, node);
  if (s === undefined || guidance.type !== 'classifier-free') return undefined;
  const { variant = 'cfg', eta = 0, norm = 5, momentum = 0, base = 'cond', rescale = 0 } = guidance;
  if (variant === 'cfg++' || (variant === 'cfg' && rescale === 0)) return undefined;
  const [fx, fm] = form === 'output' ? [0, 1] : affine(modelType, form, node);
  const [qx, qm] = lookedAt(variant, modelType, node, flow);
  // Where alpha is 0 the noise is x itself, whatever x0 is: the answers do not differ.
  const kind = qm === 0 ? 'cfg' : variant;
  if (kind === 'cfg' && rescale === 0) return undefined;
  const parameters = Float64Array.of(
    ...[KIND[kind], s, eta, norm, rescale, base === 'uncond' ? 1 : 0],
    ...[fx, fm, ...(qm === 0 ? [0, 1] : [qx, qm])],
  );
  return { parameters, ...(momentum === 0 ? {} : { keep: { row: differenceRow(qm, momentum), index: -1 } }) };
}

/** What a variant takes inner products of: x0, or what the network gives, as noise or velocity where that is x0. */
function lookedAt(
  variant: GuidanceVariant,
  modelType: ModelType,
  node: Node,
  flow: boolean,
): readonly [qx: number, qm: number] {
  if (variant === 'apg') return affine(modelType, 'data', node);
  if (variant === 'cfg' || modelType !== 'x_start') return [0, 1];
  // The velocity but for its length.
  return flow ? [1, -1] : affine(modelType, 'noise', node);
}

/** What x and the network's output count in its prediction of a form. */
function affine(modelType: ModelType, form: Form, node: Node): [cx: number, cm: number] {
  const row = new Float64Array(ROW.length);
  const status = predictionRow(row, 0, modelType, form, node);
  if (status !== STATUS.ok) {
    const what = list([`modelType '${modelType}'`, 'this guidance'], 'and');
    throw outOfRange(`a time at which the ${form} can be told with ${what}`, 'sigma / alpha', node.sigma / node.alpha);
  }
  return [row[ROW.cx], row[ROW.cm]];
}

/**
 * @internal Lets row `index`, a step of x0 from `node`, go on with the unconditional noise: a x becomes a (x + alpha (D - D_u)),
 * and what the history keeps is D_u.
 */
export function keepUnconditional(rows: Float64Array, index: number, modelType: ModelType, node: Node): void {
  const at = index * ROW.length;
  const a = rows[at + ROW.first + SUM.a];
  rows[at + ROW.first + SUM.bp] += a * node.alpha;
  rows[at + ROW.first + SUM.b0] -= a * node.alpha;
  const [dx, dm] = affine(modelType, 'data', node);
  rows[at + ROW.ep] = 0;
  rows[at + ROW.ex] = dx;
  rows[at + ROW.eu] = dm;
}

/** @internal How the network is asked at a node, and what becomes of its answers in a row of a form. */
export function askedAt(
  {
    guidance,
    modelType,
    schedule,
  }: { readonly guidance: GuidanceOption; readonly modelType: ModelType; readonly schedule: { readonly kind: string } },
  form: Form | 'output',
  node: Node,
): { doubled: boolean; guide?: Guide } {
  const guide = guideAt(guidance, { modelType, form, node, flow: schedule.kind === 'flow' });
  return { doubled: scaleAt(guidance, node) !== undefined, ...(guide ? { guide } : {}) };
}
