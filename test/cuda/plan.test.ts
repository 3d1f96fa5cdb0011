import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addon } from '../../lib/addon/native.js';

// The launch planner: what it promises for every shape and card, and what it answers for those that matter.
interface Plan {
  kernel: 'step' | 'cluster' | 'team' | 'wide' | 'wide-select';
  grid: number;
  gridY: number;
  threads: number;
  sharedBytes: number;
  cooperative: boolean;
  team: number;
  teams: number;
  slice: number;
  resident: number;
  workspaceBytes: number;
}
interface Card {
  multiprocessors: number;
  sharedBytes: number;
  maxCluster: number;
  cooperative: boolean;
}
interface Wish {
  batch: number;
  n: number;
  type?: 0 | 1 | 2 | 4;
  general?: boolean;
  quantile?: boolean;
}

const H200: Card = { multiprocessors: 132, sharedBytes: 232448, maxCluster: 16, cooperative: true };
const A100: Card = { multiprocessors: 108, sharedBytes: 166912, maxCluster: 0, cooperative: true };
const T4: Card = { multiprocessors: 40, sharedBytes: 65536, maxCluster: 0, cooperative: true };

function plan(card: Card, wish: Wish): Plan {
  const { batch, n, type = 1, general = false, quantile = false } = wish;
  const flags = [general ? 1 : 0, quantile ? 1 : 0];
  const f = addon.cudaPlan as (...all: number[]) => Plan;
  const { multiprocessors, sharedBytes, maxCluster, cooperative } = card;
  return f(multiprocessors, sharedBytes, maxCluster, cooperative ? 1 : 0, batch, n, type, ...flags);
}

const cards = fc.record({
  multiprocessors: fc.integer({ min: 1, max: 200 }),
  sharedBytes: fc.constantFrom(49152, 65536, 101376, 166912, 232448),
  maxCluster: fc.constantFrom(0, 8, 16),
  cooperative: fc.boolean(),
});
const wishes = fc.record({
  batch: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 200000 })),
  n: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 4_000_000 }), fc.constant(4294967295)),
  type: fc.constantFrom<0 | 1 | 4>(0, 1, 4),
  general: fc.boolean(),
});

const planner = suite('the CUDA launch planner');

planner('plain steps cover every element and fill the card without swamping it', () => {
  fc.assert(
    fc.property(cards, wishes, (card, wish) => {
      const p = plan(card, wish);
      assert.is(p.kernel, 'step');
      assert.ok([64, 128, 256].includes(p.threads));
      assert.ok(p.gridY >= 1 && p.gridY <= 65535 && p.gridY <= wish.batch);
      const vectors = Math.ceil(wish.n / (wish.type === 1 || wish.general ? 4 : 8));
      assert.ok(p.grid >= 1 && p.grid <= Math.ceil(vectors / p.threads));
      // As many blocks as there are vectors for, or enough for several waves.
      assert.ok(p.grid === Math.ceil(vectors / p.threads) || p.grid * p.gridY >= 16 * card.multiprocessors);
      assert.ok(p.grid * p.gridY <= 16 * card.multiprocessors + p.gridY);
      assert.ok(p.sharedBytes <= 1024 && !p.cooperative && p.workspaceBytes === 0);
    }),
    { numRuns: 2000 },
  );
});

planner('thresholded steps give every element to one block, within the shared memory', () => {
  fc.assert(
    fc.property(cards, wishes, (card, wish) => {
      const p = plan(card, { ...wish, quantile: true });
      assert.ok(p.kernel === 'cluster' || p.kernel === 'team');
      assert.is(p.threads, wish.general ? 256 : 512);
      assert.is(2048 % p.threads, 0);
      assert.ok(p.slice % 8 === 0 && p.resident % 8 === 0 && p.resident <= p.slice);
      assert.ok(p.slice * p.team >= wish.n, 'all elements');
      assert.ok(p.slice * p.team < wish.n + 8 * p.team, 'no more than rounding adds');
      assert.ok(p.sharedBytes <= card.sharedBytes);
      assert.ok(p.sharedBytes - 4 * p.resident < 26_000, 'what is not predictions is small');
      assert.is(p.grid, p.team * p.teams);
      assert.ok(p.grid < 2 ** 31 && p.gridY === 1 && p.teams >= 1 && p.teams <= wish.batch);
      if (p.kernel === 'cluster') {
        assert.ok(p.team <= card.maxCluster && Number.isInteger(Math.log2(p.team)));
        assert.is(p.resident, p.slice, 'clusters keep the whole sample on the chip');
        assert.is(p.teams, wish.batch);
        assert.ok(!p.cooperative && p.workspaceBytes === 0);
      } else {
        assert.is(p.cooperative, p.team > 1);
        assert.is(p.workspaceBytes > 0, p.team > 1);
        // Blocks that wait for each other all have to be there.
        if (p.cooperative) assert.ok(card.cooperative && p.grid <= card.multiprocessors);
        if (card.cooperative && p.resident < p.slice) assert.is(p.team, card.multiprocessors);
      }
    }),
    { numRuns: 3000 },
  );
});

planner('a sample that fits a cluster is given one, a larger one the whole card', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3_000_000 }), (n) => {
      const fits = plan(H200, { batch: 4, n, quantile: true }).kernel === 'cluster';
      assert.is(fits, n <= 16 * 51_800 || (n < 16 * 52_000 && fits), String(n));
    }),
    { numRuns: 300 },
  );
});

planner('more samples than a grid has blocks for take turns', () => {
  for (const [n, team] of [
    [16384, 1],
    [786432, 16],
  ] as const) {
    const p = plan(H200, { batch: 2 ** 31 - 1, n, quantile: true });
    assert.equal([p.kernel, p.team, p.teams], ['cluster', team, Math.floor((2 ** 31 - 1) / team)]);
    assert.ok(p.grid < 2 ** 31 && p.grid === p.team * p.teams);
  }
});

planner('shapes that matter, on an H200', () => {
  const shapes: [Wish, Partial<Plan>][] = [
    // A latent: enough blocks to reach many multiprocessors.
    [
      { batch: 1, n: 16384 },
      { kernel: 'step', threads: 64, grid: 64 },
    ],
    [
      { batch: 64, n: 16384 },
      { kernel: 'step', threads: 256, grid: 16, gridY: 64 },
    ],
    [
      { batch: 16, n: 196608 },
      { kernel: 'step', threads: 256, grid: 132, gridY: 16 },
    ],
    [
      { batch: 1, n: 16384, quantile: true },
      { kernel: 'cluster', team: 8, grid: 8, slice: 2048 },
    ],
    [
      { batch: 1, n: 196608, quantile: true },
      { kernel: 'cluster', team: 16, grid: 16 },
    ],
    [
      { batch: 16, n: 196608, quantile: true },
      { kernel: 'cluster', team: 8, grid: 128 },
    ],
    [
      { batch: 1, n: 786432, quantile: true },
      { kernel: 'cluster', team: 16, resident: 49152 },
    ],
    [
      { batch: 1, n: 3145728, quantile: true },
      { kernel: 'team', team: 132, teams: 1, cooperative: true },
    ],
  ];
  for (const [wish, expected] of shapes) {
    const p = plan(H200, wish);
    for (const [key, value] of Object.entries(expected)) {
      assert.is(p[key as keyof Plan], value, `${key} of ${JSON.stringify(wish)}: ${JSON.stringify(p)}`);
    }
  }
});

planner('cards without clusters meet in global memory, or need not meet', () => {
  assert.equal([plan(A100, { batch: 1, n: 196608, quantile: true })].map((p) => [p.kernel, p.team, p.cooperative])[0], [
    'team',
    96,
    true,
  ]);
  // More samples than multiprocessors: a block each, and nobody waits.
  const many = plan(A100, { batch: 200, n: 16384, quantile: true });
  assert.equal([many.team, many.grid, many.cooperative, many.workspaceBytes], [1, 200, false, 0]);
  // No launch of blocks that wait for each other: one block a sample, predictions made again where they do not fit.
  const alone = plan({ ...T4, cooperative: false }, { batch: 2, n: 196608, quantile: true });
  assert.equal([alone.team, alone.cooperative], [1, false]);
  assert.ok(alone.resident < alone.slice && alone.slice === 196608);
});

planner('odd arguments are refused', () => {
  const f = addon.cudaPlan as (...all: unknown[]) => Plan;
  assert.throws(() => f(132, 1, 16, 1, 0, 10, 1, 0, 0), /Expected an integer from 1 to 2147483647 for batch/);
  assert.throws(() => f(132, 1, 16, 1, 1, 2 ** 32, 1, 0, 0), /for n but received 4294967296/);
  assert.throws(() => f(), /for multiprocessors but received undefined/);
});

planner('no call needs more workspace than half as many teams as multiprocessors: one allocation serves all', () => {
  // A team that meets in global memory has two blocks or more: bins of three levels, barrier and neighbours (args.h).
  const words = 4 + 3 * (2048 + 4) + 4;
  fc.assert(
    fc.property(cards, wishes, (card, wish) => {
      const { workspaceBytes } = plan(card, { ...wish, quantile: true });
      assert.ok(workspaceBytes <= 4 * words * Math.floor(card.multiprocessors / 2));
    }),
  );
});

planner('double precision: every element has a thread or a turn of one, and a quantile a block a sample', () => {
  fc.assert(
    fc.property(cards, wishes, (card, wish) => {
      const plain = plan(card, { ...wish, type: 2 });
      assert.is(plain.kernel, 'wide');
      assert.ok(plain.grid >= 1 && plain.gridY === Math.min(wish.batch, 65535) && plain.threads % 32 === 0);
      assert.ok(plain.grid <= Math.ceil(wish.n / plain.threads));
      const select = plan(card, { ...wish, type: 2, quantile: true });
      assert.equal([select.kernel, select.grid, select.gridY], ['wide-select', wish.batch, 1]);
      // The search takes its bins in fours, and they fit what every block has.
      assert.is(2048 % (4 * select.threads), 0);
      assert.ok(select.sharedBytes <= 49152);
    }),
  );
});

planner.run();
