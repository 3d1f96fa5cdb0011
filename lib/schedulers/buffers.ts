// The tensors of a scheduler's run, made at its first step and kept for the steps that follow.
import { Arena, BYTES } from '../addon/arena.js';
import { ROW, TRANSFORM } from '../addon/coefficients.js';
import { addon } from '../addon/native.js';
import { type NetworkArray, type StateArray, sameDims, type TensorView } from '../base/tensor.js';

// No #private members: what wraps a scheduler in proxies may wrap what it holds as well.
export class Buffers {
  readonly dims: readonly number[];
  readonly batch: number;
  readonly length: number;
  readonly stateType: 'float32' | 'float64';
  readonly rows: Float64Array;
  readonly history: (StateArray | undefined)[] = [];
  readonly kept: [StateArray | undefined, StateArray | undefined] = [undefined, undefined];
  /** Which of `kept` holds the state. */
  which: 0 | 1 = 0;
  private readonly arena: Arena;
  private sample?: StateArray;
  private result?: StateArray;
  private drawn?: StateArray;
  private given?: StateArray;
  private scaled?: StateArray;
  private scratch?: Uint8Array;

  /** @param historyLength how many predictions are kept */
  constructor(sample: TensorView, historyLength: number) {
    this.dims = sample.dims;
    this.batch = sample.batch;
    this.length = sample.length;
    this.stateType = stateTypeOf(sample);
    const state = BYTES[this.stateType] * sample.length;
    this.arena = new Arena(
      [
        // Of history one more than is kept, two of `kept`, and five that are made where needed.
        [state, historyLength + 8],
        [8 * sample.batch * ROW.length, 1],
      ],
      // The sample and the next one, and the network's output, of a doubled batch and with variances.
      6 * state,
    );
    this.rows = this.arena.doubles(sample.batch * ROW.length);
  }

  /** Are they for samples like this one? */
  fit(sample: TensorView): boolean {
    return this.stateType === stateTypeOf(sample) && sameDims(this.dims, sample.dims);
  }

  /** Number `i` of `history` or `kept`. */
  state(of: (StateArray | undefined)[], i: number): StateArray {
    of[i] ??= this.make();
    return of[i];
  }

  /** A float16 sample is worked on in float32. */
  widened(sample: TensorView): StateArray {
    if (sample.type !== 'float16') return sample.data as StateArray;
    this.sample ??= this.make();
    addon.convert(sample.data, this.sample);
    return this.sample;
  }

  /** Where the next state goes that is returned in float16. */
  wideResult(): StateArray {
    this.result ??= this.make();
    return this.result;
  }

  /** For noise that is drawn. */
  noise(): StateArray {
    this.drawn ??= this.make();
    return this.drawn;
  }

  /** For noise that a network's variances have been put to. */
  shaped(): StateArray {
    this.scaled ??= this.make();
    return this.scaled;
  }

  /** The caller's own noise in the state's type. */
  converted(noise: NetworkArray): StateArray {
    this.given ??= this.make();
    addon.convert(noise, this.given);
    return this.given;
  }

  /** Working space for a row that looks for a quantile. */
  scratchFor(row: Float64Array): Uint8Array | null {
    if (row[ROW.transform] !== TRANSFORM.quantile) return null;
    const wide = this.stateType === 'float64' ? 1 : 0;
    this.scratch ??= this.arena.bytes(
      addon.scratchBytes(wide, this.batch, this.length / this.batch, row[ROW.ratio], 0),
    );
    return this.scratch;
  }

  private make(): StateArray {
    return this.arena.state(this.stateType, this.length);
  }
}

/** What a sample is worked on in. */
export function stateTypeOf({ type }: TensorView): 'float32' | 'float64' {
  return type === 'float64' ? 'float64' : 'float32';
}
