// Prints a hash of everything that the native step computes, for the instruction set that DPM_SOLVER_SIMD names.
import { createHash } from 'node:crypto';
import { addon, info } from '../../../lib/addon/native.js';
import { assertSame, bytes, type Call, Random, randomRows, run, zeros } from '../support.js';

const hash = createHash('sha256');
const random = new Random(77);
for (const wide of [false, true]) {
  for (const half of [false, true]) {
    for (const n of [1, 15, 16, 17, 100, 1023, 1025, 5000, 65537, 150000]) {
      for (const transform of [0, 1, 2] as const) {
        for (const pieces of [false, true]) {
          const batch = n > 60000 ? 2 : 3;
          const total = batch * n;
          const network = () => (half ? random.halves(total) : random.array(wide, total, 2));
          const base: Call = {
            ...{ wide, batch, n, rows: randomRows(random, batch, transform), x: random.array(wide, total, 2) },
            ...{ m: network(), u: n % 2 ? network() : null, base: random.array(wide, total) },
            ...{ d1: random.array(wide, total), d2: random.array(wide, total) },
          };
          let first: Call | undefined;
          for (const threads of [1, 2, 3, 8]) {
            const call: Call = {
              ...{ ...base, threads, out: zeros(wide, total), d0: zeros(wide, total) },
              ...(pieces ? { p: zeros(wide, total), out2: zeros(wide, total), next: new Uint16Array(total) } : {}),
            };
            run(call);
            if (first) {
              for (const name of ['out', 'd0', 'p', 'out2', 'next'] as const) {
                if (call[name]) assertSame(call[name], first[name]!, `${name}, ${threads} threads, n ${n}`);
              }
            } else {
              first = call;
            }
          }
          for (const name of ['out', 'd0', 'p', 'out2', 'next'] as const)
            if (first![name]) hash.update(bytes(first![name]));
        }
      }
    }
  }
  const out = new Float64Array(1);
  for (const n of [1, 2, 17, 1000, 65536, 65537, 300001]) {
    const [low, high, previous] = [random.array(wide, n), random.array(wide, n), random.array(wide, n)];
    for (const threads of [1, 2, 3, 8]) {
      addon.errorNorm(low, high, previous, 1, 1e-3, 1e-2, threads, out);
      hash.update(bytes(out));
      for (const ratio of [0, 0.37, 0.995, 1]) {
        addon.quantile(low, 1, ratio, threads, out);
        hash.update(bytes(out));
      }
    }
    if (n > 1) addon.standardDeviation(low, 1, out);
    hash.update(bytes(out));
    if (n > 70000) continue;
    const [both, row] = [random.array(wide, 2 * n), new Float64Array(32)];
    for (const kind of [0, 1, 2]) {
      const guide = Float64Array.of(kind, 3.5, 0.3, 2, 0.4, 0, 1.25, -0.5, 0.75, -1.5);
      for (const threads of [1, 2, 3, 8]) {
        for (const m of [both, random.halves(2 * n)]) {
          addon.guide(row, 0, 1, guide, threads, low, m, kind === 2 ? high : null);
          hash.update(bytes(row));
        }
      }
    }
  }
}
console.log(JSON.stringify({ simd: info().simd, hash: hash.digest('hex') }));
