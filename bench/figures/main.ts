/**
 * Plots and tables from bench/results/:
 *
 *     npm run figures              writes docs/figures/ and the tables in README.md and docs/
 *     npm run figures -- --check   fails where they are not what the results give
 *     npm run figures -- error     those of bench/figures/error.ts only, or of several
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { renderAll, update } from './update.js';

async function main() {
  const { values, positionals } = parseArgs({
    options: { check: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const { stale, unknown } = update(root, await renderAll(positionals), values.check, positionals.length > 0);
  for (const file of stale) console.log(`${values.check ? 'not what the results give' : 'written'}: ${file}`);
  for (const file of unknown) console.log(`made by no module of bench/figures: ${file}`);
  if (unknown.length > 0 || (values.check && stale.length > 0)) process.exitCode = 1;
  else if (stale.length === 0) console.log('all figures are what the results give');
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
