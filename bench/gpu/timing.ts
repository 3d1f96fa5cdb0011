// Time on a card, and tensors to spend it on.
import { DeviceTensor, deviceNoise, prepareStep, Stream, StreamEvent } from '../../lib/cuda/index.js';
import { native } from '../../lib/cuda/native.js';

export type Tensor = ReturnType<typeof DeviceTensor.alloc>;
export const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1]!;

/** What is timed in how many repetitions; `tiny` is a rehearsal, whose figures mean nothing. */
export class Clock {
  readonly tiny: boolean;
  readonly stream = new Stream();
  #seed = 1;
  /** TB/s, read and written, of a copy within the card. */
  readonly bandwidth: number;

  constructor(tiny: boolean) {
    this.tiny = tiny;
    const half = this.random(tiny ? 2 ** 12 : 2 ** 28);
    const other = DeviceTensor.alloc([half.length]);
    this.bandwidth = (2 * half.bytes) / this.device(() => other.copy(half, this.stream), 4) / 1e6;
    half.dispose();
    other.dispose();
  }

  /** Microseconds of the card's time for one of `count` that are queued back to back, the median of several. */
  device(queue: (k: number) => void, count: number, repetitions = this.tiny ? 1 : 9): number {
    const [begin, end] = [new StreamEvent(), new StreamEvent()];
    for (let k = 0; k < count; k++) queue(k);
    const times: number[] = [];
    for (let r = 0; r < repetitions; r++) {
      begin.record(this.stream);
      for (let k = 0; k < count; k++) queue(k);
      end.record(this.stream);
      end.wait();
      times.push((end.since(begin) * 1000) / count);
    }
    begin.dispose();
    end.dispose();
    return median(times);
  }

  /** The same for `count` of them in one graph. */
  graph(queue: (k: number) => void, count: number): number {
    const graph = this.stream.capture(() => {
      for (let k = 0; k < count; k++) queue(k);
    });
    const time = this.device(() => graph.launch(this.stream), 1) / count;
    graph.dispose();
    return time;
  }

  /** Microseconds from the call until the card is done. */
  call(queue: () => void): number {
    const times: number[] = [];
    for (let k = 0; k < (this.tiny ? 2 : 100); k++) {
      const begin = process.hrtime.bigint();
      queue();
      this.stream.wait();
      times.push(Number(process.hrtime.bigint() - begin) / 1000);
    }
    return median(times);
  }

  /** Microseconds of JavaScript's time until it is queued. */
  queued(queue: () => void): number {
    const count = this.tiny ? 2 : 500;
    const times: number[] = [];
    for (let r = 0; r < (this.tiny ? 1 : 5); r++) {
      const begin = process.hrtime.bigint();
      for (let k = 0; k < count; k++) queue();
      times.push(Number(process.hrtime.bigint() - begin) / 1000 / count);
      this.stream.wait();
    }
    return median(times);
  }

  random(length: number, type: 'float32' | 'float64' = 'float32'): Tensor {
    const tensor = DeviceTensor.alloc([length], type);
    deviceNoise(tensor, [{ seedLow: this.#seed++, seedHigh: 0, stream: 0 }], 0, this.stream);
    return tensor;
  }

  /** Random numbers that are float16 or bfloat16: written by a step, which rounds them. */
  async network(length: number, type: 'float32' | 'float16' | 'bfloat16' | 'float64'): Promise<Tensor> {
    if (type === 'float32' || type === 'float64') return this.random(length, type);
    const x = this.random(length);
    const out = DeviceTensor.alloc([length]);
    const next = DeviceTensor.alloc([length], type);
    const rows = await this.rows(1, { 8: 1, 12: 1 });
    prepareStep(rows, { base: x, out, next }, { stream: this.stream, batch: 1 })();
    this.stream.wait();
    for (const tensor of [x, out, rows]) tensor.dispose();
    return next;
  }

  /** The same row for every sample, by its offsets. */
  rows(batch: number, row: Record<number, number>): Promise<Tensor> {
    const one = Object.assign(new Array<number>(32).fill(0), row);
    return DeviceTensor.from(Float64Array.from(Array.from({ length: batch }, () => one).flat()), this.stream);
  }

  /** Queues a kernel that does nothing. */
  nothing(): void {
    native.cudaNothing(this.stream.handle);
  }
}
