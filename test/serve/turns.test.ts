// Whose turn it is, and what those are told who find no place: by themselves, without a server.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Hono } from 'hono';
import { type Env, full } from '../../lib/serve/answers.js';
import { Turns } from '../../lib/serve/turns.js';
import { json } from './client.js';

const test = suite('turns');

const entry = (id: string, work = 1, user?: string) => ({ client: { id, user }, work, name: `${id}${user ?? ''}` });
const order = (turns: Turns<ReturnType<typeof entry>>) => Array.from(turns, ({ name }) => name).join(' ');

test('clients take turns, however much one asks for', () => {
  const turns = new Turns<ReturnType<typeof entry>>();
  for (let i = 0; i < 4; i++) turns.add(entry('a'));
  turns.add(entry('b'));
  turns.add(entry('c'));
  assert.is(order(turns), 'a b c a a a');
});

test('what is large counts as much as many small ones', () => {
  const turns = new Turns<ReturnType<typeof entry>>();
  for (let i = 0; i < 2; i++) turns.add(entry('a', 4));
  for (let i = 0; i < 6; i++) turns.add(entry('b', 1));
  assert.is(order(turns), 'a b b b b a b b');
});

test('the users of one client share its turns', () => {
  const turns = new Turns<ReturnType<typeof entry>>();
  for (let i = 0; i < 3; i++) turns.add(entry('a', 1, 'x'));
  turns.add(entry('a', 1, 'y'));
  for (let i = 0; i < 3; i++) turns.add(entry('b'));
  assert.is(order(turns), 'ax b ay b ax b ax');
});

test('nobody saves up turns while nothing of his waits', () => {
  const turns = new Turns<ReturnType<typeof entry>>();
  const take = () => {
    const [first] = turns;
    turns.take(first);
    return first.name;
  };
  for (let i = 0; i < 5; i++) {
    turns.add(entry('a'));
    take();
  }
  turns.add(entry('a'));
  for (let i = 0; i < 4; i++) turns.add(entry('b'));
  assert.is(order(turns).indexOf('a') <= 2, true, order(turns));
});

test('over a long time everybody who waits all the time gets the same', () => {
  const turns = new Turns<ReturnType<typeof entry>>();
  const sizes: Record<string, number> = { a: 1, b: 7, c: 3 };
  const got: Record<string, number> = { a: 0, b: 0, c: 0 };
  for (const [id, work] of Object.entries(sizes)) for (let i = 0; i < 3; i++) turns.add(entry(id, work));
  for (let i = 0; i < 3000; i++) {
    const [first] = turns;
    turns.take(first);
    got[first.client.id] += first.work;
    turns.add(entry(first.client.id, first.work));
  }
  const values = Object.values(got);
  assert.ok(Math.max(...values) - Math.min(...values) <= 14, JSON.stringify(got));
});

test('clients are told to wait for a minute at most, and not at all where it is more', async () => {
  for (const [seconds, after, retry] of [
    [1, '1', null],
    [60, '60', null],
    [61, null, 'false'],
  ] as const) {
    const app = new Hono<Env>();
    app.get('/v1/x', (c) => full(c, 'There is none', seconds));
    const response = await app.request('/v1/x');
    assert.is(response.status, 429);
    assert.is(response.headers.get('retry-after'), after);
    assert.is(response.headers.get('x-should-retry'), retry);
    assert.is((await json(response)).error.code, 'rate_limit_exceeded');
  }
});

test.run();
