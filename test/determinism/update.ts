// npm run hashes: writes hashes.json anew. Only for a change that means to change samples; say which in its commit.
import { writeFileSync } from 'node:fs';
import { CASES, hashOf, SEEDS } from './cases.js';

async function main() {
  const hashes: Record<string, string> = {};
  for (const { name, run } of CASES) hashes[name] = hashOf(await run(SEEDS, 1));
  writeFileSync(new URL('./hashes.json', import.meta.url), `${JSON.stringify(hashes, null, 2)}\n`);
  console.log(`${CASES.length} hashes written`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
