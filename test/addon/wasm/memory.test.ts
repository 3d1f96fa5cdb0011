// The allocator of the WebAssembly build: whatever is asked for and given back, blocks never overlap.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Blocks } from '../../../lib/addon/wasm/memory.js';
import { Random } from '../../native/support.js';

const test = suite('WebAssembly memory');
const PAGE = 65536;

class Pages {
  buffer = new ArrayBuffer(2 * PAGE);
  constructor(readonly most: number) {}
  grow(pages: number): number {
    const before = this.buffer.byteLength / PAGE;
    if (before + pages > this.most) throw new RangeError('no more');
    this.buffer = new ArrayBuffer((before + pages) * PAGE);
    return before;
  }
}

test('20000 random blocks are apart, aligned, inside and beyond what was there', () => {
  const random = new Random(3);
  const memory = new Pages(4096);
  const blocks = new Blocks(memory);
  const held: { address: number; bytes: number }[] = [];
  for (let k = 0; k < 20000; k++) {
    if (held.length > 0 && random.uniform() < (k < 10000 ? 0.45 : 0.55)) {
      const [block] = held.splice(random.integer(0, held.length - 1), 1);
      blocks.release(block!.address);
      continue;
    }
    const bytes = Math.floor(2 ** (random.uniform() * 20));
    const address = blocks.allocate(bytes);
    if (address === 0) continue;
    assert.is(address % 16, 0);
    assert.ok(address >= 2 * PAGE && address + bytes <= memory.buffer.byteLength);
    for (const other of held) {
      if (address < other.address + other.bytes && other.address < address + bytes) {
        assert.unreachable(`${bytes} bytes at ${address} overlap ${other.bytes} at ${other.address}`);
      }
    }
    held.push({ address, bytes });
  }
});

test('large blocks that are given back become one, and are used again', () => {
  const memory = new Pages(64);
  const blocks = new Blocks(memory);
  for (let round = 0; round < 100; round++) {
    const held = Array.from({ length: 8 }, () => blocks.allocate(4 * PAGE));
    assert.not.ok(held.includes(0), `round ${round}`);
    for (const at of [3, 1, 0, 2, 7, 5, 6, 4]) blocks.release(held[at]!);
    const all = blocks.allocate(32 * PAGE);
    assert.ok(all !== 0, `round ${round}`);
    blocks.release(all);
  }
  assert.is(memory.buffer.byteLength, 34 * PAGE);
});

test('gives 0 where there is no more, and goes on', () => {
  const memory = new Pages(8);
  const blocks = new Blocks(memory);
  assert.is(blocks.allocate(7 * PAGE), 0);
  const six = blocks.allocate(6 * PAGE);
  assert.is(six, 2 * PAGE);
  assert.is(blocks.allocate(100), 0);
  blocks.release(six);
  assert.ok(blocks.allocate(100) !== 0);
  assert.ok(blocks.allocate(5 * PAGE) !== 0);
  blocks.release(0);
});

test.run();
