// node --import tsx test/fuzz/napi-main.ts SECONDS: for scripts/fuzz.mjs.
import { fuzz } from './napi.js';

const counts = fuzz({ seconds: Number(process.argv[2]) });
let [taken, refused] = [0, 0];
for (const [name, [yes, no]] of counts) {
  console.log(`${name.padEnd(24)} ${String(yes).padStart(9)} taken ${String(no).padStart(9)} refused`);
  taken += yes;
  refused += no;
}
console.log(`${taken + refused} calls: ${taken} taken, ${refused} refused in one sentence`);
