// The official code's sampler once more: plain loops over numbers in double precision, from the papers' formulas (Lu et
// al. 2022, arXiv 2206.00927 and 2211.01095) and from what github.com/LuChengTHU/dpm-solver does with its options.
// Shares nothing with lib/.

export interface Schedule {
  /** T, and where sampling ends. */
  T: number;
  end: number;
  logAlpha(t: number): number;
  inverse(lambda: number): number;
  modelTime(t: number): number;
}

export interface Options {
  algorithm: 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++';
  modelType: 'noise' | 'x_start' | 'v' | 'score';
  guidance: 'uncond' | 'classifier-free' | 'classifier';
  scale: number;
  thresholding: { ratio: number; maxValue: number } | null;
  exact: boolean;
  steps: number;
  order: 1 | 2 | 3;
  method: 'multistep' | 'singlestep' | 'singlestep_fixed' | 'adaptive';
  skip: 'time_uniform' | 'logSNR' | 'time_quadratic';
  taylor: boolean;
  lowerOrderFinal: boolean;
  denoise: boolean;
  tStart: number;
  tEnd: number;
  atol: number;
  rtol: number;
}

export type Vector = number[];
/** Of x, of the time that the network is told, and of whether the condition is there. */
export type Network = (x: Vector, t: number, condition: boolean) => Vector;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const linspace = (a: number, b: number, n: number) => range(n + 1).map((i) => (i === n ? b : a + ((b - a) * i) / n));
const add = (...terms: [number, Vector][]): Vector =>
  terms[0][1].map((_, i) => terms.reduce((sum, [w, v]) => sum + w * v[i], 0));

/** Betas with the published clipping: those with lambda < -5.1 are left out, times and labels stretched over the rest. */
export function discrete(betas: ArrayLike<number>): Schedule {
  let sum = 0;
  const all = Array.from(betas, (beta) => {
    sum += Math.log1p(-beta) / 2;
    return sum;
  });
  const lambda = (logAlpha: number) => logAlpha - Math.log(-Math.expm1(2 * logAlpha)) / 2;
  const logs = all.filter((logAlpha) => lambda(logAlpha) >= -5.1);
  const n = logs.length;
  const piece = (x: number, xs: number[], ys: number[]): number => {
    const up = xs[1] > xs[0];
    let i = 0;
    while (i < n - 2 && (up ? xs[i + 1] <= x : xs[i + 1] >= x)) i++;
    return ys[i] + ((x - xs[i]) * (ys[i + 1] - ys[i])) / (xs[i + 1] - xs[i]);
  };
  const times = range(n).map((i) => (i + 1) / n);
  return {
    T: 1,
    end: 1 / n,
    logAlpha: (t) => piece(t, times, logs),
    inverse: (l) => piece(-Math.log1p(Math.exp(-2 * l)) / 2, logs, times),
    modelTime: (t) => (t - 1 / n) * 1000,
  };
}

export function linear(beta0: number, beta1: number): Schedule {
  return {
    T: 1,
    end: 1e-3,
    logAlpha: (t) => (-(t * t) * (beta1 - beta0)) / 4 - (t * beta0) / 2,
    // t^2 (b1 - b0) / 4 + t b0 / 2 = log(1 + e^-2l) / 2
    inverse: (l) => {
      const c = Math.log1p(Math.exp(-2 * l));
      return (2 * c) / (beta0 + Math.sqrt(beta0 * beta0 + 2 * (beta1 - beta0) * c));
    },
    modelTime: (t) => t,
  };
}

export function cosine(): Schedule {
  const at = (t: number) => Math.log(Math.cos(((t + 0.008) / 1.008) * (Math.PI / 2)));
  return {
    T: 0.9946,
    end: 1e-3,
    logAlpha: (t) => at(t) - at(0),
    inverse: (l) => {
      const logAlpha = -Math.log1p(Math.exp(-2 * l)) / 2;
      return (Math.acos(Math.exp(logAlpha + at(0))) * 2 * 1.008) / Math.PI - 0.008;
    },
    modelTime: (t) => t,
  };
}

export interface Outcome {
  sample: Vector;
  times: number[];
  states: Vector[];
}

export function sample(
  schedule: Schedule,
  o: Options,
  start: Vector,
  batch: number,
  network: Network,
  gradient: (x: Vector) => Vector,
  draw: () => Vector,
): Outcome {
  const times: number[] = [];
  const states: Vector[] = [];
  const alpha = (t: number) => Math.exp(schedule.logAlpha(t));
  const sigma = (t: number) => Math.sqrt(-Math.expm1(2 * schedule.logAlpha(t)));
  const lambda = (t: number) => Math.log(alpha(t) / sigma(t));
  const data = o.algorithm.endsWith('++');
  const sde = o.algorithm.startsWith('sde');

  /** The network's output as noise. */
  const noiseOf = (x: Vector, t: number, output: Vector): Vector => {
    const [a, s] = [alpha(t), sigma(t)];
    if (o.modelType === 'x_start') return add([1 / s, x], [-a / s, output]);
    if (o.modelType === 'v') return add([a, output], [s, x]);
    return o.modelType === 'score' ? add([-s, output]) : output;
  };
  const predict = (x: Vector, t: number): Vector => {
    const told = schedule.modelTime(t);
    times.push(told);
    let eps: Vector;
    if (o.guidance === 'classifier-free' && o.scale !== 1) {
      const u = noiseOf(x, t, network(x, told, false));
      const c = noiseOf(x, t, network(x, told, true));
      eps = add([1 - o.scale, u], [o.scale, c]);
    } else {
      eps = noiseOf(x, t, network(x, told, o.guidance === 'classifier-free'));
      if (o.guidance === 'classifier') eps = add([1, eps], [-o.scale * sigma(t), gradient(x)]);
    }
    if (!data) return eps;
    const x0 = add([1 / alpha(t), x], [-sigma(t) / alpha(t), eps]);
    if (!o.thresholding) return x0;
    const { ratio, maxValue } = o.thresholding;
    const n = x0.length / batch;
    return range(batch).flatMap((b) => {
      const one = x0.slice(b * n, (b + 1) * n);
      const sorted = one.map(Math.abs).sort((p, q) => p - q);
      const place = ratio * (n - 1);
      const low = Math.floor(place);
      const q = sorted[low] + (place - low) * ((sorted[low + 1] ?? 0) - sorted[low]);
      const s = Math.max(q, maxValue);
      return one.map((v) => Math.min(Math.max(v, -s), s) / s);
    });
  };

  /** From s to t: the prediction d0 and its first and second derivative in units of the step. */
  const update = (x: Vector, s: number, t: number, d0: Vector, d1?: Vector, d2?: Vector, half = false): Vector => {
    const h = lambda(t) - lambda(s);
    const k = data ? (sde ? 2 * h : h) : h;
    // The integrals of e^tau, of tau e^tau and of tau^2 e^tau / 2 over the step.
    const w1 = data ? -Math.expm1(-k) : Math.expm1(k);
    const w2 = data ? 1 - w1 / k : w1 / k - 1;
    const w3 = data ? 1 / 2 - w2 / k : w2 / k - 1 / 2;
    const gain = data ? alpha(t) : -sigma(t) * (sde ? 2 : 1);
    const base = data ? (sigma(t) / sigma(s)) * (sde ? Math.exp(-h) : 1) : alpha(t) / alpha(s);
    const terms: [number, Vector][] = [
      [base, x],
      [gain * w1, d0],
    ];
    if (d1) terms.push([gain * (half ? w1 / 2 : w2), d1]);
    if (d2) terms.push([gain * w3, d2]);
    if (sde) terms.push([sigma(t) * Math.sqrt(data ? -Math.expm1(-2 * h) : Math.expm1(2 * h)), draw()]);
    return add(...terms);
  };

  const grid = (from: number, to: number, n: number): number[] => {
    if (o.skip === 'logSNR') {
      const inner = linspace(lambda(from), lambda(to), n).map((l) => schedule.inverse(l));
      return inner.map((t, i) => (i === 0 ? from : i === n ? to : t));
    }
    return o.skip === 'time_uniform'
      ? linspace(from, to, n)
      : linspace(Math.sqrt(from), Math.sqrt(to), n).map((r) => r * r);
  };

  /** A step of order p from s to t with its stages at `inner`, and the one of order p - 1 that shares them. */
  const step = (x: Vector, s: number, t: number, p: number, inner: number[], lower?: (x: Vector) => void): Vector => {
    const h = lambda(t) - lambda(s);
    const d0 = predict(x, s);
    if (p === 1) return update(x, s, t, d0);
    if (p === 2) lower?.(update(x, s, t, d0));
    const r1 = (lambda(inner[0]) - lambda(s)) / h;
    const m1 = predict(update(x, s, inner[0], d0), inner[0]);
    const slope1 = add([1 / r1, m1], [-1 / r1, d0]);
    if (p === 2) return update(x, s, t, d0, slope1, undefined, !o.taylor);
    lower?.(update(x, s, t, d0, slope1, undefined, !o.taylor));
    const r2 = (lambda(inner[1]) - lambda(s)) / h;
    const m2 = predict(update(x, s, inner[1], d0, add([r2, slope1])), inner[1]);
    const slope2 = add([1 / r2, m2], [-1 / r2, d0]);
    if (!o.taylor) return update(x, s, t, d0, slope2);
    const first = add([r2 / (r2 - r1), slope1], [-r1 / (r2 - r1), slope2]);
    const second = add([2 / (r2 - r1), slope2], [-2 / (r2 - r1), slope1]);
    return update(x, s, t, d0, first, second);
  };

  let x = start;
  if (o.method === 'multistep') {
    const ts = grid(o.tStart, o.tEnd, o.steps);
    const ls = ts.map(lambda);
    const kept: Vector[] = [];
    range(o.steps).forEach((i) => {
      kept.unshift(predict(x, ts[i]));
      const p = Math.min(o.order, i + 1, o.lowerOrderFinal && o.steps < 10 ? o.steps - i : 3);
      const h = ls[i + 1] - ls[i];
      const r = (j: number) => (ls[i - j] - ls[i - j - 1]) / h;
      const slope = (j: number) => add([1 / r(j), kept[j]], [-1 / r(j), kept[j + 1]]);
      if (p === 1) x = update(x, ts[i], ts[i + 1], kept[0]);
      if (p === 2) x = update(x, ts[i], ts[i + 1], kept[0], slope(0), undefined, !o.taylor);
      if (p === 3) {
        const both = r(0) + r(1);
        const second = add([1 / both, slope(0)], [-1 / both, slope(1)]);
        const first = add([1, slope(0)], [r(0), second]);
        x = update(x, ts[i], ts[i + 1], kept[0], first, o.exact ? add([2, second]) : second);
      }
      states.push(x);
    });
  } else if (o.method === 'adaptive') {
    let s = o.tStart;
    let previous = x;
    let h = 0.05;
    const n = x.length / batch;
    while (Math.abs(s - o.tEnd) > 1e-5) {
      const at = (r: number) => schedule.inverse(lambda(s) + r * h);
      const t = at(1);
      let low = x;
      const keep = (state: Vector) => {
        low = state;
      };
      const high = step(x, s, t, o.order, o.order === 2 ? [at(1 / 2)] : [at(1 / 3), at(2 / 3)], keep);
      const errors = range(batch).map((b) => {
        const squares = range(n).map((i) => {
          const e = b * n + i;
          const delta = Math.max(o.atol, o.rtol * Math.max(Math.abs(low[e]), Math.abs(previous[e])));
          return ((high[e] - low[e]) / delta) ** 2;
        });
        return Math.sqrt(squares.reduce((p, q) => p + q) / n);
      });
      const error = Math.max(...errors);
      if (error <= 1) {
        x = high;
        previous = low;
        s = t;
        states.push(x);
      }
      h = Math.min(0.9 * h * error ** (-1 / o.order), lambda(o.tEnd) - lambda(s));
    }
  } else {
    const fixed = o.method === 'singlestep_fixed';
    let rest = o.steps;
    const orders: number[] = [];
    // 3, ..., 3, 2, 1 or 3, ..., 3, 1 or 3, ..., 3, 2; and what is left over, or left out.
    while (rest >= o.order && !(o.order === 3 && rest === 3 && !fixed)) {
      orders.push(o.order);
      rest -= o.order;
    }
    if (!fixed && rest === 3) orders.push(2, 1);
    else if (!fixed && rest > 0) orders.push(rest);
    const k = orders.length;
    let place = 0;
    const ends = [0, ...orders.map((p) => (place += p))];
    const whole = fixed || o.skip === 'logSNR' ? null : grid(o.tStart, o.tEnd, o.steps);
    const outer = whole ? ends.map((i) => whole[i]) : grid(o.tStart, o.tEnd, k);
    orders.forEach((p, i) => {
      x = step(x, outer[i], outer[i + 1], p, grid(outer[i], outer[i + 1], p).slice(1, -1));
      states.push(x);
    });
  }
  if (o.denoise) {
    const m = predict(x, o.tEnd);
    x = data ? m : add([1 / alpha(o.tEnd), x], [-sigma(o.tEnd) / alpha(o.tEnd), m]);
    states.push(x);
  }
  return { sample: x, times, states };
}
