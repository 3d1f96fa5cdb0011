// What makes the steps of runs on a device, and moves tensors there and back: small graphs, or in a browser a kernel.
import type { OrtTensor, OrtValue } from '../../onnx/network.js';
import type { Slot } from '../../onnx/slots.js';
import type { Transfers } from '../../solver/engine.js';
import type { KnownAt } from '../../solver/known.js';
import type { Term, Wanted } from './graph.js';

/** A type that networks on a device take and give. */
export type FloatType = 'float32' | 'float16';

/** One step: its row, what it reads, and what is wanted of it. */
export interface StepRequest extends Omit<Wanted, 'network'> {
  readonly row: Float64Array;
  /** The network's output, of a batch that is doubled or not; null for a step without it. */
  readonly output: OrtValue | null;
  /** Of the state. */
  readonly dims: readonly number[];
  /** What the network is to be given for the new state, where that is not the state itself. */
  readonly input: { readonly type: FloatType; readonly twice: boolean } | null;
  /** Is z not noise, but what it is drawn from: of each sample its {@link PhiloxNoise.words}? */
  readonly draws: boolean;
  /** What else the step is over; noise is on the host. */
  operand(term: Exclude<Term, 'm' | 'u' | 'd0'>): OrtTensor | OrtValue | Promise<OrtValue>;
}

/** What a step has made: values that are the caller's to dispose of. */
export interface Stepped {
  readonly out: OrtValue;
  readonly out2?: OrtValue;
  readonly d0?: OrtValue;
  /** The network's input. */
  readonly next?: OrtValue;
  /** The first sample whose prediction is not finite, -1 for none; null for a step without the network. */
  readonly found: number | null;
}

/** @internal */
export interface Steps {
  readonly transfers: Transfers;
  /** Can a step draw noise by itself? */
  readonly draws: boolean;
  /** Moves a tensor to the device. */
  upload(tensor: Slot): Promise<OrtValue>;
  /** Writes what is on the device into memory of the host. */
  download(value: OrtValue, to: Slot): Promise<void>;
  /** What the network is given for a state: in its type, once or twice. */
  input(state: OrtValue, type: FloatType, twice: boolean, signal: AbortSignal | undefined): Promise<OrtValue>;
  step(request: StepRequest, signal: AbortSignal | undefined): Promise<Stepped>;
  /** A state with its known part put in place; absent where that is done on the host. */
  blend?(
    state: OrtValue,
    known: Blend,
    node: Pick<KnownAt, 'alpha' | 'sigma'>,
    signal?: AbortSignal,
  ): Promise<OrtValue>;
  /** Says that the run has ended. */
  release(): void;
}

/** What of a state is known, on the device: x0 and noise are 0 where it is not, and free is 1 there and 0 elsewhere. */
export interface Blend {
  readonly x0: OrtValue;
  readonly noise: OrtValue;
  readonly free: OrtValue;
}

/** Makes what one run needs of them. @internal */
export type StepsMaker = () => Steps;
