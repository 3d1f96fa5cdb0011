// Who attacks, for bench/serve/attack.ts: a process of its own that all others go before, so that what is measured is the
// server's delay and not that of a machine which has more attackers than cores.
import { setPriority } from 'node:os';
import { crowd, kinds, type Target } from './attacks.js';

export interface Attack {
  target: Target;
  kind: string;
  attackers: number;
  seconds: number;
}

setPriority(5);
process.on('message', async ({ target, kind, attackers, seconds }: Attack) => {
  const until = performance.now() + seconds * 1000;
  const before = process.cpuUsage();
  const count = await crowd(
    kinds.find(({ name }) => name === kind)!,
    target,
    attackers,
    () => performance.now() < until,
  );
  const { user, system } = process.cpuUsage(before);
  process.send!({ count, cpuSeconds: (user + system) / 1e6 });
});
process.on('disconnect', () => process.exit());
