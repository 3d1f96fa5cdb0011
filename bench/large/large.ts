/**
 * What a model folder takes at its real size, each measurement in a process of its own:
 *
 *     npm run bench:large -- DIR [--side 512] [--steps 3] [--decode 1024] [--only low,fast,python,whole,tiles] [--json FILE]
 *
 * `low` and `fast` are whole calls with guidance, `whole` and `tiles` a decode of random latents, and `python` the same graphs
 * in onnxruntime for Python (the program of PYTHON, python3 where that is not set; left out where it has no onnxruntime).
 * What is measured is the package as `npm run build:ts` made it. Folders with random weights are made by bench/large/make.py.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.js';

const KINDS = ['fast', 'low', 'python', 'whole', 'tiles'] as const;

const { values, positionals } = parseArgs({
  options: {
    side: { type: 'string', default: '512' },
    steps: { type: 'string', default: '3' },
    decode: { type: 'string', default: '1024' },
    only: { type: 'string', default: KINDS.join() },
    json: { type: 'string' },
  },
  allowPositionals: true,
});
const [model] = positionals;
if (model === undefined || !existsSync(join(model, 'model_index.json'))) {
  console.error('Expected a model folder: npm run bench:large -- DIR');
  process.exit(2);
}

function measure(kind: (typeof KINDS)[number]): Record<string, unknown> | undefined {
  const own = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const side = kind === 'whole' || kind === 'tiles' ? values.decode : values.side;
  const load = (require: string) => spawnSync(python, ['-c', `import ${require}`]).status === 0;
  const python = process.env.PYTHON ?? 'python3';
  if (kind === 'python' && !load('onnxruntime')) {
    console.error(`${python} has no onnxruntime: the comparison is left out`);
    return undefined;
  }
  const [program, args] =
    kind === 'python'
      ? [python, [own('./reference.py'), resolve(model), side, values.steps]]
      : [process.execPath, [own('./child.mjs'), resolve(model), kind, side, values.steps]];
  try {
    const output = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    return JSON.parse(output.trim().split('\n').at(-1) as string);
  } catch (error) {
    console.error(`${kind}: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

/** Bytes of all files in a folder. */
function bytesIn(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    return sum + (entry.isDirectory() ? bytesIn(path) : statSync(path).size);
  }, 0);
}

const measured: Record<string, unknown>[] = [];
for (const kind of values.only.split(',') as (typeof KINDS)[number][]) {
  if (!KINDS.includes(kind)) throw new Error(`Expected ${KINDS.join(', ')} for --only but received ${kind}`);
  const made = measure(kind);
  if (!made) continue;
  measured.push(made);
  console.log(JSON.stringify(made));
}
const { side, steps, decode } = values;
const result = {
  command: `npm run bench:large -- DIR --side ${side} --steps ${steps} --decode ${decode}`,
  machine: machine(),
  ...{
    model: basename(resolve(model)),
    bytes: bytesIn(model),
    side: Number(side),
    steps: Number(steps),
    results: measured,
  },
};
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
