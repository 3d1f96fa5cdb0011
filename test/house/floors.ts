// The floors of lib, written once: test/house/floors.test.ts holds the imports to them, and bench/figures/house.ts makes the
// table and the picture of docs/architecture.md from them.

export interface Room {
  /** A folder of lib, with a slash at its end, or files of it. */
  readonly path: string | readonly string[];
  /** What it is called where it is no folder. */
  readonly name?: string;
  readonly floor: number;
  /** What is done there, in a few words. */
  readonly knows: string;
  /** Rooms below that it does without. */
  readonly without?: readonly string[];
}

export const ROOMS: readonly Room[] = [
  { path: 'cli/', floor: 10, knows: 'how people call it' },
  { path: 'serve/', floor: 9, knows: 'how machines call it' },
  {
    path: ['index.ts', 'native.ts', 'wasm.ts', 'web.ts'],
    name: 'public entries',
    floor: 8,
    knows: "nothing: they re-export, as a room's own index.ts does",
  },
  { path: 'pipelines/', floor: 7, knows: 'prompts and pictures' },
  { path: 'diffusers-js/', floor: 7, knows: "other people's pipelines" },
  { path: 'dpm-solver.ts', floor: 6, knows: 'the face: options in, an engine chosen, a run out' },
  { path: 'engines/host/', floor: 5, knows: 'runs whose tensors are in the memory of JavaScript' },
  { path: 'engines/cuda/', floor: 5, knows: 'runs whose tensors are on a card, one by one or as a graph' },
  {
    path: 'engines/webgpu/',
    floor: 5,
    knows: 'runs whose tensors are where onnxruntime has the network, with steps as graphs',
  },
  { path: ['engines/devices.ts'], floor: 5, knows: 'where runs can be' },
  {
    path: 'calibrate/',
    floor: 5,
    knows: 'tables: searched, fitted, and kept where they are better than the classic solvers',
  },
  {
    path: 'solver/',
    floor: 4,
    knows: 'what a run does: plans, fixed and adaptive runs. No tensor memory, no device',
    without: ['cuda/'],
  },
  {
    path: 'schedulers/',
    floor: 4,
    knows: "the loop of diffusers' scheduler classes, and their rows",
    without: ['cuda/'],
  },
  { path: 'onnx/', floor: 4, knows: 'graphs: sessions, what they declare, runs over our buffers' },
  { path: 'hub/', floor: 4, knows: 'models by their name on a Hugging Face hub, and the cache that its tools share' },
  { path: 'folder/', floor: 3, knows: "the files of a model's folder, and what its configurations mean" },
  { path: 'schedule/', floor: 2, knows: 'α, σ and λ over time, grids, orders' },
  { path: 'cuda/', floor: 2, knows: 'memory, streams and the step on a card' },
  { path: 'image/', floor: 2, knows: 'pixels, sheets, PNG files, what sharp reads and writes' },
  { path: 'addon/', floor: 1, knows: 'the native surface: the loader, rows, the step, noise, WebAssembly' },
  { path: 'base/', floor: 0, knows: 'checks, words of messages, tensors as they come: nothing of the rest' },
];

/** As it is called. */
export function nameOf({ path, name }: Room): string {
  return name ?? [path].flat().join(', ');
}
