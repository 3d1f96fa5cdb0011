// What every tensor on a device has, whichever onnxruntime it is of.

/** A tensor that a run has left where the network runs: an `OrtValue`, or in a browser an `OrtWebValue`. */
export interface DeviceValue {
  /** Of its elements. */
  readonly type: string;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  /** Has it been freed? */
  readonly disposed: boolean;
  /** Frees it; a second call does nothing. */
  dispose(): void;
}
