// Prints which build runs and what the scenario gives with it.
import * as dpm from '../../../../lib/wasm.js';
import { scenario } from '../scenario.js';

async function main(): Promise<void> {
  console.log(JSON.stringify({ info: dpm.info(), runs: await scenario(dpm) }));
}
void main();
