// Where results lie: the first one stays, whoever else stores one, in Redis, a folder and an S3-compatible store.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AwsClient } from 'aws4fetch';
import { Redis } from 'ioredis';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore, type Store } from '../../lib/serve/workers/store.js';
import { eventually } from './client.js';
import { freePort, hasRedis, TestRedis } from './redis.js';

const test = suite('stores');
const withRedis = hasRedis ? test : test.skip;
if (!hasRedis) console.log('skipped: no redis-server here');
const none = undefined as unknown as Redis;

/** Ten at once: one of them is there from then on. */
async function firstWins(store: Store): Promise<void> {
  assert.is(await store.get('a'), undefined);
  await Promise.all(Array.from({ length: 10 }, (_, i) => store.put('a', `"${i}"`)));
  const first = await store.get('a');
  assert.match(String(first), /^"\d"$/);
  await store.put('a', '"late"');
  assert.is(await store.get('a'), first);
  await store.put('b', '"other"');
  assert.is(await store.get('b'), '"other"');
}

test('a folder, in which nothing is left half-written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-results-'));
  try {
    await firstWins(await openStore(none, { place: join(folder, 'of/results') }));
    assert.equal(readdirSync(join(folder, 'of/results')).sort(), ['a.json', 'b.json']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

withRedis('Redis, whose oldest results give way', async () => {
  const server = await TestRedis.start();
  const redis = new Redis(server.url);
  try {
    await firstWins(await openStore(redis, {}));
    const small = await openStore(redis, { limit: 1000 });
    for (let i = 0; i < 10; i++) await small.put(`large ${i}`, String(i).repeat(300));
    const left = await Promise.all(Array.from({ length: 10 }, (_, i) => small.get(`large ${i}`)));
    assert.is(left.filter((value) => value !== undefined).length, 3);
    assert.is(left[9], '9'.repeat(300));
    // One that is larger than all that may be is there for who waits for it, and for nobody long.
    await small.put('huge', 'x'.repeat(5000));
    assert.is((await small.get('huge'))?.length, 5000);
    await small.put('next', 'y');
    assert.is(await small.get('huge'), undefined);
    assert.is(await small.get('next'), 'y');
  } finally {
    redis.disconnect();
    await server.stop();
  }
});

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
const sha = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');

/** The signature that a request should have, as AWS publishes it (Signature Version 4). */
function signature(request: IncomingMessage, secret: string): { expected: string; found: string } {
  const authorization = request.headers.authorization as string;
  const [, credential, signed, found] =
    /Credential=[^/]+\/(\S+), ?SignedHeaders=(\S+), ?Signature=(\w+)/.exec(authorization) ?? [];
  const [day, region, service, last] = credential.split('/');
  const { pathname, searchParams } = new URL(request.url as string, 'http://x');
  const headers = signed.split(';').map((name) => `${name}:${String(request.headers[name]).trim()}\n`);
  const payload = request.headers['x-amz-content-sha256'] as string;
  const canonical = [request.method, pathname, searchParams, headers.join(''), signed, payload].join('\n');
  const text = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], credential, sha(canonical)].join('\n');
  const key = [region, service, last].reduce<Buffer>((own, part) => hmac(own, part), hmac(`AWS4${secret}`, day));
  return { expected: hmac(key, text).toString('hex'), found };
}

test("a bucket, by signed requests that take nobody's place", async () => {
  const objects = new Map<string, string>();
  const wrong: string[] = [];
  let busy = 2;
  const server = createServer(async (request, response) => {
    const body: Buffer[] = [];
    for await (const part of request) body.push(part as Buffer);
    const end = (status: number, text = '') => response.writeHead(status).end(text);
    const { expected, found } = signature(request, 'secret');
    if (expected !== found) wrong.push(`${request.method} ${request.url}`);
    if (busy-- > 0) return end(503, '<Error><Code>SlowDown</Code></Error>');
    const path = request.url as string;
    if (path.includes('denied')) return end(403, '<Error><Code>AccessDenied</Code></Error>');
    if (path.includes('plain') && request.headers['if-none-match'])
      return end(501, '<Error><Code>NotImplemented</Code></Error>');
    if (request.method === 'HEAD') return end(objects.has(path) ? 200 : 404);
    if (request.method === 'GET') return objects.has(path) ? end(200, objects.get(path)) : end(404);
    if (request.headers['if-none-match'] === '*' && objects.has(path)) return end(412);
    objects.set(path, Buffer.concat(body).toString());
    return end(200);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const before = { ...process.env };
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' });
  try {
    const place = `s3://bucket/some/results?endpoint=${encodeURIComponent(endpoint)}&region=eu-central-1`;
    const store = await openStore(none, { place });
    assert.is(store.name, 's3://bucket/some/results');
    await firstWins(store);
    assert.equal([...objects.keys()].sort(), ['/bucket/some/results/a.json', '/bucket/some/results/b.json']);
    const plain = await openStore(none, { place: place.replace('some/results', 'plain') });
    for (let i = 0; i < 3; i++) await plain.put('a', `"${i}"`);
    assert.is(await plain.get('a'), '"0"', 'also of a server that knows no conditions');
    const error = await store.get('denied').catch((cause: Error) => cause);
    assert.is((error as Error).message, 'The store s3://bucket gives nothing: 403 AccessDenied');
    assert.equal(wrong, []);
    delete process.env.AWS_SECRET_ACCESS_KEY;
    const without = await openStore(none, { place }).catch((cause: Error) => cause);
    assert.match(
      (without as Error).message,
      /^The store s3:\/\/bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/,
    );
  } finally {
    process.env = before;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** Debian's python3-swift; its own interpreter has it. */
const PYTHON = '/usr/bin/python3';
const hasSwift = spawnSync(PYTHON, ['-c', 'import swift.common.middleware.s3api']).status === 0;
if (!hasSwift) console.log('skipped: no OpenStack Swift here (python3-swift)');

(hasSwift ? test : test.skip)(
  'a bucket of OpenStack Swift, which checks signatures and knows no conditions',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-swift-'));
    const port = await freePort(4);
    const script = fileURLToPath(new URL('./s3-server.py', import.meta.url));
    const child = spawn(PYTHON, [script, folder, String(port)], { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const before = { ...process.env };
    try {
      const endpoint = `http://127.0.0.1:${port}`;
      await eventually(() => fetch(endpoint).then(Boolean, () => false), 'Swift does not answer');
      const key = { accessKeyId: 'test:tester', secretAccessKey: 'testing' };
      const client = new AwsClient({ ...key, service: 's3', region: 'eu-central-1' });
      const made = await client.fetch(`${endpoint}/results`, { method: 'PUT' });
      assert.is(made.status, 200, await made.text());
      const place = `s3://results/some results/ü?endpoint=${encodeURIComponent(endpoint)}&region=eu-central-1`;
      const open = (secret: string): Promise<Store> => {
        Object.assign(process.env, { AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: secret });
        return openStore(none, { place });
      };
      const store = await open(key.secretAccessKey);
      assert.is(await store.get('a'), undefined);
      for (let i = 0; i < 3; i++) await store.put('a', `"${i}"`);
      assert.is(await store.get('a'), '"0"');
      // Whoever opens it later finds it, in letters of any kind.
      await store.put('b', '"Höhle 日本"');
      const other = await open(key.secretAccessKey);
      assert.is(await other.get('a'), '"0"');
      assert.is(await other.get('b'), '"Höhle 日本"');
      const wrong = await (await open('wrong')).get('a').catch((cause: Error) => cause);
      assert.is((wrong as Error).message, 'The store s3://results gives nothing: 403 SignatureDoesNotMatch');
      const none403 = await (await open('wrong')).put('c', '""').catch((cause: Error) => cause);
      assert.match((none403 as Error).message, /^The store s3:\/\/results takes nothing: 403/);
    } finally {
      process.env = before;
      child.stdin.end();
      await ended;
      rmSync(folder, { recursive: true });
    }
  },
);

test('refuses other places in a sentence', async () => {
  const error = await openStore(none, { place: 'ftp://host/x' }).catch((cause: Error) => cause);
  assert.match(
    (error as Error).message,
    /^Expected redis, a folder or s3:\/\/BUCKET for the store of results but received 'ftp:\/\/'$/,
  );
  const file = join(mkdtempSync(join(tmpdir(), 'dpm-solver-results-')), 'file');
  writeFileSync(file, '');
  const taken = await openStore(none, { place: join(file, 'x') }).catch((cause: Error) => cause);
  assert.match((taken as Error).message, /^The store .* cannot be made: /);
});

test.run();
