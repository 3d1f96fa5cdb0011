// The adaptive solver's error and the standard deviation against their formulas.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addon } from '../../lib/addon/native.js';
import { Random } from './support.js';

/** A sum whose error is that of its last digit (Neumaier). */
function exactSum(n: number, term: (i: number) => number): number {
  let [sum, lost] = [0, 0];
  for (let i = 0; i < n; i++) {
    const value = term(i);
    const next = sum + value;
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
  }
  return sum + lost;
}
function close(actual: number, expected: number, what: string): void {
  const error = Math.abs(actual - expected);
  assert.ok(error <= 1e-13 * Math.abs(expected), `${what}: ${actual}, expected ${expected}`);
}
const SIZES = [1, 2, 15, 16, 17, 1000, 65535, 65536, 65537, 200_001];

test('1.1 errorNorm is the formula, any number of threads gives the same bits', () => {
  const random = new Random(31);
  for (const wide of [false, true]) {
    for (const n of SIZES) {
      const low = random.array(wide, n);
      const high = low.map((v) => v + random.normal(1e-3)) as typeof low;
      const previous = random.array(wide, n);
      const [atol, rtol] = [0.0078, 0.05];
      const sum = exactSum(n, (i) => {
        const scale = Math.max(atol, rtol * Math.max(Math.abs(low[i]!), Math.abs(previous[i]!)));
        return ((high[i]! - low[i]!) / scale) ** 2;
      });
      let first: number | undefined;
      for (const threads of [1, 2, 3, 8]) {
        const out = new Float64Array(1);
        addon.errorNorm(low, high, previous, 1, atol, rtol, threads, out);
        first ??= out[0]!;
        assert.is(out[0], first, `n ${n}, ${threads} threads`);
      }
      close(first!, Math.sqrt(sum / n), `n ${n}`);
    }
  }
});

test('1.2 errorNorm by sample', () => {
  const random = new Random(32);
  const [batch, n] = [5, 1001];
  const [low, high, previous] = [0, 1, 2].map(() => random.array(false, batch * n)) as Float32Array[];
  const out = new Float64Array(batch);
  addon.errorNorm(low!, high!, previous!, batch, 0.1, 0.1, 2, out);
  for (let b = 0; b < batch; b++) {
    const one = new Float64Array(1);
    const part = (x: Float32Array | undefined) => x!.subarray(b * n, (b + 1) * n);
    addon.errorNorm(part(low), part(high), part(previous), 1, 0.1, 0.1, 1, one);
    assert.is(out[b], one[0], `sample ${b}`);
  }
});

test('1.3 errorNorm is NaN where a solution is', () => {
  const x = new Float32Array(100).fill(1);
  const out = new Float64Array(1);
  for (const name of ['low', 'high'] as const) {
    const bad = x.slice();
    bad[50] = Number.NaN;
    addon.errorNorm(name === 'low' ? bad : x, name === 'high' ? bad : x, x, 1, 0.1, 0.1, 1, out);
    assert.ok(Number.isNaN(out[0]), name);
  }
});

test('2.1 standardDeviation is the formula, also far from zero', () => {
  const random = new Random(33);
  for (const wide of [false, true]) {
    for (const n of SIZES.slice(1)) {
      for (const offset of [0, 1000]) {
        const x = random.array(wide, n).map((v) => v + offset) as Float64Array | Float32Array;
        const mean = exactSum(n, (i) => x[i]!) / n;
        const expected = Math.sqrt(exactSum(n, (i) => (x[i]! - mean) ** 2) / (n - 1));
        const out = new Float64Array(1);
        addon.standardDeviation(x as Float32Array, 1, out);
        close(out[0]!, expected, `n ${n}, offset ${offset}`);
      }
    }
  }
});

test('2.2 standardDeviation by sample', () => {
  const x = Float64Array.from([1, 2, 3, 10, 10, 10, -1, 0, 1]);
  const out = new Float64Array(3);
  addon.standardDeviation(x, 3, out);
  assert.equal([...out], [1, 0, 1]);
});

test('3.1 guidance is the formula, sample by sample', () => {
  const random = new Random(41);
  for (const wide of [false, true]) {
    for (const n of SIZES) {
      const batch = 2;
      const [x, kept, m] = [batch * n, batch * n, 2 * batch * n].map((length) => random.array(wide, length));
      const [s, eta, norm, fx, fm, qx, qm] = [3.5, 0.3, 0.8 * Math.sqrt(n), 1.25, -0.5, 0.75, -1.5];
      for (const kind of [1, 2, 3, 4]) {
        const [apg, keeps, onU] = [kind > 1, kind === 3, kind === 4];
        const rows = new Float64Array(32 * batch);
        const guide = Float64Array.of(apg ? 2 : 1, s, eta, norm, 0, onU ? 1 : 0, fx, fm, qx, qm);
        addon.guide(rows, 0, batch, guide, 1, x!, m!, keeps ? kept! : null);
        for (let b = 0; b < batch; b++) {
          const at = (i: number) => b * n + i;
          const c = (i: number) => qx * x![at(i)]! + qm * m![batch * n + at(i)]!;
          const u = (i: number) => qx * x![at(i)]! + qm * m![at(i)]!;
          const d = (i: number) => (keeps ? kept![at(i)]! : c(i) - u(i));
          const dot = (p: (i: number) => number, q: (i: number) => number) => exactSum(n, (i) => p(i) * q(i));
          const cut = Math.min(1, norm / Math.sqrt(dot(d, d)));
          const parallel = dot(d, c) / dot(c, c);
          const star = dot(u, c) / (dot(u, u) + 1e-8);
          const q = (i: number) =>
            apg
              ? (onU ? u(i) : c(i)) + s * cut * (d(i) - (1 - eta) * parallel * c(i))
              : star * u(i) + s * (c(i) - star * u(i));
          const [cx, cm, cu, cg] = rows.subarray(32 * b, 32 * b + 4);
          for (let i = 0; i < n; i += 1 + (n >> 4)) {
            const output = (q(i) - qx * x![at(i)]!) / qm;
            const expected = fx * x![at(i)]! + fm * output;
            const terms = [
              cx! * x![at(i)]!,
              cm! * m![batch * n + at(i)]!,
              cu! * m![at(i)]!,
              keeps ? cg! * kept![at(i)]! : 0,
            ];
            const size = terms.reduce((sum, term) => sum + Math.abs(term), 0);
            const found = terms.reduce((sum, term) => sum + term, 0);
            assert.ok(Math.abs(found - expected) <= 1e-12 * size, `kind ${kind}, n ${n}: ${found}, ${expected}`);
          }
        }
      }
    }
  }
});

test.run();
