// What native/addon/ort exports.
import { addon } from '../addon/native.js';

/** An object that only the addon can look into. */
export type Handle = object;

/** Of an input or output, as onnxruntime tells it. Symbolic dims are -1, their names in `symbols`. */
export interface RawDeclared {
  name: string;
  type: number;
  dims: number[];
  symbols: string[];
}

/** `[index, type, data, ...dims]`, or `[index, 3 | 4]` for an output that the run makes on the host or the device. */
export type RawOperand = (number | bigint | ArrayBufferView | Handle)[];

/** What the addon takes to open a graph; its lists are names and values in turn. */
export interface RawSettings {
  path: string;
  bytes?: Uint8Array;
  device: number;
  deviceId: number;
  stream?: bigint;
  threads: number;
  optimization: number;
  memoryPattern: boolean;
  sharedMemory: boolean;
  config: string[];
  provider: string[];
  dimensions: (string | number)[];
}

interface OrtAddon {
  ortLibrary?(
    paths: readonly string[],
    level?: number,
  ): { library: Handle; path: string; version: string; providers: string[] };
  ortHardware(
    library: Handle,
  ): [provider: string, kind: number, vendor: string, vendorId: number, deviceId: number, ...more: string[]][];
  ortOpen(
    library: Handle,
    settings: RawSettings,
  ): { network: Handle; opened: Promise<{ inputs: RawDeclared[]; outputs: RawDeclared[] }> };
  ortRun(
    network: Handle,
    id: number,
    feeds: RawOperand[],
    fetches: RawOperand[],
  ): Promise<[index: number, type: number, dims: number[], data: ArrayBuffer | Handle][]>;
  ortCancel(network: Handle, id: number): void;
  ortClose(network: Handle): Promise<void>;
  ortDispose(value: Handle): void;
  ortShutdown(library: Handle): void;
}

/** The addon's functions for networks; WebAssembly has none of them. */
export const native = addon as unknown as OrtAddon;
