// The least that a server of Node's can be: it answers everything with one sentence. What bench/serve/attack.ts compares with.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { watched } from './watched.js';

const body = '{"ready":true,"running":0,"waiting":0}';
const server = createServer(
  { headersTimeout: 2000, requestTimeout: 3000, connectionsCheckingInterval: 1000 },
  (request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length });
    response.end(body);
  },
);
server.listen(0, '127.0.0.1', () => watched((server.address() as AddressInfo).port, async () => undefined));
