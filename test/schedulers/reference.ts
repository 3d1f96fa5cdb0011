// What diffusers' schedulers compute, once more: plain loops over numbers in double precision, from the papers' formulas
// and from what diffusers' classes do with their keys. Shares nothing with lib/ but the quantiles of the beta
// distribution, which have a test of their own.
import { betaQuantile } from '../../lib/schedule/beta-distribution.js';

export interface Config {
  num_train_timesteps?: number;
  beta_start?: number;
  beta_end?: number;
  beta_schedule?: string;
  trained_betas?: number[];
  rescale_betas_zero_snr?: boolean;
  prediction_type?: string;
  thresholding?: boolean;
  dynamic_thresholding_ratio?: number;
  sample_max_value?: number;
  clip_sample?: boolean;
  clip_sample_range?: number;
  solver_order?: number;
  algorithm_type?: string;
  solver_type?: string;
  lower_order_final?: boolean;
  euler_at_final?: boolean;
  final_sigmas_type?: string;
  use_karras_sigmas?: boolean;
  use_exponential_sigmas?: boolean;
  use_beta_sigmas?: boolean;
  use_lu_lambdas?: boolean;
  use_flow_sigmas?: boolean;
  flow_shift?: number;
  use_dynamic_shifting?: boolean;
  shift_terminal?: number;
  timestep_spacing?: string;
  steps_offset?: number;
  lambda_min_clipped?: number;
  predict_x0?: boolean;
  disable_corrector?: number[];
  set_alpha_to_one?: boolean;
  skip_prk_steps?: boolean;
  sigma_min?: number;
  sigma_max?: number;
  sigma_data?: number;
  sigma_schedule?: string;
  rho?: number;
}

export interface Ask {
  steps?: number;
  timesteps?: number[];
  sigmas?: number[];
  mu?: number;
  begin?: number;
  eta?: number;
  useClippedModelOutput?: boolean;
}

/** Labels before they become integers, how they do, and sigmas with the end. */
export interface Grid {
  labels: number[];
  whole: 'round' | 'cut' | 'as they are';
  sigmas: number[];
}

export type Vector = number[];
export type Network = (x: Vector, t: number) => Vector;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
/** In numpy's order of operations: which way a label's half is rounded turns on it. */
const linspace = (a: number, b: number, n: number) =>
  range(n).map((i) => (i === n - 1 && n > 1 ? b : i * ((b - a) / Math.max(n - 1, 1)) + a));
/** As numpy rounds. */
const round = (x: number) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function trainingAlphas(c: Config): number[] {
  const n = c.num_train_timesteps ?? 1000;
  const b0 = c.beta_start ?? 0.0001;
  const b1 = c.beta_end ?? 0.02;
  const cosine = (t: number) => Math.cos(((t + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
  const betas =
    c.trained_betas ??
    (c.beta_schedule === 'scaled_linear'
      ? linspace(Math.sqrt(b0), Math.sqrt(b1), n).map((r) => r * r)
      : c.beta_schedule === 'squaredcos_cap_v2'
        ? range(n).map((i) => Math.min(1 - cosine((i + 1) / n) / cosine(i / n), 0.999))
        : linspace(b0, b1, n));
  // Near the data 1 - bar is what single precision leaves of it: diffusers' tables are float32.
  let product = 1;
  const bar = betas.map((beta) => {
    product *= Math.fround(1 - Math.fround(beta));
    return Math.fround(product);
  });
  if (!c.rescale_betas_zero_snr) return bar;
  const roots = bar.map(Math.sqrt);
  const [first, last] = [roots[0], roots[n - 1]];
  return roots.map((r, i) => (i === 0 ? bar[0] : Math.fround((((r - last) * first) / (first - last)) ** 2)));
}

/** Labels even in time, noise first, within the first `last` training steps, one step spared for the end. */
function spaced(c: Config, n: number, last: number, steps: number): number[] {
  const offset = c.steps_offset ?? 0;
  if (c.timestep_spacing === 'leading') {
    const ratio = Math.floor(last / (steps + 1));
    return range(steps).map((i) => (steps - i) * ratio + offset);
  }
  if (c.timestep_spacing === 'trailing') {
    // numpy.arange's order of operations.
    const delta = last - n / steps - last;
    return range(Math.ceil(last / (n / steps))).map((i) => round(last + i * delta) - 1);
  }
  return linspace(0, last - 1, steps + 1)
    .map(round)
    .reverse()
    .slice(0, -1);
}

export function grid(name: string, c: Config, ask: Ask): Grid {
  const steps = ask.steps ?? (ask.timesteps ?? ask.sigmas ?? []).length;
  if (name.startsWith('EDM')) {
    const [low, high, rho] = [c.sigma_min ?? 0.002, c.sigma_max ?? 80, c.rho ?? 7];
    const sigmas =
      ask.sigmas ??
      (c.sigma_schedule === 'exponential'
        ? linspace(Math.log(high), Math.log(low), steps).map(Math.exp)
        : linspace(high ** (1 / rho), low ** (1 / rho), steps).map((s) => s ** rho));
    const end = c.final_sigmas_type === 'sigma_min' ? low : 0;
    return { labels: sigmas.map((s) => Math.log(s) / 4), whole: 'as they are', sigmas: [...sigmas, end] };
  }
  const n = c.num_train_timesteps ?? 1000;
  const bar = trainingAlphas(c);
  if (c.rescale_betas_zero_snr) bar[n - 1] = 2 ** -24;
  const table = bar.map((a) => Math.sqrt(Math.fround(1 - a) / a));
  const inverse = name.includes('Inverse');
  const singlestep = name.includes('Singlestep');
  const uniPC = name.startsWith('UniPC');
  const zero = !inverse && !name.startsWith('DEIS') && c.final_sigmas_type !== 'sigma_min';

  let kept = n;
  const floor = uniPC || name.startsWith('DEIS') ? -Infinity : (c.lambda_min_clipped ?? -Infinity);
  while (-Math.log(table[kept - 1]) < floor) kept--;

  const interpolated = (t: number) => {
    const i = Math.min(Math.floor(t), n - 2);
    return table[i] + (table[i + 1] - table[i]) * (t - i);
  };
  const labelOf = (sigma: number) => {
    if (sigma <= table[0]) return 0;
    // With zero terminal SNR the last ones are not in order: the table ends below what comes before.
    let i = n - 1;
    while (table[i] > sigma * (1 + 1e-12)) i--;
    if (i === n - 1) return i;
    return i + Math.log(sigma / table[i]) / Math.log(table[i + 1] / table[i]);
  };

  if (c.use_flow_sigmas) {
    const shift = ask.mu !== undefined ? Math.exp(ask.mu) : (c.flow_shift ?? 1);
    // UniPC counts down from 1, the others end one training step below 1.
    let sigmas =
      ask.sigmas ??
      (uniPC ? linspace(1, 1 / n, steps + 1).slice(0, -1) : linspace(1 - 1 / n, 0, steps + 1).slice(0, -1));
    sigmas = sigmas.map((s) => (shift * s) / (1 + (shift - 1) * s));
    // One step begins at the noise, however the last is moved.
    if (c.shift_terminal !== undefined && steps > 1) {
      const scale = (1 - sigmas[steps - 1]) / (1 - c.shift_terminal);
      sigmas = sigmas.map((s) => 1 - (1 - s) / scale);
    }
    if (uniPC && Math.abs(sigmas[0] - 1) < 1e-6) sigmas[0] -= 1e-6;
    // FlowMatchEuler's way with other grids: between the ends of its own.
    const [high, low] = [sigmas[0], sigmas[steps - 1]];
    if (c.use_karras_sigmas) sigmas = linspace(high ** (1 / 7), low ** (1 / 7), steps).map((s) => s ** 7);
    if (c.use_exponential_sigmas) sigmas = linspace(Math.log(high), Math.log(low), steps).map(Math.exp);
    if (c.use_beta_sigmas) sigmas = linspace(1, 0, steps).map((p) => low + betaQuantile(p, 0.6, 0.6) * (high - low));
    const end = zero ? 0 : sigmas[steps - 1];
    return { labels: sigmas.map((s) => s * n), whole: 'cut', sigmas: [...sigmas, end] };
  }

  const kind = c.use_karras_sigmas
    ? 'karras'
    : c.use_lu_lambdas
      ? 'lu'
      : c.use_exponential_sigmas
        ? 'exponential'
        : c.use_beta_sigmas
          ? 'beta'
          : null;
  if (kind) {
    const high = c.sigma_max ?? table[n - 1];
    const low = c.sigma_min ?? table[0];
    let sigmas = {
      karras: () => linspace(high ** (1 / 7), low ** (1 / 7), steps).map((s) => s ** 7),
      lu: () => linspace(Math.log(table[n - 1]), Math.log(table[0]), steps).map(Math.exp),
      exponential: () => linspace(Math.log(high), Math.log(low), steps).map(Math.exp),
      beta: () => linspace(1, 0, steps).map((p) => low + betaQuantile(p, 0.6, 0.6) * (high - low)),
    }[kind]();
    // One step alone starts at the first end that the grid is built from.
    if (inverse) sigmas = steps === 1 ? [low] : sigmas.reverse();
    const labels = sigmas.map(labelOf);
    // The multistep class rounds the labels of Karras' grid unless betas are cosine ones.
    let whole: Grid['whole'] = kind === 'karras' || kind === 'lu' ? 'round' : 'cut';
    if (name === 'DPMSolverMultistepScheduler' && c.beta_schedule === 'squaredcos_cap_v2') whole = 'cut';
    const end = zero ? 0 : inverse || uniPC || name.startsWith('DEIS') ? sigmas[steps - 1] : table[0];
    return { labels, whole, sigmas: [...sigmas, end] };
  }

  if (inverse) {
    const steps1 = steps + 1;
    const offset = c.steps_offset ?? 0;
    const labels =
      c.timestep_spacing === 'leading'
        ? range(steps).map((i) => i * Math.floor(kept / steps1) + offset)
        : c.timestep_spacing === 'trailing'
          ? spaced(c, n, kept, steps).reverse()
          : linspace(0, kept - 1, steps1)
              .map(round)
              .slice(0, -1);
    return { labels, whole: 'as they are', sigmas: [...labels.map(interpolated), table[kept - 1]] };
  }
  const labels = ask.timesteps ?? (ask.sigmas ? ask.sigmas.map(labelOf) : spaced(singlestep ? {} : c, n, kept, steps));
  const sigmas = ask.sigmas ?? labels.map(interpolated);
  return { labels, whole: ask.sigmas ? 'round' : 'as they are', sigmas: [...sigmas, zero ? 0 : table[0]] };
}

interface Point {
  alpha: number;
  sigma: number;
  lambda: number;
}

const combine = (...terms: [number, Vector][]): Vector =>
  terms[0][1].map((_, i) => terms.reduce((s, [w, v]) => s + w * v[i], 0));

/** Of every sample: s = the quantile of |x0|, at least 1, at most sample_max_value; clipped to [-s, s] and divided by s. */
function thresholded(x0: Vector, c: Config, batch: number): Vector {
  const n = x0.length / batch;
  return range(batch).flatMap((b) => {
    const sample = x0.slice(b * n, (b + 1) * n);
    const sorted = sample.map(Math.abs).sort((p, q) => p - q);
    const place = (c.dynamic_thresholding_ratio ?? 0.995) * (n - 1);
    const low = Math.floor(place);
    const quantile = sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
    const s = Math.min(Math.max(quantile, 1), c.sample_max_value ?? 1);
    return sample.map((v) => Math.min(Math.max(v, -s), s) / s);
  });
}

/** The states after each step of the evaluations at `labels`, from noise or data `x`. */
export function trajectory(
  name: string,
  c: Config,
  ask: Ask,
  labels: readonly number[],
  sigmas: readonly number[],
  x: Vector,
  batch: number,
  network: Network,
  noise: (i: number) => Vector,
): Vector[] {
  if (name === 'DDIMScheduler') return ddim(c, ask, labels, x, batch, network, noise);
  if (name === 'PNDMScheduler') return pndm(c, labels, x, network);
  const edm = name.startsWith('EDM');
  const point = (i: number): Point => {
    const s = sigmas[i];
    const alpha = edm ? 1 : c.use_flow_sigmas ? 1 - s : 1 / Math.sqrt(1 + s * s);
    const sigma = edm || c.use_flow_sigmas ? s : s * alpha;
    return { alpha, sigma, lambda: Math.log(alpha) - Math.log(sigma) };
  };
  const seen = (state: Vector, i: number) =>
    edm ? combine([1 / Math.sqrt(sigmas[i] ** 2 + (c.sigma_data ?? 0.5) ** 2), state]) : state;

  const data = (state: Vector, i: number, m: Vector): Vector => {
    const { alpha, sigma } = point(i);
    if (edm) {
      const d = c.sigma_data ?? 0.5;
      const root = Math.sqrt(sigma ** 2 + d ** 2);
      const out = ((c.prediction_type === 'v_prediction' ? -1 : 1) * sigma * d) / root;
      return combine([d ** 2 / root ** 2, state], [out, m]);
    }
    switch (c.prediction_type) {
      case 'sample':
        return m;
      case 'v_prediction':
        return combine([alpha, state], [-sigma, m]);
      case 'flow_prediction':
        return combine([1, state], [-sigma, m]);
      default:
        return combine([1 / alpha, state], [-sigma / alpha, m]);
    }
  };
  const noiseForm = name.startsWith('UniPC')
    ? c.predict_x0 === false
    : name.startsWith('DEIS') || !(c.algorithm_type ?? 'dpmsolver++').endsWith('++');
  const predict = (state: Vector, i: number): Vector => {
    const m = network(seen(state, i), labels[i]);
    const { alpha, sigma } = point(i);
    const x0 = data(state, i, m);
    if (!noiseForm) return c.thresholding ? thresholded(x0, c, batch) : x0;
    const clipped = c.thresholding ? thresholded(x0, c, batch) : x0;
    if (!c.thresholding && !edm && (c.prediction_type ?? 'epsilon') === 'epsilon') return m;
    return combine([1 / sigma, state], [-alpha / sigma, clipped]);
  };

  if (name.startsWith('UniPC')) return uniPC(c, ask, labels, x, point, predict);
  const begin = ask.begin ?? 0;
  const states: Vector[] = [];
  const order = c.solver_order ?? 2;
  const steps = labels.length;
  const sde = (c.algorithm_type ?? '').startsWith('sde');
  const deis = name.startsWith('DEIS');
  const heun = c.solver_type === 'heun';

  /** From `from` to `to` with first, second and third differences; weights: the integrals of 1, tau / h, (tau / h)^2 / 2. */
  const update = (
    base: Vector,
    from: Point,
    to: Point,
    d0: Vector,
    d1: Vector | null,
    d2: Vector | null,
    half: boolean,
    z: Vector,
  ): Vector => {
    const h = to.lambda - from.lambda;
    if (h === 0) return base;
    const terms: [number, Vector][] = [];
    if (!noiseForm) {
      const k = (sde ? 2 : 1) * h;
      const w1 = 1 - Math.exp(-k);
      const w2 = 1 - w1 / k;
      const w3 = 0.5 - w2 / k;
      terms.push([(to.sigma / from.sigma) * (sde ? Math.exp(-h) : 1), base], [to.alpha * w1, d0]);
      if (d1) terms.push([to.alpha * (half ? w1 / 2 : w2), d1]);
      if (d2) terms.push([to.alpha * w3, d2]);
      if (sde) terms.push([to.sigma * Math.sqrt(1 - Math.exp(-2 * h)), z]);
    } else {
      const w1 = Math.expm1(h);
      const w2 = w1 / h - 1;
      const w3 = w2 / h - 0.5;
      const gain = -to.sigma * (sde ? 2 : 1);
      terms.push([to.alpha / from.alpha, base], [gain * w1, d0]);
      if (d1) terms.push([gain * (half ? w1 / 2 : w2), d1]);
      if (d2) terms.push([gain * w3, d2]);
      if (sde) terms.push([to.sigma * Math.sqrt(Math.expm1(2 * h)), z]);
    }
    return combine(...terms);
  };

  if (name.includes('Singlestep')) {
    const list = singlestepOrders(c, steps);
    let base = x;
    const outputs: Vector[] = [];
    for (let i = begin; i < steps; i++) {
      outputs.push(predict(x, i));
      const p = Math.min(list[i], outputs.length);
      if (p === 1) base = x;
      const from = point(i - p + 1);
      const to = point(i + 1);
      const h = to.lambda - from.lambda;
      const m = outputs.slice(-p);
      const r = (j: number) => (point(i - p + 1 + j).lambda - from.lambda) / h;
      let d1: Vector | null = null;
      let d2: Vector | null = null;
      if (p === 2) d1 = combine([1 / r(1), m[1]], [-1 / r(1), m[0]]);
      if (p === 3) {
        const a = combine([1 / r(1), m[1]], [-1 / r(1), m[0]]);
        const b = combine([1 / r(2), m[2]], [-1 / r(2), m[0]]);
        d1 = heun ? combine([r(2) / (r(2) - r(1)), a], [-r(1) / (r(2) - r(1)), b]) : b;
        d2 = heun ? combine([2 / (r(2) - r(1)), b], [-2 / (r(2) - r(1)), a]) : null;
      }
      x = update(base, from, to, m[0], d1, d2, p === 2 && !heun, noise(i));
      states.push(x);
    }
    return states;
  }

  const lowers = c.lower_order_final !== false && steps < 15;
  const euler =
    !deis && (c.euler_at_final === true || (c.final_sigmas_type !== 'sigma_min' && !name.includes('Inverse')));
  const outputs: Vector[] = [];
  for (let i = begin; i < steps; i++) {
    outputs.unshift(predict(x, i));
    const last = i === steps - 1 && (lowers || euler);
    const second = i === steps - 2 && lowers;
    const p = order === 1 || outputs.length === 1 || last ? 1 : order === 2 || outputs.length === 2 || second ? 2 : 3;
    const from = point(i);
    const to = point(i + 1);
    if (deis) {
      x = deisStep(
        x,
        from,
        to,
        range(p).map((j) => point(i - j)),
        outputs,
      );
    } else {
      const h = to.lambda - from.lambda;
      const slope = (j: number) => {
        const r = (point(i - j).lambda - point(i - j - 1).lambda) / h;
        return { r, d: combine([1 / r, outputs[j]], [-1 / r, outputs[j + 1]]) };
      };
      let d1: Vector | null = null;
      let d2: Vector | null = null;
      if (p === 2) d1 = slope(0).d;
      if (p === 3) {
        const [a, b] = [slope(0), slope(1)];
        d1 = combine([1 + a.r / (a.r + b.r), a.d], [-a.r / (a.r + b.r), b.d]);
        d2 = combine([1 / (a.r + b.r), a.d], [-1 / (a.r + b.r), b.d]);
      }
      x = update(x, from, to, outputs[0], d1, d2, p === 2 && !heun, noise(i));
    }
    states.push(x);
  }
  return states;
}

/** 1, 2, 3 within a step; the steps at the end as diffusers' get_order_list has them. */
export function singlestepOrders(c: Config, steps: number): number[] {
  const p = c.solver_order ?? 2;
  const stages = range(p).map((i) => i + 1);
  const full = (n: number) => range(n).flatMap(() => stages);
  const lowers = c.lower_order_final === true || c.final_sigmas_type !== 'sigma_min' || steps % p !== 0;
  if (p === 1) return range(steps).map(() => 1);
  if (!lowers) return full(steps / p);
  if (p === 2) return steps % 2 === 0 ? [...full(steps / 2 - 1), 1, 1] : [...full((steps - 1) / 2), 1];
  if (steps % 3 === 0) return [...full(steps / 3 - 1), 1, 2, 1];
  return steps % 3 === 1 ? [...full((steps - 1) / 3), 1] : [...full((steps - 2) / 3), 1, 2];
}

/** The integral of the polynomial through the noise at log rho, over rho, by Gauss-Legendre in log rho. */
function deisStep(x: Vector, from: Point, to: Point, at: Point[], eps: Vector[]): Vector {
  const y = (p: Point) => -p.lambda;
  const [a, b] = [y(from), y(to)];
  const weights = at.map((pj, j) => {
    // d rho = rho d(log rho); smooth, so that 64 panels of 4 points are exact to rounding.
    let sum = 0;
    const panels = 64;
    const [n1, n2] = [0.3399810435848563, 0.8611363115940526];
    const [w1, w2] = [0.6521451548625461, 0.3478548451374538];
    for (let k = 0; k < panels; k++) {
      const middle = a + ((b - a) * (k + 0.5)) / panels;
      const halfWidth = (b - a) / panels / 2;
      for (const [node, w] of [
        [-n2, w2],
        [-n1, w1],
        [n1, w1],
        [n2, w2],
      ]) {
        const u = middle + node * halfWidth;
        let value = Math.exp(u);
        at.forEach((pk, i) => {
          if (i !== j) value *= (u - y(pk)) / (y(pj) - y(pk));
        });
        sum += w * halfWidth * value;
      }
    }
    return sum;
  });
  return combine([to.alpha / from.alpha, x], ...weights.map((w, j): [number, Vector] => [to.alpha * w, eps[j]]));
}

/** Solves a square system by elimination with pivots. */
function solve(matrix: number[][], right: number[]): number[] {
  const n = right.length;
  const m = matrix.map((row, i) => [...row, right[i]]);
  for (let i = 0; i < n; i++) {
    const pivot = range(n - i)
      .map((k) => i + k)
      .reduce((best, k) => (Math.abs(m[k][i]) > Math.abs(m[best][i]) ? k : best), i);
    [m[i], m[pivot]] = [m[pivot], m[i]];
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const f = m[k][i] / m[i][i];
      for (let j = i; j <= n; j++) m[k][j] -= f * m[i][j];
    }
  }
  return m.map((row, i) => row[n] / row[i]);
}

/** Zhao et al. 2023, algorithms 5 to 8, as diffusers runs them. */
function uniPC(
  c: Config,
  ask: Ask,
  labels: readonly number[],
  start: Vector,
  point: (i: number) => Point,
  predict: (x: Vector, i: number) => Vector,
): Vector[] {
  const isData = c.predict_x0 !== false;
  const bh1 = c.solver_type === 'bh1';
  const most = c.solver_order ?? 2;
  const steps = labels.length;
  const outputs: Vector[] = [];
  const states: Vector[] = [];
  let x = start;
  let last: Vector | null = null;
  let lastOrder = 0;

  /** From i to i + 1, with differences to outputs[j] at the points given; newest: the prediction at i + 1 is one. */
  const step = (base: Vector, i: number, m0: Vector, others: { at: number; m: Vector }[], fixed: boolean): Vector => {
    const from = point(i);
    const to = point(i + 1);
    const h = to.lambda - from.lambda;
    if (h === 0) return base;
    const hh = isData ? -h : h;
    const gain = isData ? to.alpha : to.sigma;
    const terms: [number, Vector][] = [
      [isData ? to.sigma / from.sigma : to.alpha / from.alpha, base],
      [-gain * Math.expm1(hh), m0],
    ];
    if (others.length > 0) {
      const b = bh1 ? hh : Math.expm1(hh);
      const nodes = others.map(({ at }) => (point(at).lambda - from.lambda) / h);
      let phi = Math.expm1(hh) / hh - 1;
      let factorial = 1;
      const right: number[] = [];
      for (let k = 1; k <= nodes.length; k++) {
        right.push((phi * factorial) / b);
        factorial *= k + 1;
        phi = phi / hh - 1 / factorial;
      }
      const rho = fixed
        ? [0.5]
        : solve(
            range(nodes.length).map((k) => nodes.map((r) => r ** k)),
            right,
          );
      others.forEach(({ m }, j) => {
        terms.push([(-gain * b * rho[j]) / nodes[j], m], [(gain * b * rho[j]) / nodes[j], m0]);
      });
    }
    return combine(...terms);
  };

  for (let i = ask.begin ?? 0; i < steps; i++) {
    const m = predict(x, i);
    const earlier = (k: number) => ({ at: i - k, m: outputs[k - 1] });
    if (last && !(c.disable_corrector ?? []).includes(i - 1)) {
      const others = range(lastOrder - 1).map((k) => earlier(k + 2));
      x = step(last, i - 1, outputs[0], [...others, { at: i, m }], lastOrder === 1);
    }
    const p = Math.min(c.lower_order_final === false ? most : Math.min(most, steps - i), outputs.length + 1);
    last = x;
    lastOrder = p;
    x = step(
      x,
      i,
      m,
      range(p - 1).map((k) => earlier(k + 1)),
      p === 2,
    );
    outputs.unshift(m);
    states.push(x);
  }
  return states;
}

/** Song et al. 2021, eqs. 12 and 16. */
function ddim(
  c: Config,
  ask: Ask,
  labels: readonly number[],
  start: Vector,
  batch: number,
  network: Network,
  noise: (i: number) => Vector,
): Vector[] {
  const bar = trainingAlphas(c);
  const final = c.set_alpha_to_one === false ? bar[0] : 1;
  const eta = ask.eta ?? 0;
  let x = start;
  return labels.slice(ask.begin ?? 0).map((t, k, list) => {
    const a = bar[t];
    // To the next label (diffusers: to t - floor(n / steps), which it need not be).
    const b = k + 1 < list.length ? bar[list[k + 1]] : final;
    const m = network(x, t);
    const [ra, rb] = [Math.sqrt(a), Math.sqrt(1 - a)];
    let x0: Vector;
    let eps: Vector;
    if (c.prediction_type === 'sample') {
      x0 = m;
      eps = combine([1 / rb, x], [-ra / rb, m]);
    } else if (c.prediction_type === 'v_prediction') {
      x0 = combine([ra, x], [-rb, m]);
      eps = combine([ra, m], [rb, x]);
    } else {
      x0 = combine([1 / ra, x], [-rb / ra, m]);
      eps = m;
    }
    const limit = c.clip_sample_range ?? 1;
    if (c.thresholding) x0 = thresholded(x0, c, batch);
    else if (c.clip_sample !== false) x0 = x0.map((v) => Math.min(Math.max(v, -limit), limit));
    if (ask.useClippedModelOutput) eps = combine([1 / rb, x], [-ra / rb, x0]);
    const s = eta * Math.sqrt(((1 - b) / (1 - a)) * (1 - a / b));
    x = combine([Math.sqrt(b), x0], [Math.sqrt(Math.max(1 - b - s * s, 0)), eps], [s, noise(k + (ask.begin ?? 0))]);
    return x;
  });
}

/** Liu et al. 2022, eqs. 9, 12 and 13. */
function pndm(c: Config, labels: readonly number[], start: Vector, network: Network): Vector[] {
  const bar = trainingAlphas(c);
  const final = c.set_alpha_to_one === true ? 1 : bar[0];
  const transfer = (x: Vector, from: number, to: number, output: Vector): Vector => {
    const a = bar[from];
    const b = to >= 0 ? bar[to] : final;
    const eps = c.prediction_type === 'v_prediction' ? combine([Math.sqrt(a), output], [Math.sqrt(1 - a), x]) : output;
    const below = a * Math.sqrt(1 - b) + Math.sqrt(a * (1 - a) * b);
    return combine([Math.sqrt(b / a), x], [-(b - a) / below, eps]);
  };
  const ets: Vector[] = [];
  const multistep = (): Vector => {
    const [e1, e2, e3, e4] = ets;
    if (ets.length === 1) return e1;
    if (ets.length === 2) return combine([1.5, e1], [-0.5, e2]);
    if (ets.length === 3) return combine([23 / 12, e1], [-16 / 12, e2], [5 / 12, e3]);
    return combine([55 / 24, e1], [-59 / 24, e2], [37 / 24, e3], [-9 / 24, e4]);
  };
  let x = start;
  let base = start;
  let sum = start.map(() => 0);
  return labels.map((t, i) => {
    const m = network(x, t);
    if (c.skip_prk_steps !== true && i < 12) {
      // A Runge-Kutta step is evaluated at its start, twice in its middle, and at its end.
      const from = labels[i - (i % 4)];
      const to = labels[i - (i % 4) + [1, 1, 3, 3][i % 4]];
      if (i % 4 === 0) {
        base = x;
        sum = x.map(() => 0);
        ets.unshift(m);
      }
      sum = combine([1, sum], [[1 / 6, 1 / 3, 1 / 3, 1 / 6][i % 4], m]);
      x = transfer(base, from, to, i % 4 === 3 ? sum : m);
      return x;
    }
    if (c.skip_prk_steps === true && i === 1) {
      x = transfer(base, labels[0], t, combine([0.5, m], [0.5, ets[0]]));
      return x;
    }
    if (i === 0) base = x;
    ets.unshift(m);
    // To the next label that is another one.
    x = transfer(x, t, labels.find((label, k) => k > i && label < t) ?? -1, multistep());
    return x;
  });
}
