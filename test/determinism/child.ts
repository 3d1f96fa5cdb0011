// Prints the hash of every case for the instruction set that DPM_SOLVER_SIMD names, and by how many threads, or by what
// split of the batch, a case comes out otherwise.
import { info } from '../../lib/native.js';
import { CASES, hashOf, SEEDS } from './cases.js';

async function main() {
  const hashes: Record<string, string> = {};
  const differ: string[] = [];
  for (const { name, run, coupled } of CASES) {
    const whole = await run(SEEDS, 1);
    if (!whole.every(Number.isFinite)) throw new Error(`Expected finite samples for ${name}`);
    const hash = hashOf(whole);
    for (const threads of [2, 5]) {
      if (hashOf(await run(SEEDS, threads)) !== hash) differ.push(`${name}: ${threads} threads`);
    }
    if (!coupled) {
      const parts = [await run(SEEDS.slice(0, 1), 2), await run(SEEDS.slice(1), 2)];
      const joined = whole.slice();
      joined.set(parts[0]);
      joined.set(parts[1], parts[0].length);
      if (hashOf(joined) !== hash) differ.push(`${name}: a split batch`);
    }
    hashes[name] = hash;
  }
  console.log(JSON.stringify({ simd: info().simd, hashes, differ }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
