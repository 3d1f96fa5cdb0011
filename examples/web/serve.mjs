// A server for the page beside this file, with all that it needs from this machine:
//
//     npm install dpm-solver onnxruntime-web
//     node node_modules/dpm-solver/examples/web/serve.mjs 8080
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const { resolve } = createRequire(import.meta.url);
/** Where the page's folders are. */
const FOLDERS = {
  'dpm-solver': join(here, '../../dist'),
  models: join(here, '../../models'),
  'onnxruntime-web': dirname(resolve('onnxruntime-web')),
  tokenizers: dirname(resolve('@huggingface/tokenizers')),
};
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/**
 * Serves the page, compressed.
 *
 * @param port 0 is any that is free
 * @param onSent told of every answer: its path and the bytes of its body
 */
export async function serve(port, onSent = () => {}) {
  const compressed = new Map();
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://page').pathname)).replaceAll('\\', '/');
    const [, folder, ...rest] = (path === '/' ? '/index.html' : path).split('/');
    const file = Object.hasOwn(FOLDERS, folder) ? join(FOLDERS[folder], ...rest) : join(here, folder, ...rest);
    if (!TYPES[extname(file)] && extname(file) !== '.onnx') return response.writeHead(404).end();
    if (!compressed.has(file)) {
      if (!existsSync(file)) return response.writeHead(404).end();
      compressed.set(file, gzipSync(readFileSync(file)));
    }
    const body = compressed.get(file);
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, 'content-encoding': 'gzip' }).end(body);
    onSent(path, body.length);
  });
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening));
  return server;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await serve(Number(process.argv[2] ?? 8080));
  console.log(`http://127.0.0.1:${server.address().port}`);
}
