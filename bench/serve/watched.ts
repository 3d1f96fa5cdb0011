// A server in a process of its own, as whoever measures it sees it.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Memory } from './attacks.js';

/** What the process did since it was asked last: how late its event loop was, and seconds of a core. */
export interface Busy {
  delayP99Ms: number;
  cpuSeconds: number;
}

/** Tells the port, and memory and work whenever it is asked; and ends. */
export function watched(port: number, close: () => Promise<void>): void {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  let since = process.cpuUsage();
  process.on('message', (message) => {
    if (message === 'end') return void close().then(() => process.exit(0));
    if (message === 'busy') {
      const { user, system } = process.cpuUsage(since);
      const busy: Busy = { delayP99Ms: delay.percentile(99) / 1e6, cpuSeconds: (user + system) / 1e6 };
      since = process.cpuUsage();
      delay.reset();
      return void process.send!(busy);
    }
    for (let i = 0; i < 4; i++) globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    // Linux and macOS count in kilobytes; Node makes them so everywhere.
    const memory: Memory = { resident: rss, heap: heapUsed, peak: process.resourceUsage().maxRSS * 1024 };
    process.send!(memory);
  });
  // Whoever attacks may be ended in the middle of it.
  process.on('disconnect', () => process.exit());
  process.send!(port);
}
