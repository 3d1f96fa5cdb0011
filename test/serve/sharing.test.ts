// Runs that share network calls, seen from outside: nobody waits for the whole of another's run.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decode } from 'fast-png';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { constant, hasShapes, shapes } from '../pipelines/models.js';
import { all, events, idle, json, post, status, until } from './client.js';

const test = suite('shared runs');
let server: Serving;
test.before(async () => {
  server = await startServer({ folder: constant, port: 0, limits: { steps: 20_000, waiting: 4 } });
});
test.after(() => server.close());
test.after.each(() => idle(server.url));

// By a solver whose plan for so many steps is soon made.
const endless = { prompt: 'red', solver: 'deis', steps: 20_000, guidance: 1 };

test('a run is made while another goes on, and both go on when one is cancelled', async () => {
  const first = events(await post(server.url, { ...endless, seed: 1 }));
  const { data: one } = await until(first, 'started');
  await until(first, 'step');
  const second = events(await post(server.url, { ...endless, seed: 2 }));
  const { data: two } = await until(second, 'started');
  await until(second, 'step');
  assert.equal(await status(server.url), { ready: true, running: 2, waiting: 0 });
  const short = await all(await post(server.url, { prompt: 'red', steps: 3, guidance: 1, seed: 3 }));
  assert.is(short.at(-1)?.event, 'done');
  assert.is(short.at(-1)?.data.nfe, 3);
  await fetch(new URL(`/api/runs/${one.id}`, server.url), { method: 'DELETE' });
  await until(first, 'cancelled');
  await until(second, 'step');
  await fetch(new URL(`/api/runs/${two.id}`, server.url), { method: 'DELETE' });
  await until(second, 'cancelled');
});

test('as many run at once as there is room for in network calls, and the others wait', async () => {
  const own = await startServer({ folder: constant, port: 0, maxBatch: 2, limits: { steps: 20_000, perClient: 9 } });
  try {
    // What there is room for is known from the first call on.
    const first = events(await post(own.url, { ...endless, seed: 0 }));
    await until(first, 'step');
    const others = [];
    for (let seed = 1; seed < 6; seed++) others.push(await post(own.url, { ...endless, seed }));
    // Twice a call's two samples.
    assert.equal(await status(own.url), { ready: true, running: 4, waiting: 2 });
    for (const other of others) await other.body?.cancel();
    await first.return(undefined);
  } finally {
    await own.close();
  }
});

if (hasShapes) {
  test('a picture is the same, bit for bit, whatever is made beside it, where that is asked for', async () => {
    const own = await startServer({ folder: shapes, port: 0, maxBatch: 4, reproducible: true });
    try {
      const settings = { prompt: 'a red circle on a blue background', steps: 4, seed: 7 };
      const draw = async (more: object) =>
        (await all(await post(own.url, { ...settings, ...more }))).at(-1)?.data.images;
      const pixels = (images: string[]) => images.map((png) => Array.from(decode(Buffer.from(png, 'base64')).data));
      const alone = await draw({});
      const [beside] = await Promise.all([
        draw({}),
        draw({ seed: 8, guidance: 1 }),
        draw({ solver: 'ddim', steps: 6 }),
      ]);
      assert.equal(pixels(beside), pixels(alone));
    } finally {
      await own.close();
    }
  });
}

test('the web UI is told how many run', async () => {
  const run = events(await post(server.url, { ...endless, seed: 1 }));
  await until(run, 'step');
  const { state } = await json(await fetch(new URL('/sdapi/v1/progress', server.url)));
  assert.is(state.job_count, 1);
  await run.return(undefined);
});

test.run();
