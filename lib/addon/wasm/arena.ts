/**
 * Of what the WebAssembly build exports: where a run may have its tensors. Not among the names that the native addon
 * has.
 * @internal
 */
export const ARENA: unique symbol = Symbol('arena');

/** The constructors of what tensors hold. @internal */
export type ArrayClass<T extends ArrayBufferView> = {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): T;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): T;
};

/** Makes arrays in the memory of one run, or null where that is full. @internal */
export type Take = <T extends ArrayBufferView>(Class: ArrayClass<T>, length: number) => T | null;

/**
 * Memory for the tensors of one run.
 *
 * @param bytes of the arrays that will be taken
 * @param room bytes of further arrays that one call gets from elsewhere, and that are copied in and out
 * @returns null where there is no memory for it
 * @internal
 */
export type MakeArena = (bytes: number, room: number) => Take | null;
