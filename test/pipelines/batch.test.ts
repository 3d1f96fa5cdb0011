// How many samples a network call has: no more than make it faster, and than there is memory for.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BatchMemory } from '../../lib/pipelines/batch-memory.js';
import { BatchSpeed } from '../../lib/pipelines/batch-speed.js';
import type { Conditioning, Denoiser, Seats, Shape } from '../../lib/pipelines/denoiser.js';
import { SharedNetwork } from '../../lib/pipelines/shared-network.js';

const test = suite('samples of a network call');

test('no more than make it faster', () => {
  const full = new BatchSpeed();
  const gains = new BatchSpeed();
  for (let i = 0; i < 10; i++) {
    for (const size of [1, 2, 4, 8]) {
      // A machine that two samples fill, and one that eight do not.
      full.saw(size, 10 * Math.max(2, size));
      gains.saw(size, 10 + size);
    }
  }
  assert.is(full.most(8), 2);
  assert.is(gains.most(8), 8);
  assert.is(full.most(8, 64), 2);
  // Twice the largest that was seen is tried next.
  assert.is(gains.most(8, 64), 16);
  assert.is(gains.most(8, 12), 12);
  assert.is(gains.most(8, 4), 4);
  // Nothing is known of more than twice what has been tried.
  assert.is(full.most(32), 32);
  const fresh = new BatchSpeed();
  assert.is(fresh.most(16), 16);
  assert.is(fresh.most(16, 64), 16);
  assert.is(fresh.most(16, 3), 3);
});

const MIB = 2 ** 20;

/** A machine with so much memory, of which the process has what it started with and what calls take. */
function machineOf(all: number, started: number, most = started) {
  let bytes = started;
  let peak = most;
  return {
    available: () => all - bytes,
    resident: () => ({ bytes, most: peak }),
    /** A call takes so much, and keeps it where that is said. */
    call(takes: number, keeps: boolean): void {
      peak = Math.max(peak, keeps ? Math.max(bytes, started + takes) : bytes + takes);
      if (keeps) bytes = Math.max(bytes, started + takes);
    },
  };
}

test('as many as there is memory for by what the graph says, before a call', () => {
  const machine = machineOf(1100 * MIB, 100 * MIB);
  assert.is(new BatchMemory(90 * MIB, machine).most, 10, 'nine tenths of what is left');
  assert.is(new BatchMemory(5000 * MIB, machine).most, 1, 'one has to be tried');
});

test('a graph that says too much is held to what calls are seen to take, and one that says too little', () => {
  for (const keeps of [true, false]) {
    const machine = machineOf(1100 * MIB, 100 * MIB);
    const memory = new BatchMemory(900 * MIB, machine);
    for (const samples of [1, 2, 4]) {
      machine.call(samples * 30 * MIB, keeps);
      memory.saw(samples);
    }
    assert.is(memory.bytes, 30 * MIB, `kept: ${keeps}`);
    assert.is(memory.most, 30);
  }
  const machine = machineOf(1100 * MIB, 100 * MIB);
  const memory = new BatchMemory(MIB, machine);
  assert.is(memory.most, 900);
  machine.call(8 * 30 * MIB, true);
  memory.saw(8);
  assert.is(memory.most, 30);
});

test('what loading took at its height is no bound, and says nothing against the graph', () => {
  const machine = machineOf(1100 * MIB, 100 * MIB, 600 * MIB);
  const memory = new BatchMemory(90 * MIB, machine);
  machine.call(90 * MIB, false);
  memory.saw(1);
  assert.is(memory.bytes, 90 * MIB);
  assert.is(memory.most, 10);
});

test('what others take of the machine is heeded after a while', () => {
  let left = 1000 * MIB;
  const memory = new BatchMemory(90 * MIB, {
    available: () => left,
    resident: () => ({ bytes: 100 * MIB, most: 200 * MIB }),
  });
  assert.is(memory.most, 10);
  left = 500 * MIB;
  for (let i = 0; i < 100; i++) memory.saw(1);
  assert.is(memory.most, 5);
});

/** A network that takes a time each, whose calls last as they say by the test's clock. */
function stub(lasts: (samples: number) => number) {
  const clock = performance.now.bind(performance);
  let ahead = 0;
  performance.now = () => clock() + ahead;
  const calls: number[] = [];
  const seats = (size: number): Seats => ({
    size,
    seat: () => undefined,
    put: () => undefined,
    evaluate: async () => {
      calls.push(size);
      ahead += 1000 * lasts(size);
      return { type: 'float32', data: new Float32Array(size * 4), dims: [size, 1, 2, 2] };
    },
  });
  const restore = (): void => {
    performance.now = clock;
  };
  return { denoiser: { timesEach: true, seats } as unknown as Denoiser, calls, restore };
}

const shape: Shape = [1, 2, 2];
const conditioning: Conditioning = new Map();

/** So many runs of one sample, each of so many evaluations. */
async function load(network: SharedNetwork, runs: number, evaluations: number): Promise<void> {
  const x = { type: 'float32' as const, data: new Float32Array(4), dims: [1, ...shape] };
  await Promise.all(
    Array.from({ length: runs }, async (_, i) => {
      const evaluate = await network.for(`${i}`).prepare([conditioning], shape);
      for (let n = 0; n < evaluations; n++) await evaluate(x, 1);
    }),
  );
}

const room = (bytes: number) => () =>
  new BatchMemory(MIB, { available: () => bytes / 0.9, resident: () => ({ bytes: 0, most: 1e12 }) });

test('calls of a network grow while that makes a picture faster, and stop where it does not', async () => {
  for (const [fills, expected] of [
    [1, 1],
    [8, 8],
    [16, 16],
    [24, 32],
    [1000, 64],
  ]) {
    const { denoiser, calls, restore } = stub((samples) => Math.max(fills, samples));
    try {
      const network = new SharedNetwork(denoiser, { memoryOf: room(1000 * MIB) });
      assert.is(network.most(shape), 16, 'before anything is known');
      // Few at first, so that small calls are known too.
      for (const runs of [1, 2, 4, 8, 100]) await load(network, runs, 12);
      assert.is(network.most(shape), expected, `filled by ${fills}`);
      assert.ok(Math.max(...calls) <= 64, `${calls}`);
    } finally {
      restore();
    }
  }
});

test('and where there is no more memory', async () => {
  for (const [samples, expected] of [
    [3, 3],
    [16, 16],
    [40, 40],
  ]) {
    const { denoiser, calls, restore } = stub(() => 1);
    try {
      const network = new SharedNetwork(denoiser, { memoryOf: room(samples * MIB) });
      await load(network, 100, 12);
      assert.is(Math.max(...calls), expected);
      assert.is(network.most(shape), expected);
    } finally {
      restore();
    }
  }
  // Of a card's memory nothing is known; who says how many it may be is believed.
  for (const [options, expected] of [
    [{}, 16],
    [{ maxBatch: 5, memoryOf: room(MIB) }, 5],
    [{ maxBatch: 5, reproducible: true }, 5],
    [{ reproducible: true, memoryOf: room(1000 * MIB) }, 16],
  ] as const) {
    const { denoiser, calls, restore } = stub(() => 1);
    try {
      await load(new SharedNetwork(denoiser, options), 100, 12);
      assert.is(Math.max(...calls), expected);
    } finally {
      restore();
    }
  }
});

test.run();
