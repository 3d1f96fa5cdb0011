// Tables for the network that comes with the package, and what they cost.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { randomPrompts } from '../quality/judge.js';
import { FOLDER } from './shapes.js';

/** Of the prompts, which are other ones than bench:quality's. */
const SEED = 4711;

export async function calibrateShapes(
  steps: readonly number[],
  { guidance, resume, output }: { guidance: number; resume?: string; output?: string },
  tell: (line: string) => void,
): Promise<object> {
  const pipe = await DiffusionPipeline.fromPretrained(FOLDER);
  const began = performance.now();
  const reports: unknown[] = [];
  for (const n of steps) {
    const at = performance.now();
    const { tables, report, teacherEvaluations } = await pipe.calibrate({
      ...{ steps: n, guidance, resume },
      prompts: randomPrompts(160, SEED).map(({ prompt }) => prompt),
    });
    const seconds = (performance.now() - at) / 1000;
    const [one] = report;
    reports.push({ ...one, teacherEvaluations, seconds });
    tell(
      `${n} at guidance ${guidance}: ${one.kept}, ${one.heldOut.toFixed(4)} (${one.start}) against ${one.classic.toFixed(4)} (${one.classicName}), ` +
        `wins ${one.wins}; ${JSON.stringify(one.evaluations)}, teacher ${teacherEvaluations}; ${seconds.toFixed(0)} s`,
    );
    if (output !== undefined) {
      const old = existsSync(output)
        ? (JSON.parse(readFileSync(output, 'utf8')) as { sigmas: number[]; guidance?: { scale: number } }[])
        : [];
      const others = old.filter((table) => table.sigmas.length !== n + 1 || (table.guidance?.scale ?? 1) !== guidance);
      const all = [...others, ...tables].sort((a, b) => a.sigmas.length - b.sigmas.length);
      writeFileSync(output, `${JSON.stringify(all, null, 1)}\n`);
    }
  }
  await pipe.dispose();
  return { guidance, seconds: (performance.now() - began) / 1000, reports };
}
