// The fused step against a plain TypeScript model of it, bit for bit.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { step } from '../../lib/native.js';
import {
  assertSame,
  type Call,
  check,
  GIVEN,
  INPUTS,
  multistepRow,
  QUANTILE,
  R,
  Random,
  randomRows,
  reference,
  run,
  zeros,
} from './support.js';

/** Sizes around the lengths of vectors, chunks and tasks. */
const EDGES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 255, 257, 1023, 1024, 1025, 2047, 2049];

function operand(random: Random, name: (typeof INPUTS)[number], wide: boolean, n: number, half: boolean) {
  return half && (name === 'm' || name === 'u' || name === 'g') ? random.halves(n) : random.array(wide, n);
}

test('1.1 every combination of operands, outputs and transforms', () => {
  const random = new Random(1);
  let tried = 0;
  for (let mask = 0; mask < 1 << INPUTS.length; mask++) {
    const has = (name: (typeof INPUTS)[number]) => (mask >> INPUTS.indexOf(name)) & 1;
    if (has('u') && !has('m')) continue;
    for (let transform = 0; transform <= 3; transform++) {
      if (transform !== GIVEN && !has('x') && !has('m')) continue;
      for (let outputs = 0; outputs < 32; outputs++) {
        // All outputs and transforms for every other mask would take minutes; each pair of them meets many times.
        if ((outputs + mask + 3 * transform) % 4 !== 0) continue;
        const wide = random.uniform() < 0.4;
        const [batch, n] = [random.integer(1, 3), random.integer(1, 40)];
        const total = batch * n;
        const call: Call = { wide, batch, n, rows: randomRows(random, batch, transform === GIVEN ? GIVEN : 'any') };
        if (transform !== GIVEN) for (let b = 0; b < batch; b++) call.rows[32 * b + R.transform] = transform;
        for (const name of INPUTS) {
          if (has(name))
            (call as unknown as Record<string, unknown>)[name] = operand(
              random,
              name,
              wide,
              total,
              random.uniform() < 0.4,
            );
        }
        if (transform === GIVEN) call.p = random.array(wide, total);
        else if (outputs & 1) call.p = zeros(wide, total);
        if (!call.x && !call.base && !call.p && !(outputs & 4)) continue; // nothing tells the type of the state
        if (outputs & 2) call.d0 = zeros(wide, total);
        if (outputs & 4) call.out = zeros(wide, total);
        if (outputs & 8) call.out2 = zeros(wide, total);
        if (outputs & 16 && call.out) {
          const length = random.integer(1, 2) * total;
          call.next = random.pick([new Uint16Array(length), new Float32Array(length), new Float64Array(length)]);
        }
        check(call, `operands ${mask.toString(2)}, transform ${transform}, outputs ${outputs.toString(2)}`);
        tried++;
      }
    }
  }
  assert.ok(tried > 10000, `${tried} combinations`);
});

test('1.2 sizes around vectors and chunks, float32 and float64, batches of different rows', () => {
  const random = new Random(2);
  for (const n of [...EDGES, ...Array.from({ length: 40 }, () => random.integer(1, 5000))]) {
    for (const wide of [false, true]) {
      const batch = random.integer(1, 5);
      const total = batch * n;
      const half = random.uniform() < 0.5;
      const call: Call = {
        ...{ wide, batch, n, first: 2, rows: randomRows(random, batch + 3, 'any') },
        ...{ x: random.array(wide, total), base: random.array(wide, total), z: random.array(wide, total) },
        ...{ d1: random.array(wide, total), d2: random.array(wide, total), d3: random.array(wide, total) },
        m: operand(random, 'm', wide, total, half),
        u: operand(random, 'u', wide, total, !half),
        g: operand(random, 'g', wide, total, half),
        ...{ p: zeros(wide, total), d0: zeros(wide, total), out: zeros(wide, total), out2: zeros(wide, total) },
        next: random.pick([new Uint16Array(2 * total), new Float32Array(total), new Float64Array(2 * total)]),
      };
      check(call, `n ${n}, batch ${batch}, wide ${wide}`);
    }
  }
});

test('1.3 the common step in one loop, all its forms, at all sizes', () => {
  const random = new Random(3);
  for (const n of [...EDGES, 4095, 4096, 4097, 65535, 65536, 65537]) {
    for (let form = 0; form < 24; form++) {
      if (n > 5000 && form % 5 !== n % 5) continue;
      const wide = n < 5000 && form % 3 === 1;
      const batch = n > 5000 ? 1 : random.integer(1, 3);
      const total = batch * n;
      const [history, guidance, clip] = [form % 3, (form >> 1) & 1, form % 4 === 3 ? 2 : form % 4];
      const rows = new Float64Array(32 * batch);
      for (let b = 0; b < batch; b++) {
        const row = multistepRow({ guidance: guidance === 1 });
        row[R.cx] = random.normal();
        row[15] = history > 0 ? random.normal() : 0;
        row[16] = history > 1 ? random.normal() : 0;
        row.set([clip, random.pick([0.5, 0.9, 0.995]), 1, 3], R.transform);
        rows.set(row, 32 * b);
      }
      const call: Call = {
        ...{ wide, batch, n, rows, x: random.array(wide, total, 2), m: random.array(wide, total) },
        u: guidance ? random.array(wide, total) : null,
        ...{ base: random.array(wide, total), d1: random.array(wide, total), d2: random.array(wide, total) },
        d0: form % 2 ? zeros(wide, total) : null,
        out: zeros(wide, total),
        next: form % 3 === 0 ? new Uint16Array(2 * total) : null,
      };
      check(call, `n ${n}, form ${form}`);
      // Asking for the prediction takes the way in pieces: the same bits.
      const pieces: Call = {
        ...call,
        p: zeros(wide, total),
        d0: zeros(wide, total),
        out: zeros(wide, total),
        next: null,
      };
      run(pieces);
      assertSame(pieces.out!, call.out!, `in pieces, n ${n}, form ${form}`);
    }
  }
});

test('1.4 samples of the network output that are longer than the state', () => {
  const random = new Random(4);
  for (const [n, stride] of [
    [1, 2],
    [12, 24],
    [1000, 1001],
    [1024, 2048],
    [5000, 10000],
  ] as const) {
    for (const doubled of [false, true]) {
      for (const half of [false, true]) {
        for (const withU of doubled ? [false] : [false, true]) {
          const batch = random.integer(1, 4);
          const total = batch * n;
          const network = (parts: number) => operand(random, 'm', false, parts * batch * stride, half);
          check(
            {
              ...{ wide: false, batch, n, doubled, rows: randomRows(random, batch, 'any') },
              ...{ x: random.array(false, total), m: network(doubled ? 2 : 1), u: withU ? network(1) : null },
              ...{ base: random.array(false, total), d0: zeros(false, total), out: zeros(false, total) },
            },
            `n ${n}, stride ${stride}, doubled ${doubled}, float16 ${half}, u ${withU}`,
          );
        }
      }
    }
  }
});

test('1.5 doubled network output: the unconditional half first', () => {
  const random = new Random(5);
  for (const n of [1, 17, 1024, 4097]) {
    for (const wide of [false, true]) {
      const batch = 3;
      const total = batch * n;
      const rows = randomRows(random, batch, 'any');
      const m = random.array(wide, 2 * total);
      const common = { wide, batch, n, rows, x: random.array(wide, total), base: random.array(wide, total) };
      const doubled: Call = { ...common, doubled: true, m, out: zeros(wide, total) };
      check(doubled, `n ${n}`);
      const apart: Call = { ...common, m: m.subarray(total), u: m.subarray(0, total), out: zeros(wide, total) };
      check(apart, `n ${n}, apart`);
      assertSame(apart.out!, doubled.out!, `n ${n}, apart and doubled`);
    }
  }
});

test('1.6 a batch is its samples', () => {
  const random = new Random(6);
  for (const n of [5, 1000, 20000]) {
    const batch = 5;
    const total = batch * n;
    const rows = randomRows(random, batch, 'any');
    const whole: Call = {
      ...{ wide: false, batch, n, rows, x: random.array(false, total), m: random.array(false, total) },
      ...{ base: random.array(false, total), d1: random.array(false, total) },
      ...{ d0: zeros(false, total), out: zeros(false, total) },
    };
    run(whole);
    for (const threads of [1, 2]) {
      for (let b = 0; b < batch; b++) {
        const part = (array: Call['x']) => array!.subarray(b * n, (b + 1) * n);
        const single: Call = {
          ...{ wide: false, batch: 1, n, rows, first: b, threads, x: part(whole.x), m: part(whole.m as Float32Array) },
          ...{ base: part(whole.base), d1: part(whole.d1), d0: zeros(false, n), out: zeros(false, n) },
        };
        run(single);
        assertSame(single.out!, part(whole.out), `sample ${b} of ${n}, ${threads} threads`);
        assertSame(single.d0!, part(whole.d0), `sample ${b} of ${n}, ${threads} threads, d0`);
      }
    }
  }
});

test('1.7 thresholding with exact quantiles, n up to 65537, any number of threads', () => {
  const random = new Random(7);
  for (const n of [1, 2, 100, 4095, 4096, 16384, 65535, 65537]) {
    for (const wide of [false, true]) {
      for (const half of [false, true]) {
        const batch = n > 10000 ? 1 : 4;
        const total = batch * n;
        const rows = randomRows(random, batch, QUANTILE);
        const call: Call = {
          ...{ wide, batch, n, rows, x: random.array(wide, total, 2.8), m: operand(random, 'm', wide, total, half) },
          ...{ base: random.array(wide, total), out: zeros(wide, total), d0: zeros(wide, total) },
        };
        check(call, `n ${n}, wide ${wide}`);
        const threaded: Call = { ...call, threads: 3, out: zeros(wide, total), d0: zeros(wide, total) };
        run(threaded);
        assertSame(threaded.out!, call.out!, `n ${n}, 3 threads`);
      }
    }
  }
});

test('1.8 scratch of the size asked for, larger, smaller, unaligned or none: the same', async () => {
  const { scratchBytes } = await import('../../lib/native.js');
  const random = new Random(8);
  for (const [batch, n, threads] of [
    [1, 20000, 1],
    [5, 9000, 2],
    [1, 300000, 3],
  ] as const) {
    const total = batch * n;
    const rows = randomRows(random, batch, QUANTILE);
    const call: Call = {
      ...{ wide: false, batch, n, threads, rows, x: random.array(false, total, 2.8), out: zeros(false, total) },
      base: random.array(false, total),
    };
    const expected = reference(call).out;
    const size = scratchBytes('float32', batch, n, 0, threads);
    const roomy = new Uint8Array(size + 16);
    for (const scratch of [null, roomy.subarray(0, size), roomy, roomy.subarray(1, size + 1), roomy.subarray(3, 40)]) {
      call.out!.fill(Number.NaN);
      assert.is(run({ ...call, scratch }), -1);
      assertSame(call.out!, expected, `scratch of ${scratch?.length} at ${scratch?.byteOffset}`);
    }
  }
});

test('2.1 a prediction that is not finite is reported, the first sample of the batch', () => {
  const random = new Random(9);
  for (const n of [1, 17, 1024, 5000, 70000]) {
    for (const batch of [1, 4]) {
      for (const transform of [0, 1, 2, 3]) {
        for (const threads of [1, 2, 8]) {
          const total = batch * n;
          const rows = randomRows(random, batch, transform);
          for (let b = 0; b < batch; b++) rows[32 * b + R.cm] = 1;
          const m = random.array(false, total);
          const bad = [random.integer(0, batch - 1), random.integer(0, batch - 1)];
          const value = random.pick([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
          for (const b of bad) m[b * n + random.integer(0, n - 1)] = value;
          const status = run({
            ...{ wide: false, batch, n, threads, rows, base: random.array(false, total), out: zeros(false, total) },
            ...(transform === GIVEN ? { p: m } : { m }),
          });
          assert.is(status, Math.min(...bad), `n ${n}, batch ${batch}, transform ${transform}, ${threads} threads`);
        }
      }
    }
  }
});

test('2.2 unchecked, a value that is not finite stays in its sample', () => {
  const random = new Random(10);
  for (const n of [1, 17, 5000, 70000]) {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const transform of [0, 1, 2]) {
        const batch = 3;
        const total = batch * n;
        const rows = randomRows(random, batch, transform);
        for (let b = 0; b < batch; b++) rows.set([0, 1, 0, 0], 32 * b);
        const m = random.array(false, total);
        m[n + random.integer(0, n - 1)] = value;
        const call: Call = {
          ...{ wide: false, batch, n, checkFinite: false, rows, m, base: random.array(false, total) },
          ...{ out: zeros(false, total), d0: zeros(false, total) },
        };
        const expected = reference(call);
        assert.is(expected.bad, 1);
        for (const threads of [1, 3]) {
          assert.is(run({ ...call, threads }), -1);
          assertSame(call.out!, expected.out, `n ${n}, ${value}, transform ${transform}, ${threads} threads`);
          assertSame(call.d0!, expected.d0, `n ${n}, ${value}, transform ${transform}, ${threads} threads, d0`);
        }
      }
    }
  }
});

test('2.3 one NaN makes its whole sample NaN under thresholding, wherever the quantile lies', () => {
  for (const scale of [0.01, 1, 100]) {
    for (const n of [2, 100, 5000, 70000]) {
      const x = new Random(11).state32(n, scale);
      x[n >> 1] = Number.NaN;
      const row = multistepRow({ ratio: 0.9 });
      row[R.cx] = 1;
      const p = zeros(false, n);
      assert.is(run({ wide: false, batch: 1, n, checkFinite: false, rows: row, x, p }), -1);
      assert.ok(p.every(Number.isNaN), `n ${n}, scale ${scale}`);
    }
  }
});

test('3.1 the public step passes everything on', () => {
  const random = new Random(12);
  const [batch, n] = [2, 33];
  const total = batch * n;
  const call: Call = {
    ...{ wide: false, batch, n, first: 1, rows: randomRows(random, 4, 'any'), doubled: true },
    ...{ x: random.array(false, total), m: random.array(false, 2 * total), g: random.array(false, total) },
    ...{ base: random.array(false, total), z: random.array(false, total), d1: random.array(false, total) },
    ...{ d2: random.array(false, total), d3: random.array(false, total), p: zeros(false, total) },
    ...{ d0: zeros(false, total), out: zeros(false, total), out2: zeros(false, total), next: new Uint16Array(total) },
  };
  const expected = reference(call);
  const { rows, wide: _, n: __, ...buffers } = call;
  assert.is(step(rows, buffers, { batch, first: 1, doubled: true }), -1);
  for (const name of ['p', 'd0', 'out', 'out2'] as const) assertSame(call[name]!, expected[name], name);
});

test.run();
