// The server that bench/serve/attack.ts attacks and bench/serve/memory.ts asks for pictures, with another model where one is named: tells
// its port, and its memory when it is asked.
import { fileURLToPath } from 'node:url';
import { startServer } from '../../lib/serve/server.js';

const [, , given] = process.argv;
const folder = given ?? fileURLToPath(new URL('../../test/fixtures/models/constant', import.meta.url));
const { url, close } = await startServer({ folder, port: 0, limits: { headSeconds: 2, requestSeconds: 3 } });
process.on('message', (message) => {
  if (message === 'end') close().then(() => process.exit(0));
  else {
    for (let i = 0; i < 4; i++) globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    // Linux and macOS count in kilobytes; Node makes them so everywhere.
    process.send!({ resident: rss, heap: heapUsed, peak: process.resourceUsage().maxRSS * 1024 });
  }
});
// Whoever attacks may be ended in the middle of it.
process.on('disconnect', () => process.exit());
process.send!(Number(new URL(url).port));
