// What a run knows beforehand: rows, times and the keys of its noise. They go to the card in one copy.
import { ROW, TRANSFORM } from '../../addon/coefficients.js';
import type { PhiloxNoise } from '../../addon/noise.js';
import type { DeviceTensor } from '../../cuda/tensor.js';
import { GUIDE_LENGTH } from '../../solver/guidance.js';
import type { Plan } from '../../solver/plan.js';
import type { RunMemory } from './memory.js';

export interface TableSizes {
  readonly batch: number;
  /** Samples of the network's input; 0 where it is on the host and told its time as a number. */
  readonly timed: number;
  /** Are there rows once more, for steps whose P is given? */
  readonly given: boolean;
  /** Is noise made on the card? */
  readonly philox: boolean;
}

/** @internal */
export class Tables {
  /** Everything, and its image on the host. */
  readonly block: DeviceTensor;
  readonly host: Uint32Array;
  /** Addresses of a row for every sample, by its index; the same with P given. */
  readonly rows: readonly bigint[];
  readonly givenRows: readonly bigint[];
  /** Addresses of what the guidance of a row is told. */
  readonly guides: readonly bigint[];
  /** Addresses of the keys of the noise of a row. */
  readonly words: readonly bigint[];
  /** What the network is told, by evaluation. */
  readonly times: readonly DeviceTensor[];
  readonly #sizes: TableSizes;
  readonly #rows: Float64Array;
  readonly #given: Float64Array;
  readonly #guides: Float64Array;
  readonly #times: Float32Array;
  readonly #words: Uint32Array;

  constructor(memory: RunMemory, plan: Plan, sizes: TableSizes) {
    const { batch, timed, given, philox } = sizes;
    const [count, length] = [plan.rows.length / ROW.length, plan.evaluations.length];
    const numbers = count * batch * ROW.length;
    const guided = plan.evaluations.some(({ guide }) => guide) ? GUIDE_LENGTH * count : 0;
    const { block, offsets, tensors } = memory.takeTogether(
      [[numbers], 'float64'],
      [[given ? numbers : 1], 'float64'],
      [[Math.max(1, guided)], 'float64'],
      [[Math.max(1, length * timed)], 'float32'],
      [[philox ? 4 * count * batch : 1], 'uint32'],
    );
    const [rows, givenRows, guides, times, words] = tensors;
    this.block = block;
    this.host = new Uint32Array(block.length);
    this.#sizes = sizes;
    this.#rows = new Float64Array(this.host.buffer, offsets[0], numbers);
    this.#given = new Float64Array(this.host.buffer, offsets[1], given ? numbers : 0);
    this.#guides = new Float64Array(this.host.buffer, offsets[2], guided);
    this.#times = new Float32Array(this.host.buffer, offsets[3], length * timed);
    this.#words = new Uint32Array(this.host.buffer, offsets[4], philox ? 4 * count * batch : 0);
    const addresses = (of: DeviceTensor, bytes: number) =>
      Array.from({ length: count }, (_, i) => of.pointer + BigInt(i * bytes));
    this.rows = addresses(rows, 8 * batch * ROW.length);
    this.givenRows = given ? addresses(givenRows, 8 * batch * ROW.length) : [];
    this.guides = guided > 0 ? addresses(guides, 8 * GUIDE_LENGTH) : [];
    this.words = philox ? addresses(words, 16 * batch) : [];
    this.times = timed > 0 ? Array.from({ length }, (_, i) => times.part(i * timed, [timed])) : [];
  }

  /** Writes the image. */
  fill({ evaluations, rows }: Plan, noise: PhiloxNoise | null): void {
    const { batch, timed, given, philox } = this.#sizes;
    for (let row = 0; row < rows.length; row += ROW.length) {
      const from = rows.subarray(row, row + ROW.length);
      for (let b = 0; b < batch; b++) this.#rows.set(from, row * batch + b * ROW.length);
    }
    if (given) {
      this.#given.set(this.#rows);
      for (let at = ROW.transform; at < this.#given.length; at += ROW.length) this.#given[at] = TRANSFORM.given;
    }
    if (this.#guides.length > 0) {
      for (const { guide, row } of evaluations) if (guide) this.#guides.set(guide.parameters, row * GUIDE_LENGTH);
    }
    if (timed > 0) {
      for (const [i, { modelTime }] of evaluations.entries()) this.#times.fill(modelTime, i * timed, (i + 1) * timed);
    }
    if (!philox || !noise) return;
    // Four words a sample; the noisy evaluations are counted, as they draw.
    let draw = 0;
    for (const { noisy, row } of evaluations) {
      if (!noisy) continue;
      for (let b = 0; b < batch; b++) {
        const { seedLow, seedHigh, stream } = noise.key(b);
        this.#words.set([seedLow, seedHigh, draw, stream], 4 * (row * batch + b));
      }
      draw++;
    }
  }
}
