// What a request has taken is given back when it is over, however it ends: counted on the heap, by what V8 says is alive.
import { ServerResponse } from 'node:http';
import { queryObjects } from 'node:v8';
import { suite } from 'uvu';
import { startServer } from '../../lib/serve/server.js';
import { constant } from '../pipelines/models.js';
import { all, events, eventually, json, until } from './client.js';
import { draw, endless, Fleet, limits, ready } from './fleet.js';
import { hasRedis } from './redis.js';

const test = suite('what requests leave behind');
const fleet = new Fleet();
test.after.each(() => fleet.end());

// Each on a connection of its own: one that is kept belongs to its last request.
const ask = (url: string, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(new URL(path, url), { ...init, headers: { Connection: 'close', 'Content-Type': 'application/json' } });
const send = (url: string, path: string, body: object, init: RequestInit = {}): Promise<Response> =>
  ask(url, path, { method: 'POST', body: JSON.stringify(body), ...init });

type Way = (url: string, seed: number) => Promise<unknown>;
/** Ways to ask, each with all that may come of it. */
const runs: Record<string, Way> = {
  'a run to its end': async (url, seed) => all(await send(url, '/api/runs', { ...draw, seed })),
  'a run that is refused': async (url) => (await send(url, '/api/runs', { ...draw, width: 3 })).text(),
  'a run that is cancelled': async (url, seed) => {
    const stream = events(await send(url, '/api/runs', { ...endless, seed }));
    const { id } = (await until(stream, 'started')).data;
    await ask(url, `/api/runs/${id}`, { method: 'DELETE' });
    await until(stream, 'cancelled');
    await stream.return(undefined);
  },
  'a run whose client leaves': async (url, seed) => {
    const leaving = new AbortController();
    await send(url, '/api/runs', { ...endless, seed }, { signal: leaving.signal });
    leaving.abort();
  },
};
const others: Record<string, Way> = {
  "OpenAI's answer": async (url, seed) =>
    (await send(url, '/v1/images/generations', { prompt: 'red', steps: 2, seed })).text(),
  "OpenAI's stream": async (url, seed) =>
    (await send(url, '/v1/images/generations', { prompt: 'red', steps: 2, seed, stream: true })).text(),
  "the web UI's answer": async (url, seed) =>
    (await send(url, '/sdapi/v1/txt2img', { prompt: 'red', steps: 2, cfg_scale: 1, seed })).text(),
  'the status': async (url) => (await ask(url, '/api/status')).text(),
};

const MANY = 10;
const alive = (): number => queryObjects(ServerResponse, { format: 'count' });

async function leavesNothing(url: string, ways: Record<string, Way>): Promise<void> {
  let seed = 0;
  const each = async (times: number): Promise<void> => {
    for (const way of Object.values(ways)) for (let i = 0; i < times; i++) await way(url, seed++);
    await eventually(async () => {
      const { running, waiting } = await json(await ask(url, '/api/status'));
      return running + waiting === 0;
    }, 'runs were left');
  };
  // What is made once is made now.
  await each(1);
  const before = alive();
  await each(MANY);
  await eventually(
    () => alive() < before + MANY / 2,
    `of ${MANY} requests each of ${Object.keys(ways).join(', ')}, many are held for ever`,
  );
}

test('of a server that draws', async () => {
  const server = await startServer({ folder: constant, port: 0, limits: { ...limits, perClient: 32 } });
  fleet.after(() => server.close());
  await leavesNothing(server.url, { ...runs, ...others });
});

(hasRedis ? test : test.skip)('of a front end', async () => {
  const { url } = await fleet.redis();
  const front = await fleet.front(url, { limits: { ...limits, perClient: 32 } });
  await fleet.worker(url);
  await ready(front.url);
  await leavesNothing(front.url, runs);
});

test.run();
