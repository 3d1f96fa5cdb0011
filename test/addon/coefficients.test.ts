import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  END,
  elementary,
  FORM,
  type Form,
  GUIDANCE,
  METHOD,
  type Method,
  MODEL_TYPE,
  type ModelType,
  type Node,
  phi,
  predictionRow,
  ROW,
  STATUS,
  SUM,
  TRANSFORM,
  type Update,
  updateRow,
  weight,
} from '../../lib/addon/coefficients.js';
import { addon } from '../../lib/addon/native.js';

type Triple = [alpha: number, sigma: number, lambda: number];
type ElementaryName = 'exp' | 'expm1' | 'log' | 'log1p';
const table = JSON.parse(readFileSync(new URL('../fixtures/coefficients.json', import.meta.url), 'utf8')) as {
  elementary: Record<ElementaryName, [x: number, y: number, rest: number][]>;
  phi: [z: number, ...phi: number[]][];
  predictions: [alpha: number, sigma: number, modelType: ModelType, form: number, cx: number, cm: number][];
  methods: [method: Method, order: 1 | 2 | 3, taylor: number, exact: number][];
  updates: { target: Triple; base: Triple; at2: Triple[]; at3: Triple[]; rows: number[][] }[];
  polynomials: { target: Triple; base: Triple; nodes: Triple[]; c: number[]; values: [number, number] }[];
};

const FORMS: Form[] = ['data', 'noise'];
const regular = ([alpha, sigma, lambda]: Triple): Node => ({ alpha, sigma, lambda });
const clean: Node = { alpha: 0.97, sigma: 0, lambda: Infinity, end: END.clean };
const noise: Node = { alpha: 0, sigma: 1.25, lambda: -Infinity, end: END.noise };
/** A variance preserving node; lambda as given, so that tests need no logarithm. */
const at = (lambda: number): Node => ({
  alpha: 1 / Math.sqrt(1 + Math.exp(-2 * lambda)),
  sigma: 1 / Math.sqrt(1 + Math.exp(2 * lambda)),
  lambda,
});

/** The distance between neighbouring doubles at y. */
function ulp(y: number): number {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, Math.abs(y));
  bits.setBigUint64(0, bits.getBigUint64(0) + 1n);
  return bits.getFloat64(0) - Math.abs(y);
}

function evaluate(name: ElementaryName, x: number[]): number[] {
  const out = new Float64Array(x.length);
  elementary(name, Float64Array.from(x), out);
  return [...out];
}

/** The seven coefficients, from a row filled with NaN so that every one has to be written. */
function row(update: Update): number[] {
  const rows = new Float64Array(ROW.length).fill(Number.NaN);
  const status = updateRow(rows, 0, update);
  assert.is(status, STATUS.ok, `status ${status} for ${JSON.stringify(update)}`);
  return [...rows.subarray(ROW.first, ROW.first + SUM.length)];
}

function statusOf(update: Update): number {
  const rows = new Float64Array(ROW.length).fill(7);
  const status = updateRow(rows, 0, update);
  if (status !== STATUS.ok)
    assert.ok(
      rows.every((x) => x === 7),
      'a row without a value stays as it was',
    );
  return status;
}

/** Each entry within `tolerance` of the largest, and exact zeros where zeros are expected. */
function assertRow(actual: number[], expected: number[], tolerance = 4e-16, message = ''): void {
  const largest = Math.max(...expected.map(Math.abs));
  for (const [i, x] of expected.entries()) {
    const name = Object.keys(SUM)[i];
    if (x === 0) assert.is(actual[i], 0, `${name} is not exactly 0 ${message}`);
    const error = Math.abs(actual[i] - x) / largest;
    assert.ok(error <= tolerance, `${name}: ${actual[i]} instead of ${x}, error ${error} ${message}`);
  }
}

/** Set DPM_SOLVER_REPORT to see the measured errors. */
function report(what: string, error: number): void {
  if (process.env.DPM_SOLVER_REPORT) console.log(`${what}: ${error.toPrecision(3)}`);
}

test('1. offsets and enumerations are those of the C++ headers', () => {
  const read = (path: string) =>
    readFileSync(new URL(path, import.meta.url), 'utf8').replace(/\/\*.*?\*\/|\/\/[^\n]*/gs, '');
  const enumeration = (source: string, name: string): Record<string, number> => {
    const body = new RegExp(`enum (?:class )?${name} : int \\{([^}]*)\\}`).exec(source)![1];
    return Object.fromEntries([...body.matchAll(/(\w+) = (\d+)/g)].map(([, key, value]) => [key, Number(value)]));
  };
  const constant = (names: Record<string, number>, suffix = '') =>
    Object.fromEntries(
      Object.entries(names).map(([key, value]) => [
        `k${key === 'length' ? suffix : ''}${key[0].toUpperCase()}${key.slice(1)}`,
        value,
      ]),
    );
  const snake = (names: Record<string, number>) =>
    Object.fromEntries(
      Object.entries(names).map(([key, value]) => [key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`), value]),
    );
  const layout = read('../../native/step/row.h');
  assert.equal(enumeration(layout, 'RowOffset'), constant(ROW, 'Row'));
  assert.equal(enumeration(layout, 'SumOffset'), constant(SUM, 'Sum'));
  assert.equal(enumeration(layout, 'Transform'), snake(TRANSFORM));
  const rows = read('../../native/coefficients/rows.h');
  assert.equal(enumeration(rows, 'End'), snake(END));
  assert.equal(enumeration(rows, 'Form'), snake(FORM));
  assert.equal(enumeration(rows, 'ModelType'), snake(MODEL_TYPE));
  assert.equal(enumeration(rows, 'Guidance'), snake(GUIDANCE));
  assert.equal(enumeration(rows, 'Method'), snake(METHOD));
  assert.equal(enumeration(rows, 'Status'), snake(STATUS));
});

// Elementary functions.

// The distance to the exact value, in units of the last place of its nearest double.
const bounds: Record<ElementaryName, number> = { exp: 0.6, expm1: 0.9, log: 0.6, log1p: 0.6 };
for (const name of Object.keys(bounds) as ElementaryName[]) {
  test(`2. ${name} is within ${bounds[name]} ulp of 50 digits`, () => {
    const points = table.elementary[name];
    const got = evaluate(
      name,
      points.map(([x]) => x),
    );
    let worst = 0;
    for (const [i, [x, y, rest]] of points.entries()) {
      const error = Math.abs((got[i] - y) / ulp(y) - rest);
      // Subnormal results round twice, so they may be off by a rounding more.
      const normal = Math.abs(y) >= 2 ** -1022;
      const bound = normal ? bounds[name] : 1;
      assert.ok(error <= bound, `${name}(${x}) = ${got[i]} instead of ${y}: ${error} ulp`);
      if (normal) worst = Math.max(worst, error);
    }
    report(`${name}, ulp`, worst);
  });
}

test('3. elementary functions at special values', () => {
  assert.equal(evaluate('exp', [0, -0, Infinity, -Infinity, NaN, 710, 1e308, -746, -1e308]), [
    1,
    1,
    Infinity,
    0,
    NaN,
    Infinity,
    Infinity,
    0,
    0,
  ]);
  assert.equal(evaluate('exp', [709.782712893384, 709.7827128933841, -745.1332191019411, -745.1332191019412]), [
    1.7976931348622732e308,
    Infinity,
    5e-324,
    0,
  ]);
  assert.equal(evaluate('expm1', [0, -0, Infinity, -Infinity, NaN, 710, -100, -1e308, 5e-324]), [
    0,
    -0,
    Infinity,
    -1,
    NaN,
    Infinity,
    -1,
    -1,
    5e-324,
  ]);
  assert.equal(evaluate('log', [1, 0, -0, Infinity, -Infinity, NaN, -1]), [
    0,
    -Infinity,
    -Infinity,
    Infinity,
    NaN,
    NaN,
    NaN,
  ]);
  assert.equal(evaluate('log1p', [0, -0, -1, Infinity, -Infinity, NaN, -1.5, 5e-324]), [
    0,
    -0,
    -Infinity,
    Infinity,
    NaN,
    NaN,
    NaN,
    5e-324,
  ]);
  assert.ok(Object.is(evaluate('expm1', [-0])[0], -0));
  assert.ok(Object.is(evaluate('log1p', [-0])[0], -0));
  assert.ok(Object.is(evaluate('log', [1])[0], 0));
});

test('4. exp and log undo each other, and never step backwards', () => {
  const x = Array.from({ length: 20001 }, (_, i) => -2 + i / 5000);
  const y = evaluate('exp', x);
  for (let i = 1; i < y.length; i++) assert.ok(y[i] >= y[i - 1]);
  for (const [i, back] of evaluate('log', y).entries())
    assert.ok(Math.abs(back - x[i]) < 3e-16 * Math.max(1, Math.abs(x[i])));
});

test('5. phi functions to a relative 1e-14 on [-50, 50]', () => {
  let worst = 0;
  for (const [z, ...expected] of table.phi) {
    for (const [i, y] of expected.entries()) {
      const error = Math.abs(phi(i + 1, z) / y - 1);
      assert.ok(error < 1e-14, `phi_${i + 1}(${z}): relative error ${error}`);
      worst = Math.max(worst, error);
    }
  }
  report('phi, relative', worst);
  assert.equal([phi(1, Infinity), phi(2, -Infinity), phi(0, 1)], [Infinity, 0, NaN]);
});

test('6. weights are h phi_k, also for the SDE', () => {
  for (const h of [-2, -1e-8, 1e-8, 0.3, 3, 20]) {
    for (const k of [1, 2, 3, 4]) {
      assert.is(weight('data', k, h), h * phi(k, -h));
      assert.is(weight('noise', k, h), h * phi(k, h));
      assert.is(weight('data', k, h, 1), 2 * h * phi(k, -2 * h));
      assert.is(weight('noise', k, h, 1), 2 * h * phi(k, h));
    }
  }
});

// Predictions.

test('7. predictions invert x = alpha x0 + sigma epsilon and the definition of the output', () => {
  // Each coefficient is a quotient of sums of positive terms: well-conditioned, so relative to itself.
  let worst = 0;
  for (const [alpha, sigma, modelType, form, cx, cm] of table.predictions) {
    const rows = new Float64Array(ROW.length).fill(Number.NaN);
    assert.is(predictionRow(rows, 0, modelType, FORMS[form], { alpha, sigma, lambda: 0 }), STATUS.ok);
    for (const [got, expected] of [
      [rows[ROW.cx], cx],
      [rows[ROW.cm], cm],
    ]) {
      const error = expected === 0 ? Math.abs(got) : Math.abs(got / expected - 1);
      assert.ok(error < 1e-15, `${modelType} ${FORMS[form]}: ${got} instead of ${expected}`);
      worst = Math.max(worst, error);
    }
    assert.equal([...rows.subarray(ROW.cu, ROW.transform + 1)], [0, 0, 0]);
    assert.equal([...rows.subarray(ROW.ep, ROW.eu + 1)], [1, 0, 0, 0]);
    assert.ok(rows.subarray(ROW.ratio, ROW.ep).every(Number.isNaN), 'the threshold is not touched');
    assert.ok(rows.subarray(ROW.first).every(Number.isNaN), 'the updates are not touched');
  }
  report('predictions, relative', worst);
});

test('8. classifier-free guidance is linear in the outputs', () => {
  const node = at(0.4);
  const rows = new Float64Array(2 * ROW.length);
  for (const modelType of Object.keys(MODEL_TYPE) as ModelType[]) {
    for (const form of FORMS) {
      predictionRow(rows, 0, modelType, form, node);
      predictionRow(rows, 1, modelType, form, node, 'classifierFree', 7.5);
      const [plain, guided] = [rows.subarray(0, ROW.length), rows.subarray(ROW.length)];
      assert.is(guided[ROW.cx], plain[ROW.cx]);
      assert.is(guided[ROW.cm], 7.5 * plain[ROW.cm]);
      assert.is(guided[ROW.cu], -6.5 * plain[ROW.cm]);
      predictionRow(rows, 1, modelType, form, node, 'classifierFree', 1);
      assert.equal([...guided.subarray(0, 4)], [...plain.subarray(0, 4)], 'scale 1 is no guidance');
    }
  }
});

test('9. classifier guidance moves epsilon by -s sigma g, whatever the output is', () => {
  const node: Node = { alpha: 0.6, sigma: 1.7, lambda: 0 };
  const rows = new Float64Array(ROW.length);
  for (const modelType of Object.keys(MODEL_TYPE) as ModelType[]) {
    predictionRow(rows, 0, modelType, 'noise', node, 'classifier', 3);
    assert.is(rows[ROW.cg], -3 * 1.7);
    predictionRow(rows, 0, modelType, 'data', node, 'classifier', 3);
    assert.ok(Math.abs(rows[ROW.cg] / ((3 * 1.7 * 1.7) / 0.6) - 1) < 1e-15);
    assert.is(rows[ROW.cu], 0);
  }
});

test('10. predictions at the ends: exact values, or the status that says why not', () => {
  const rows = new Float64Array(ROW.length);
  const get = (modelType: ModelType, form: Form, node: Node) => {
    rows.fill(9);
    const status = predictionRow(rows, 0, modelType, form, node);
    if (status !== STATUS.ok) assert.ok(rows.every((x) => x === 9));
    return status === STATUS.ok ? [rows[ROW.cx], rows[ROW.cm]] : status;
  };
  const [alpha, sigma] = [clean.alpha, noise.sigma];
  // alpha = 0: x = sigma epsilon says nothing about x0
  assert.is(get('noise', 'data', noise), STATUS.atNoise);
  assert.is(get('score', 'data', noise), STATUS.atNoise);
  assert.equal(get('x_start', 'data', noise), [0, 1]);
  assert.equal(get('v', 'data', noise), [0, -1 / sigma]);
  assert.equal(get('flow', 'data', noise), [1 / sigma, -1]);
  assert.equal(get('noise', 'noise', noise), [0, 1]);
  assert.equal(get('score', 'noise', noise), [0, -sigma]);
  assert.equal(get('x_start', 'noise', noise), [1 / sigma, 0]);
  assert.equal(get('v', 'noise', noise), [1 / sigma, 0]);
  assert.equal(get('flow', 'noise', noise), [1 / sigma, 0]);
  // sigma = 0: x = alpha x0 says nothing about epsilon
  assert.equal(get('noise', 'data', clean), [1 / alpha, 0]);
  assert.equal(get('score', 'data', clean), [1 / alpha, 0]);
  assert.equal(get('x_start', 'data', clean), [0, 1]);
  assert.equal((get('v', 'data', clean) as number[])[1], 0);
  assert.equal(get('flow', 'data', clean), [1 / alpha, 0]);
  assert.equal(get('noise', 'noise', clean), [0, 1]);
  assert.is(get('score', 'noise', clean), STATUS.atClean);
  assert.is(get('x_start', 'noise', clean), STATUS.atClean);
  assert.equal(get('v', 'noise', { ...clean, alpha: 1 }) as number[], [0, 1]);
  assert.equal(get('flow', 'noise', { ...clean, alpha: 1 }), [1, 1]);
  // A classifier moves x0 by s sigma^2 / alpha.
  assert.is(predictionRow(rows, 0, 'v', 'data', noise, 'classifier', 1), STATUS.atNoise);
  assert.is(predictionRow(rows, 0, 'v', 'data', noise, 'classifier', 0), STATUS.ok);
  assert.is(predictionRow(rows, 0, 'v', 'noise', noise, 'classifier', 1), STATUS.ok);
});

// Updates.

test('11. every update, to 1e-14 of the largest coefficient of its row', () => {
  // Relative to the largest: with close nodes the weights of the history are large and cancel, and what reaches
  // the state is their sum. `a` and `n` stand alone and are held to a relative 1e-14 of themselves.
  let worst = 0;
  let count = 0;
  for (const group of table.updates) {
    for (const [m, form, tau2, a, bp, b1, b2, n] of group.rows) {
      const [method, order, taylor, exact] = table.methods[m];
      const nodes = (order === 3 ? group.at3 : order === 2 ? group.at2 : [group.base]).map(regular);
      const update: Update = {
        method,
        form: FORMS[form],
        order,
        taylor: taylor === 1,
        exact: exact === 1,
        tau2,
        target: regular(group.target),
        base: regular(group.base),
        nodes: nodes.slice(0, order),
      };
      const got = row(update);
      const expected = [a, bp, 0, b1, b2, 0, n];
      const largest = Math.max(...expected.map(Math.abs));
      for (const [i, x] of expected.entries()) {
        const scale = i === SUM.a || i === SUM.n ? Math.abs(x) : largest;
        const error = x === 0 ? Math.abs(got[i]) / largest : Math.abs(got[i] - x) / scale;
        assert.ok(
          error < 1e-14,
          `${Object.keys(SUM)[i]}: ${got[i]} instead of ${x}, error ${error}: ${JSON.stringify(update)}`,
        );
        worst = Math.max(worst, error);
      }
      count++;
    }
  }
  report(`updates, ${count} rows, relative`, worst);
});

test('12. order 1: P stands alone, and each weight is right to 1e-14 of itself', () => {
  for (const group of table.updates) {
    for (const [m, form, tau2, , bp] of group.rows) {
      const [method, order] = table.methods[m];
      if (order !== 1) continue;
      const base = regular(group.base);
      const got = row({ method, form: FORMS[form], order, tau2, target: regular(group.target), base, nodes: [base] });
      assert.ok(Math.abs(got[SUM.bp] / bp - 1) < 1e-14);
    }
  }
});

test('13. order 1 is one map in both forms: DDIM', () => {
  // x_t in terms of (x0, epsilon) with x = alpha_s x0 + sigma_s epsilon: alpha_t x0 + sigma_t epsilon.
  for (const h of [1e-9, 1e-3, 0.7, 5, -0.7, -3]) {
    const [base, target] = [at(-0.8), at(-0.8 + h)];
    const lambda = (node: Node) => ({ ...node, lambda: Math.log(node.alpha / node.sigma) });
    for (const form of FORMS) {
      const update = { method: 'multistep', form, order: 1, target: lambda(target), base: lambda(base) } as const;
      const [a, bp] = row({ ...update, nodes: [update.base] });
      const x0 = a * base.alpha + (form === 'data' ? bp : 0);
      const epsilon = a * base.sigma + (form === 'noise' ? bp : 0);
      assert.ok(Math.abs(x0 - target.alpha) < 1e-14 && Math.abs(epsilon - target.sigma) < 1e-14, `${form} h=${h}`);
    }
  }
});

const variants: Pick<Update, 'method' | 'order' | 'taylor' | 'exact'>[] = table.methods.map(
  ([method, order, taylor, exact]) => ({ method, order, taylor: taylor === 1, exact: exact === 1 }),
);

/** Nodes for a step, with an uneven history (multistep) or stages (singlestep). */
function nodesFor(method: Method, order: number, base: Node, h: number): Node[] {
  const l = base.lambda;
  if (method === 'multistep') return [base, at(l - 0.7 * h), at(l - 2.2 * h)].slice(0, order);
  return order === 3 ? [at(l + 0.7 * h), at(l + 0.3 * h), base] : order === 2 ? [at(l + 0.4 * h), base] : [base];
}

test('14. a constant prediction is integrated exactly by every method', () => {
  for (const variant of variants) {
    for (const form of FORMS) {
      for (const h of [1e-6, 0.1, 1.3, 6, -0.4]) {
        for (const tau2 of h < 0 ? [0] : [0, 0.5, 1]) {
          const [base, target] = [at(0.3), at(0.3 + h)];
          const update: Update = {
            ...variant,
            form,
            tau2,
            target,
            base,
            nodes: nodesFor(variant.method, variant.order, base, h),
          };
          const c = row(update);
          const first = row({ ...update, order: 1, nodes: [base] });
          const sum = c[SUM.bp] + c[SUM.b1] + c[SUM.b2];
          assert.ok(Math.abs(sum - first[SUM.bp]) < 1e-14 * Math.max(...c.map(Math.abs)), JSON.stringify(update));
          assert.is(c[SUM.a], first[SUM.a]);
          assert.is(c[SUM.n], first[SUM.n]);
        }
      }
    }
  }
});

test('15. third order exact integrates quadratic predictions exactly; as published, it does not', () => {
  for (const { target, base, nodes, c, values } of table.polynomials) {
    for (const [form, expected] of values.entries()) {
      const apply = (exact: boolean) => {
        const w = row({
          method: 'multistep',
          form: FORMS[form],
          order: 3,
          exact,
          target: regular(target),
          base: regular(base),
          nodes: nodes.map(regular),
        });
        const d = nodes.map(([, , lambda]) => c[0] + (lambda - base[2]) * (c[1] + (lambda - base[2]) * c[2]));
        const terms = [w[SUM.bp] * d[0], w[SUM.b1] * d[1], w[SUM.b2] * d[2]];
        return { value: terms[0] + terms[1] + terms[2], size: Math.max(...terms.map(Math.abs)) };
      };
      const { value, size } = apply(true);
      assert.ok(Math.abs(value - expected) < 1e-14 * size, `${value} instead of ${expected}`);
      assert.ok(Math.abs(apply(false).value - expected) > 1e-9 * size);
    }
  }
});

test('16. the SDE keeps the variance of a Gaussian in order 1', () => {
  // With the exact x0 = 0 of data at 0: x_t = a x_s + n z, and a^2 sigma_s^2 + n^2 = sigma_t^2.
  for (const tau2 of [0, 0.25, 1, 3]) {
    const [base, target] = [at(-1), at(0.5)];
    const lambda = (node: Node) => ({ ...node, lambda: Math.log(node.alpha / node.sigma) });
    const update = {
      method: 'multistep',
      form: 'data',
      order: 1,
      tau2,
      target: lambda(target),
      base: lambda(base),
    } as const;
    const c = row({ ...update, nodes: [update.base] });
    assert.ok(Math.abs(Math.hypot(c[SUM.a] * base.sigma, c[SUM.n]) - target.sigma) < 1e-15);
  }
});

test('17. the stage u2 of singlestep order 3 is the singlestep update of order 2, taylor', () => {
  const [l, h, r1, r2] = [-1, 1.5, 1 / 3, 2 / 3];
  const [base, s1, s2] = [at(l), at(l + r1 * h), at(l + r2 * h)];
  const got = row({ method: 'singlestep', form: 'data', order: 2, taylor: true, target: s2, base, nodes: [s1, base] });
  const slope = (r2 / r1) * weight('data', 2, r2 * h); // of M(u1) - M_s
  const expected = [
    s2.sigma / base.sigma,
    s2.alpha * slope,
    0,
    s2.alpha * (weight('data', 1, r2 * h) - slope),
    0,
    0,
    0,
  ];
  assertRow(got, expected, 1e-14);
});

// The ends.

for (const variant of variants) {
  const name = `${variant.method} ${variant.order}${variant.taylor ? ' taylor' : ''}${variant.exact ? ' exact' : ''}`;

  test(`18. ${name}: to the clean end`, () => {
    const base = at(1.2);
    const update = (form: Form, tau2: number): Update => ({
      ...variant,
      form,
      tau2,
      target: clean,
      base,
      nodes: nodesFor(variant.method, variant.order, base, 0.5),
    });
    const a = clean.alpha / base.alpha;
    for (const tau2 of [0, 0.5, 1]) {
      assertRow(row(update('data', tau2)), [0, clean.alpha, 0, 0, 0, 0, 0]);
      const n = Math.sqrt(tau2) * a * base.sigma;
      assertRow(row(update('noise', tau2)), [a, -(1 + tau2) * a * base.sigma, 0, 0, 0, 0, n]);
    }
  });

  test(`19. ${name}: from the noise end`, () => {
    const target = at(-2);
    const nodes =
      variant.method === 'multistep'
        ? [noise, at(-5), at(-6)].slice(0, variant.order)
        : [at(-3), at(-4)].slice(0, variant.order - 1).concat(noise);
    const update = (form: Form, tau2: number): Update => ({ ...variant, form, tau2, target, base: noise, nodes });
    assertRow(row(update('data', 0)), [target.sigma / noise.sigma, target.alpha, 0, 0, 0, 0, 0]);
    assertRow(row(update('data', 1)), [0, target.alpha, 0, 0, 0, 0, target.sigma]);
    assert.is(statusOf(update('noise', 0)), STATUS.atNoise);
    assertRow(row({ ...update('data', 0), target: clean }), [0, clean.alpha, 0, 0, 0, 0, 0]);
  });

  test(`20. ${name}: inversion to the noise end`, () => {
    const base = at(-2);
    const nodes = nodesFor(variant.method, variant.order, base, -0.5);
    const update = (form: Form): Update => ({ ...variant, form, target: noise, base, nodes });
    const a = noise.sigma / base.sigma;
    assertRow(row(update('data')), [a, -base.alpha * a, 0, 0, 0, 0, 0]);
    assertRow(row(update('noise')), [0, noise.sigma, 0, 0, 0, 0, 0]);
    assert.is(statusOf({ ...update('data'), tau2: 1 }), STATUS.sdeInversion);
  });

  test(`21. ${name}: inversion from the clean end`, () => {
    const target = at(2);
    const nodes =
      variant.method === 'multistep'
        ? [clean, at(5), at(6)].slice(0, variant.order)
        : [at(3), at(4)].slice(0, variant.order - 1).concat(clean);
    const update = (form: Form): Update => ({ ...variant, form, target, base: clean, nodes });
    assertRow(row(update('noise')), [target.alpha / clean.alpha, target.sigma, 0, 0, 0, 0, 0]);
    assert.is(statusOf(update('data')), STATUS.atClean);
    assert.is(statusOf({ ...update('noise'), tau2: 1 }), STATUS.sdeInversion);
    assertRow(row({ ...update('noise'), target: noise }), [0, noise.sigma, 0, 0, 0, 0, 0]);
  });

  test(`22. ${name}: no step is the identity`, () => {
    for (const form of FORMS) {
      for (const tau2 of [0, 1]) {
        for (const base of [at(0.7), clean, noise]) {
          const nodes = nodesFor(variant.method, variant.order, base.end ? at(0) : base, 0.5);
          nodes[variant.method === 'multistep' ? 0 : variant.order - 1] = base;
          const c = row({ ...variant, form, tau2, target: base, base, nodes });
          assert.equal(c, [1, 0, 0, 0, 0, 0, 0]);
          assert.ok(c.every((x) => !Object.is(x, -0)));
        }
      }
    }
  });
}

test('23. the limits at the ends are where finite nodes lead to', () => {
  // lambda = +-16: e^-32 = 1e-14 away from the end, compared in order 1.
  const far = at(16);
  const near = at(0.3);
  const one = { method: 'multistep', order: 1 } as const;
  const almost = (p: number[], q: number[]) => {
    for (const i of p.keys()) assert.ok(Math.abs(p[i] - q[i]) < 1e-6, `${p} and ${q}`);
  };
  const end = (node: Node): Node =>
    node.lambda > 0
      ? { ...node, sigma: 0, lambda: Infinity, end: END.clean }
      : { ...node, alpha: 0, lambda: -Infinity, end: END.noise };
  for (const tau2 of [0, 1, 2]) {
    for (const form of FORMS) {
      const u = { ...one, form, tau2, base: near, nodes: [near] };
      almost(row({ ...u, target: far }), row({ ...u, target: end(far) }));
    }
    const start = at(-16);
    const u = { ...one, form: 'data', tau2, target: near } as const;
    almost(row({ ...u, base: start, nodes: [start] }), row({ ...u, base: end(start), nodes: [end(start)] }));
  }
  for (const form of FORMS) {
    const u = { ...one, form, base: near, nodes: [near], target: at(-16) };
    almost(row(u), row({ ...u, target: end(u.target) }));
  }
  const u = { ...one, form: 'noise', target: near } as const;
  almost(row({ ...u, base: far, nodes: [far] }), row({ ...u, base: end(far), nodes: [end(far)] }));
});

test('24. a history node at an end has slope zero', () => {
  for (const form of FORMS) {
    for (const [edge, h] of [
      [noise, 0.6],
      [clean, -0.6],
    ] as const) {
      const [base, target, before] = [at(0.1), at(0.1 + h), at(0.1 - 0.8 * h)];
      const update = { method: 'multistep', form, target, base } as const;
      const first = row({ ...update, order: 1, nodes: [base] });
      const second = row({ ...update, order: 2, taylor: true, nodes: [base, before] });
      for (const taylor of [false, true]) {
        assert.equal(row({ ...update, order: 2, taylor, nodes: [base, edge] }), first);
        for (const exact of [false, true]) {
          assert.equal(row({ ...update, order: 3, taylor, exact, nodes: [base, edge, edge] }), first);
          assert.equal(row({ ...update, order: 3, taylor, exact, nodes: [base, before, edge] }), second);
        }
      }
      // It is the limit of nodes that move away.
      const away = row({
        ...update,
        order: 3,
        exact: true,
        nodes: [base, before, at(0.1 - 1e9 * h)].map((n) =>
          n.sigma > 0 && n.alpha > 0 ? n : { ...n, alpha: 0.5, sigma: 0.5 },
        ),
      });
      for (const [i, x] of second.entries()) assert.ok(Math.abs(x - away[i]) < 1e-8);
    }
  }
});

test('25. nodes that coincide lower the order instead of dividing by zero', () => {
  const [base, target, p, q] = [at(0), at(0.5), at(-0.3), at(-0.9)];
  for (const form of FORMS) {
    for (const tau2 of [0, 1]) {
      const multi = { method: 'multistep', form, tau2, target, base } as const;
      const first = row({ ...multi, order: 1, nodes: [base] });
      const second = row({ ...multi, order: 2, taylor: true, nodes: [base, p] });
      for (const taylor of [false, true]) assert.equal(row({ ...multi, order: 2, taylor, nodes: [base, base] }), first);
      assert.equal(row({ ...multi, order: 3, nodes: [base, p, p] }), second);
      assert.equal(row({ ...multi, order: 3, nodes: [base, p, base] }), second);
      assert.equal(row({ ...multi, order: 3, nodes: [base, base, base] }), first);
      const skipped = row({ ...multi, order: 2, taylor: true, nodes: [base, q] });
      [skipped[SUM.b1], skipped[SUM.b2]] = [0, skipped[SUM.b1]];
      assert.equal(row({ ...multi, order: 3, nodes: [base, base, q] }), skipped);

      const [s1, s2] = [at(0.2), at(0.35)];
      const single = { method: 'singlestep', form, tau2, target, base } as const;
      const one = row({ ...single, order: 1, nodes: [base] });
      const line = row({ ...single, order: 3, nodes: [s2, s1, base] });
      for (const taylor of [false, true]) {
        assert.equal(row({ ...single, order: 2, taylor, nodes: [base, base] }), one);
        assert.equal(row({ ...single, order: 3, taylor, nodes: [base, base, base] }), one);
        assert.equal(row({ ...single, order: 3, taylor, nodes: [s2, s2, base] }), line);
        assert.equal(row({ ...single, order: 3, taylor, nodes: [s2, base, base] }), line);
        const two = row({ ...single, order: 2, taylor: true, nodes: [s1, base] });
        [two[SUM.bp], two[SUM.b1], two[SUM.b2]] = [0, two[SUM.bp], two[SUM.b1]];
        assert.equal(row({ ...single, order: 3, taylor, nodes: [base, s1, base] }), two);
      }
    }
  }
});

// Statuses and errors.

test('26. statuses', () => {
  const [base, target] = [at(0), at(0.5)];
  const update: Update = { method: 'multistep', form: 'data', order: 2, target, base, nodes: [base, at(-1)] };
  assert.is(statusOf(update), STATUS.ok);
  assert.is(statusOf({ ...update, tau2: -1 }), STATUS.invalid);
  assert.is(statusOf({ ...update, tau2: NaN }), STATUS.invalid);
  assert.is(statusOf({ ...update, order: 0 as 1 }), STATUS.invalid);
  assert.is(statusOf({ ...update, target: { ...target, sigma: 0 } }), STATUS.invalid);
  assert.is(statusOf({ ...update, target: { ...target, lambda: NaN } }), STATUS.invalid);
  assert.is(statusOf({ ...update, target: { ...clean, sigma: 0.1 } }), STATUS.invalid);
  assert.is(statusOf({ ...update, nodes: [base, { ...base, alpha: -1 }] }), STATUS.invalid);
  // Missing nodes are not taken for the base's, which would be a lower order.
  for (const method of ['multistep', 'singlestep'] as const) {
    for (const order of [1, 2, 3] as const) {
      const nodes = new Array(order - 1).fill(base);
      assert.is(statusOf({ ...update, method, order, nodes }), STATUS.invalid, `${method} ${order}`);
    }
  }
  assert.is(statusOf({ ...update, target: at(-0.5), tau2: 1 }), STATUS.sdeInversion);
  assert.is(statusOf({ ...update, nodes: [at(-1), base] }), STATUS.misplaced);
  assert.is(statusOf({ ...update, method: 'singlestep', nodes: [base, at(0.2)] }), STATUS.misplaced);
  assert.is(statusOf({ ...update, method: 'singlestep', nodes: [clean, base] }), STATUS.misplaced);
  assert.is(statusOf({ ...update, form: 'noise', target: { ...target, lambda: 2000 } }), STATUS.overflow);
  const rows = new Float64Array(ROW.length);
  assert.is(predictionRow(rows, 0, 'v', 'data', { ...base, alpha: 0 }), STATUS.invalid);
  assert.is(predictionRow(rows, 0, 'v', 'data', base, 'classifierFree', NaN), STATUS.invalid);
  assert.is(predictionRow(rows, 0, 'noise', 'data', { ...base, alpha: 1e-320 }), STATUS.overflow);
});

test('27. the second sum and later rows are written in their places', () => {
  const rows = new Float64Array(3 * ROW.length).fill(7);
  const base = at(0);
  const update: Update = { method: 'multistep', form: 'data', order: 1, tau2: 1, target: at(0.5), base, nodes: [base] };
  assert.is(updateRow(rows, 1, update, 'second'), STATUS.ok);
  const start = ROW.length + ROW.second;
  assert.equal([...rows.subarray(start, start + SUM.length)], row(update));
  rows.fill(7, start, start + SUM.length);
  assert.ok(rows.every((x) => x === 7));
});

test('28. wrong arguments throw one clear sentence', () => {
  const call = addon as unknown as Record<string, (...args: unknown[]) => unknown>;
  const rows = new Float64Array(ROW.length);
  const node = new Float64Array([1, 1, 0, 0]);
  const nodes = new Float64Array(20);
  const throws = (run: () => unknown, type: typeof Error, message: string) => {
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof type);
      assert.is((error as Error).message, message);
      return;
    }
    assert.unreachable(`no error: ${message}`);
  };
  throws(() => call.predictionRow(), TypeError, 'Expected a Float64Array for rows but received undefined');
  throws(
    () => call.predictionRow(new Float32Array(32)),
    TypeError,
    'Expected a Float64Array for rows but received a typed array of length 32',
  );
  throws(
    () => call.predictionRow(new Float64Array(31)),
    RangeError,
    'Expected a Float64Array of one or more rows of length 32 for rows but received a Float64Array of length 31',
  );
  throws(() => call.predictionRow(rows, 1), RangeError, 'Expected 0 for index but received 1');
  throws(() => call.predictionRow(rows, 0.5), RangeError, 'Expected 0 for index but received 0.5');
  throws(() => call.predictionRow(rows, '0'), TypeError, "Expected 0 for index but received '0'");
  throws(
    () => call.predictionRow(rows, 0, 5),
    RangeError,
    'Expected an integer from 0 to 4 for modelType but received 5',
  );
  throws(
    () => call.predictionRow(rows, 0, NaN),
    RangeError,
    'Expected an integer from 0 to 4 for modelType but received NaN',
  );
  throws(() => call.predictionRow(rows, 0, 0, 0, 0, null), TypeError, 'Expected a number for scale but received null');
  throws(
    () => call.predictionRow(rows, 0, 0, 0, 0, 1, nodes),
    RangeError,
    'Expected a Float64Array of length 4 for node but received a Float64Array of length 20',
  );
  throws(
    () => call.predictionRow(rows, 0, 0, 0, 0, 1, new Float64Array([1, 1, 0, 3])),
    RangeError,
    'Expected 0, 1 or 2 for the end in node but received 3',
  );
  throws(
    () => call.updateRow(rows, 0, 0, 0, 0, 1, 0, 0, 0, node),
    RangeError,
    'Expected a Float64Array of length 20 for nodes but received a Float64Array of length 4',
  );
  throws(
    () => call.updateRow(rows, 0, 0, 0, 0, 1, true, 0, 0, nodes),
    TypeError,
    'Expected an integer from 0 to 1 for taylor but received a boolean',
  );
  throws(
    () => call.elementary('sin', rows, rows),
    TypeError,
    "Expected 'exp', 'expm1', 'log' or 'log1p' for name but received 'sin'",
  );
  throws(
    () => call.elementary('exp', rows, node),
    RangeError,
    'Expected a Float64Array of length 32 for out but received a Float64Array of length 4',
  );
  throws(() => call.phi(1, '1'), TypeError, "Expected a number for z but received '1'");
  throws(
    () => predictionRow(rows, 0, 'eps' as ModelType, 'data', at(0)),
    TypeError,
    'Expected an integer from 0 to 4 for modelType but received undefined',
  );
});

test.run();
