// Where results lie until they are asked for, by their names. The first that is stored under a name is the result, whoever
// else may have made the same run: so a run that two workers have come to the end of has one.
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { AwsClient } from 'aws4fetch';
import { optional } from '../../base/optional.js';
import type { Redis } from './redis.js';
import { KEPT, PREFIX } from './wire.js';

export interface Store {
  /** As it may be shown. */
  readonly name: string;
  get(key: string): Promise<string | undefined>;
  /** Stores it unless there is one. */
  put(key: string, value: string): Promise<void>;
}

export interface StoreOptions {
  /** `redis`, a folder that all machines see, or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. */
  place?: string;
  /** Bytes of results in Redis, of which the oldest give way. */
  limit?: number;
}

/** Bytes. */
export const DEFAULT_LIMIT = 256 * 1024 * 1024;

export async function openStore(
  redis: Redis,
  { place = 'redis', limit = DEFAULT_LIMIT }: StoreOptions,
): Promise<Store> {
  if (place === 'redis') return new RedisStore(redis, limit);
  if (!/^[a-z][a-z\d+.-]+:/i.test(place)) return openFolder(place);
  const url = new URL(place);
  if (url.protocol === 's3:') return openS3(url);
  throw new TypeError(
    `Expected redis, a folder or s3://BUCKET for the store of results but received '${url.protocol}//'`,
  );
}

/** KEYS: the result, all names by age, their sizes. ARGV: value, bytes, limit, seconds, now. */
const PUT = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local function forget(key)
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[2], key)
  redis.call('HINCRBY', KEYS[3], 'total', -tonumber(redis.call('HGET', KEYS[3], key) or 0))
  redis.call('HDEL', KEYS[3], key)
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', tonumber(ARGV[5]) - tonumber(ARGV[4]))) do forget(key) end
if redis.call('ZSCORE', KEYS[2], KEYS[1]) then forget(KEYS[1]) end
while tonumber(redis.call('HGET', KEYS[3], 'total') or 0) + tonumber(ARGV[2]) > tonumber(ARGV[3]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest then break end
  forget(oldest)
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[5], KEYS[1])
redis.call('HSET', KEYS[3], KEYS[1], ARGV[2])
redis.call('HINCRBY', KEYS[3], 'total', ARGV[2])
return 1`;

class RedisStore implements Store {
  readonly name = 'redis';
  readonly #redis: Redis;
  readonly #limit: number;

  constructor(redis: Redis, limit: number) {
    this.#redis = redis;
    this.#limit = limit;
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#redis.get(`${PREFIX}:/result/${key}`)) ?? undefined;
  }

  async put(key: string, value: string): Promise<void> {
    const keys = [`${PREFIX}:/result/${key}`, `${PREFIX}:/results`, `${PREFIX}:/sizes`];
    // The clock of Redis is the same for all.
    const [now] = await this.#redis.time();
    await this.#redis.eval(PUT, keys.length, ...keys, value, value.length, this.#limit, KEPT, now);
  }
}

async function openFolder(place: string): Promise<Store> {
  const folder = resolve(place);
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new Error(`The store ${place} cannot be made: ${(cause as Error).message}`, { cause });
  }
  const pathOf = (key: string) => join(folder, `${key}.json`);
  return {
    name: place,
    async get(key) {
      try {
        return await readFile(pathOf(key), 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    async put(key, value) {
      const whole = join(folder, `${key}.${randomBytes(8).toString('hex')}.part`);
      await writeFile(whole, value);
      try {
        // A link is there at once with all its bytes, or not at all, and takes nobody's place.
        await link(whole, pathOf(key));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      } finally {
        await rm(whole, { force: true });
      }
    },
  };
}

/** How often a request is tried that the store was too busy for. */
const TRIES = 4;

async function openS3(url: URL): Promise<Store> {
  const what = `The store ${url.protocol}//${url.host}`;
  const { AwsClient: Client } = await optional<{ AwsClient: typeof AwsClient }>('aws4fetch', what);
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: sessionToken } = process.env;
  if (!id || !secret) throw new Error(`${what} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment`);
  const region = url.searchParams.get('region') ?? process.env.AWS_REGION ?? 'us-east-1';
  const endpoint = url.searchParams.get('endpoint') ?? process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL;
  const base = endpoint
    ? `${endpoint.replace(/\/+$/, '')}/${url.host}`
    : `https://${url.host}.s3.${region}.amazonaws.com`;
  const prefix = url.pathname.replace(/^\/+|\/+$/g, '');
  const client = new Client({
    ...{ accessKeyId: id, secretAccessKey: secret, sessionToken, service: 's3', region, retries: TRIES - 1 },
  });
  /** Not all servers that speak S3 know conditions; they answer 501. */
  let conditional = true;
  const addressOf = (key: string) => `${base}/${prefix === '' ? '' : `${prefix}/`}${key}.json`;
  const fail = async (response: Response, verb: string): Promise<never> => {
    const code = /<Code>([^<]*)<\/Code>/.exec(await response.text())?.[1] ?? response.statusText;
    throw new Error(`${what} ${verb} nothing: ${response.status} ${code}`);
  };
  return {
    name: `s3://${url.host}${url.pathname}`,
    async get(key) {
      const response = await client.fetch(addressOf(key));
      if (response.status === 404) return undefined;
      return response.ok ? response.text() : fail(response, 'gives');
    },
    async put(key, value) {
      const type = { 'Content-Type': 'application/json' };
      const put = (headers: Record<string, string>): Promise<Response> =>
        client.fetch(addressOf(key), { method: 'PUT', body: value, headers });
      let response = conditional ? await put({ ...type, 'If-None-Match': '*' }) : undefined;
      if (response?.status === 501) conditional = false;
      if (!conditional) {
        // Between the look and the write another one may come, whose result is then gone: the same run's, in other bits at most.
        const there = await client.fetch(addressOf(key), { method: 'HEAD' });
        if (there.ok) return;
        response = await put(type);
      }
      // There is one already, or another one is being stored just now.
      if (response?.ok || response?.status === 412 || response?.status === 409) return;
      await fail(response as Response, 'takes');
    },
  };
}
