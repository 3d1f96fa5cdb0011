// The server that bench/serve/attack.ts attacks and bench/serve/memory.ts asks for pictures, with another model where one is named: tells
// its port, and its memory when it is asked.
import { fileURLToPath } from 'node:url';
import { startServer } from '../../lib/serve/server.js';
import { watched } from './watched.js';

const [, , given] = process.argv;
const folder = given ?? fileURLToPath(new URL('../../test/fixtures/models/constant', import.meta.url));
const { url, close } = await startServer({ folder, port: 0, limits: { headSeconds: 2, requestSeconds: 3 } });
watched(Number(new URL(url).port), close);
