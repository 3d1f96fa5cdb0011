// How much memory this process may still take: what the machine has, what its control groups leave it (containers are made
// of them), and what its own limits say.
import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';

/** Bytes that can still be taken, and who says so. */
export interface Room {
  readonly bytes: number;
  /** `'machine'`; `'group'`: a control group, as a container has one; `'limit'`: the process's own, as `ulimit -v` sets it. */
  readonly by: 'machine' | 'group' | 'limit';
}

/**
 * The memory that this process can still take without swapping or being killed.
 *
 * Of a control group what its files are cached in counts as free, as it does of the machine: Node's own
 * `process.availableMemory()` counts it as taken, and a model's weights, once read, fill it.
 *
 * @param root where `/proc` and `/sys` are looked for; tests have their own
 */
export function availableMemory(root = '/'): Room {
  const shared = sharedMemory(root);
  const limit = limitRoom(root);
  return limit !== undefined && limit < shared.bytes ? { bytes: limit, by: 'limit' } : shared;
}

/** The same for a process that is yet to be started: without what this one's own limit leaves. */
export function sharedMemory(root = '/'): Room {
  const bytes = machineRoom(root);
  const group = groupRoom(root);
  return group !== undefined && group < bytes ? { bytes: group, by: 'group' } : { bytes, by: 'machine' };
}

function read(...path: string[]): string | undefined {
  try {
    return readFileSync(join(...path), 'utf8');
  } catch {
    return undefined;
  }
}

/** What the kernel takes for free, caches that it can drop included. */
function machineRoom(root: string): number {
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(read(root, 'proc/meminfo') ?? '')?.[1];
  if (kib !== undefined) return Number(kib) * 1024;
  // Of macOS this counts inactive pages too, of Windows it is what freemem says.
  return process.availableMemory?.() ?? freemem();
}

/** What the narrowest group that this process is in leaves it; undefined where none has a limit. */
function groupRoom(root: string): number | undefined {
  let least: number | undefined;
  const consider = (limit: string | undefined, used: string | undefined, stat: string | undefined): void => {
    const [most, taken] = [Number(limit), Number(used)];
    // 'max', or for the first version a number beyond all memory, is no limit.
    if (limit === undefined || limit.trim() === '' || !(most < 2 ** 60) || !Number.isFinite(taken)) return;
    const room = Math.max(0, most - taken + cached(stat, 'inactive_file') + cached(stat, 'active_file'));
    least = Math.min(least ?? room, room);
  };
  for (const line of (read(root, 'proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    const second = controllers === '';
    if (!second && !controllers.split(',').includes('memory')) continue;
    const base = join(root, second ? 'sys/fs/cgroup' : 'sys/fs/cgroup/memory');
    const [most, used] = second ? ['memory.max', 'memory.current'] : ['memory.limit_in_bytes', 'memory.usage_in_bytes'];
    // In a container the path may be the host's, and its root is the group itself.
    const parts = path.split('/').filter((part) => part !== '' && part !== '..');
    for (let n = parts.length; n >= 0; n--) {
      const folder = join(base, ...parts.slice(0, n));
      consider(read(folder, most), read(folder, used), read(folder, 'memory.stat'));
    }
  }
  return least;
}

/** Bytes that a group's files are cached in; the first version counts those of the groups below apart. */
function cached(stat: string | undefined, name: string): number {
  const found =
    new RegExp(`^total_${name} (\\d+)`, 'm').exec(stat ?? '') ?? new RegExp(`^${name} (\\d+)`, 'm').exec(stat ?? '');
  return Number(found?.[1] ?? 0);
}

/** What `ulimit -v` leaves: addresses, of which a process takes more than memory. */
function limitRoom(root: string): number | undefined {
  const most = /^Max address space\s+(\d+)/m.exec(read(root, 'proc/self/limits') ?? '')?.[1];
  const kib = /^VmSize:\s+(\d+) kB/m.exec(read(root, 'proc/self/status') ?? '')?.[1];
  if (most === undefined || kib === undefined) return undefined;
  return Math.max(0, Number(most) - Number(kib) * 1024);
}
