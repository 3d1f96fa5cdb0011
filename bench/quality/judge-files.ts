/**
 * Judges pictures that a script has written: `npx tsx bench/quality/judge-files.ts PREFIX...`, where PREFIX.f32 holds
 * the pictures (float32, little-endian, [N, 3, 32, 32] in [-1, 1]) and PREFIX.json what they were to show, an array
 * of { shape, color, background }.
 */
import { readFileSync } from 'node:fs';
import type { Prompt, Verdict } from './judge.js';
import { isRight, judge, SHAPES } from './judge.js';

const VALUES = 3 * 32 * 32;

type Expected = Pick<Prompt, 'shape' | 'color' | 'background'>;

function readPictures(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** The share, in percent, of those for which a test holds. */
function percent<T>(items: T[], test: (item: T) => boolean): string {
  return `${((100 * items.filter(test).length) / items.length).toFixed(1)}%`;
}

function describe(verdict: Verdict): string {
  const { color, shape, nearest, background, overlap, foreign } = verdict;
  return `${color} ${shape} (${nearest}) on ${background}, overlap ${overlap.toFixed(2)}, foreign ${foreign.toFixed(2)}`;
}

function judgeFile(prefix: string, verbose: boolean): void {
  const expected = JSON.parse(readFileSync(`${prefix}.json`, 'utf8')) as Expected[];
  const pictures = readPictures(`${prefix}.f32`);
  const results = expected.map((want, i) => {
    const verdict = judge(pictures.subarray(i * VALUES, (i + 1) * VALUES));
    return { i, want, verdict };
  });
  const overlaps = results.map(({ verdict }) => verdict.overlap).sort((a, b) => a - b);
  console.log(
    `${prefix}: ${results.length} pictures, all right ${percent(results, (r) => isRight(r.verdict, r.want))}`,
  );
  console.log(
    `  shape ${percent(results, (r) => r.verdict.shape === r.want.shape)}` +
      `, shape whatever its overlap ${percent(results, (r) => r.verdict.nearest === r.want.shape)}` +
      `, color ${percent(results, (r) => r.verdict.color === r.want.color)}` +
      `, background ${percent(results, (r) => r.verdict.background === r.want.background)}`,
  );
  console.log(
    `  ${SHAPES.map(
      (shape) =>
        `${shape} ${percent(
          results.filter((r) => r.want.shape === shape),
          (r) => r.verdict.shape === shape,
        )}`,
    ).join(', ')}`,
  );
  console.log(`  overlap: least ${overlaps[0].toFixed(3)}, median ${overlaps[overlaps.length >> 1].toFixed(3)}`);
  if (!verbose) return;
  for (const { i, want, verdict } of results.filter((r) => !isRight(r.verdict, r.want))) {
    console.log(`  #${i} ${want.color} ${want.shape} on ${want.background}: ${describe(verdict)}`);
  }
}

const args = process.argv.slice(2);
for (const prefix of args.filter((arg) => arg !== '--verbose')) judgeFile(prefix, args.includes('--verbose'));
