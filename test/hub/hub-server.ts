// A small hub on loopback, which answers as Hugging Face's does: listings with checksums, redirects to another origin that has
// the large files, ranges; and whatever goes wrong on the way.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** What becomes of a request: undefined lets it through. */
export type Fault =
  | { status: number; headers?: Record<string, string> }
  /** The connection ends after so many bytes of the body. */
  | { cut: number }
  /** Other bytes than there are. */
  | { bytes: Uint8Array }
  /** It never answers. */
  | 'silent';

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly origin: 'hub' | 'store';
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

type Files = Map<string, Uint8Array>;

export class Hub {
  /** By `org/name`, files by their paths. */
  readonly repositories = new Map<string, Files>();
  /** Everything that was asked for. */
  readonly asked: Asked[] = [];
  /** What goes wrong. */
  fault: (asked: Asked, times: number) => Fault | undefined = () => undefined;
  /** Files from this size on are git-lfs', and lie at the other origin. */
  large = 20_000;
  ranges = true;
  /** Whoever has none of these may not read. */
  token: string | undefined;
  /** Are listings for everybody, and files for those who have accepted the terms? */
  gated = false;
  /** Sizes that it tells of files, by their paths, in place of their own. */
  readonly sizes = new Map<string, number>();
  /** Does its list tell sizes and checksums? Those that stand in for a hub may not. */
  told = true;
  /** Milliseconds in the middle of a large file. */
  delay = 0;
  readonly #times = new Map<string, number>();
  readonly #servers: Server[] = [];
  #store = '';
  endpoint = '';

  static async start(): Promise<Hub> {
    const hub = new Hub();
    const listen = async (origin: Asked['origin'], name: string): Promise<string> => {
      const server = createServer((request, response) => hub.#answer(origin, request, response));
      hub.#servers.push(server);
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      return `http://${name}:${(server.address() as AddressInfo).port}`;
    };
    hub.#store = await listen('store', 'localhost');
    hub.endpoint = await listen('hub', '127.0.0.1');
    return hub;
  }

  /** A repository of a folder's files, with others beside them, or without some (null). */
  add(name: string, folder: string, more: Record<string, Uint8Array | null> = {}): Files {
    const files: Files = new Map();
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      files.set(path.slice(folder.length + 1).replaceAll('\\', '/'), readFileSync(path));
    }
    for (const [path, bytes] of Object.entries(more)) {
      if (bytes === null) files.delete(path);
      else files.set(path, bytes);
    }
    this.repositories.set(name, files);
    return files;
  }

  commit(name: string): string {
    const hash = createHash('sha1');
    for (const [path, bytes] of this.repositories.get(name) as Files) hash.update(path).update(bytes);
    return hash.digest('hex');
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  #answer(origin: Asked['origin'], request: IncomingMessage, response: ServerResponse): void {
    const url = decodeURIComponent(request.url as string);
    const { authorization, range } = request.headers;
    const asked: Asked = { method: request.method as string, url, origin, authorization, range };
    this.asked.push(asked);
    const times = this.#times.get(url) ?? 0;
    this.#times.set(url, times + 1);
    const fault = this.fault(asked, times);
    if (fault === 'silent') return;
    if (fault && 'status' in fault) response.writeHead(fault.status, fault.headers).end();
    else if (origin === 'hub') this.#ask(asked, request, response, fault);
    else {
      const [, name, path] = /^\/([^/]+\/[^/]+)\/(.*)$/.exec(url) as RegExpExecArray;
      this.#send(this.repositories.get(name)?.get(path) as Uint8Array, request, response, fault);
    }
  }

  #ask({ url, authorization }: Asked, request: IncomingMessage, response: ServerResponse, fault?: Fault): unknown {
    const refuse = (status: number, code?: string) => {
      response.writeHead(status, code === undefined ? {} : { 'x-error-code': code }).end();
    };
    const revision = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/([^?]+)/.exec(url);
    const tree = /^\/api\/models\/([^/]+\/[^/]+)\/tree\/([^?]+)\?/.exec(url);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.*)$/.exec(url);
    const [, name = '', at = '', path = ''] = revision ?? tree ?? file ?? [];
    const may = this.token === undefined || authorization === `Bearer ${this.token}`;
    const files = this.repositories.get(name);
    if (this.gated && file && !may) return refuse(authorization === undefined ? 401 : 403, 'GatedRepo');
    if (!this.gated && !may) return refuse(401, 'RepoNotFound');
    if (!files) return refuse(authorization === undefined ? 401 : 404, 'RepoNotFound');
    const commit = this.commit(name);
    if (!['main', 'onnx', 'refs/pr/1', commit].includes(at)) return refuse(404, 'RevisionNotFound');
    const json = (value: object) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    if (revision) {
      json({ id: name, sha: commit, siblings: [...files].map((file) => this.#sibling(...file)) });
    } else if (tree) {
      const entries = [...files].map(([path, bytes]) => {
        const { size, blobId, lfs } = this.#described(path, bytes);
        const large = lfs && { lfs: { oid: lfs.sha256, size: lfs.size, pointerSize: lfs.pointerSize } };
        return { type: 'file', path, size, oid: blobId, ...large };
      });
      json(entries);
    } else {
      const bytes = files.get(path);
      if (!bytes) return refuse(404, 'EntryNotFound');
      const { blobId, lfs } = this.#described(path, bytes);
      response.setHeader('x-repo-commit', commit);
      response.setHeader('etag', `"${lfs?.sha256 ?? blobId}"`);
      if (!lfs) return this.#send(bytes, request, response, fault);
      response.setHeader('x-linked-etag', `"${lfs.sha256}"`);
      response.setHeader('x-linked-size', lfs.size);
      response.writeHead(302, { location: encodeURI(`${this.#store}/${name}/${path}`) }).end();
    }
  }

  #sibling(path: string, bytes: Uint8Array) {
    return this.told ? this.#described(path, bytes) : { rfilename: path };
  }

  #described(path: string, bytes: Uint8Array) {
    const blobId = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
    const size = this.sizes.get(path) ?? bytes.length;
    if (size < this.large) return { rfilename: path, size, blobId };
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return { rfilename: path, size, blobId, lfs: { sha256, size, pointerSize: 130 } };
  }

  #send(whole: Uint8Array, request: IncomingMessage, response: ServerResponse, fault?: Fault): unknown {
    const bytes = typeof fault === 'object' && 'bytes' in fault ? fault.bytes : whole;
    const asked = this.ranges ? /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') : null;
    const from = Number(asked?.[1] ?? 0);
    if (asked && from >= bytes.length) {
      response.writeHead(416).end();
      return;
    }
    const part = bytes.subarray(from);
    response.writeHead(asked ? 206 : 200, {
      'content-length': part.length,
      ...(asked ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    if (request.method === 'HEAD') response.end();
    else if (typeof fault === 'object' && 'cut' in fault) {
      response.write(part.subarray(0, fault.cut), () => setTimeout(() => response.destroy(), 100));
    } else if (this.delay > 0 && whole.length >= this.large) {
      response.write(part.subarray(0, part.length >> 1));
      setTimeout(() => response.end(part.subarray(part.length >> 1)), this.delay).unref();
    } else response.end(part);
  }
}
