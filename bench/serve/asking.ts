// Clients of many machines, who count what comes of their runs.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Counts {
  asked: number;
  /** Times that a run was not taken, since the queue was away, and nothing begun. */
  refused: number;
  done: number;
  failed: number;
  /** Streams that ended without an end. */
  lost: number;
  /** Second ends of a stream, and whatever came after the first. */
  twice: number;
  /** Streams that were begun again. */
  again: number;
  /** Runs by seed that had other bytes than the first of them. */
  differing: number;
}

/** What came of each seed first, as a hash. */
export const pictures = new Map<number, string>();
export const none = (): Counts => ({
  ...{ asked: 0, refused: 0, done: 0, failed: 0, lost: 0, twice: 0, again: 0, differing: 0 },
});

/** One run. Where nobody takes it (503) it is asked for once more, as clients do. */
export async function ask(url: string, seed: number, counts: Counts): Promise<void> {
  counts.asked++;
  let ends = 0;
  let begun = 0;
  try {
    let response: Response;
    let text: string;
    for (;;) {
      response = await fetch(new URL('/api/runs', url), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Connection: 'close' },
        body: JSON.stringify({ prompt: 'a red circle', steps: 10, seed, guidance: 3 }),
      });
      text = await response.text();
      if (response.status !== 503) break;
      counts.refused++;
      await sleep(500);
    }
    if (response.status !== 200) throw new Error(text);
    for (const [, event, data] of text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)) {
      if (ends > 0) counts.twice++;
      if (event === 'started') begun++;
      if (event !== 'done' && event !== 'failed' && event !== 'cancelled') continue;
      ends++;
      if (event !== 'done') {
        counts.failed++;
        console.log(`seed ${seed}: ${data}`);
        continue;
      }
      counts.done++;
      const [image] = (JSON.parse(data) as { images: string[] }).images;
      const hash = createHash('sha256').update(image).digest('hex');
      const before = pictures.get(seed);
      if (before === undefined) pictures.set(seed, hash);
      else if (before !== hash) counts.differing++;
    }
  } catch (error) {
    console.log(`seed ${seed}: ${(error as Error).message}`);
  }
  if (ends === 0) counts.lost++;
  if (begun > 1) counts.again++;
}
