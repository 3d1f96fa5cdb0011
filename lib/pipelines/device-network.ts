// A network's evaluations whose states stay on WebGPU, and what brings them into the shape that the graph takes.
import { SmallNetworks } from '../engines/webgpu/networks.js';
import type { OrtNetwork, OrtTensor, OrtValue } from '../onnx/network.js';
import { fill, type Slot, slot } from '../onnx/slots.js';
import { writeGraph, type WrittenNode } from '../onnx/write.js';
import type { Transfers } from '../solver/engine.js';
import type { DenoiserKind, NetworkType } from './network-facts.js';

/** Graphs between the state and what the network takes and gives; none where it takes and gives the state as it is. */
export interface Way {
  readonly into?: () => Uint8Array;
  readonly outOf?: () => Uint8Array;
  /** What tells the graphs of one way from those of others. */
  readonly key: string;
}

interface Bound {
  readonly feeds: Readonly<Record<string, Slot>>;
  readonly state: string;
  readonly output: string;
  readonly way: Way;
  /** Channels that go into the network behind the state's. */
  readonly extra?: Slot;
  readonly timeScale: number;
}

/** Evaluations of one batch. */
export class EvaluateThere {
  readonly #network: OrtNetwork;
  readonly #networks = new SmallNetworks('webgpu');
  readonly #bound: Bound;
  /** On the device where they are numbers of the network's own kind, and the others on the host. */
  readonly #feeds: Record<string, OrtTensor | OrtValue> = {};
  #extra: OrtValue | undefined;

  private constructor(network: OrtNetwork, bound: Bound) {
    this.#network = network;
    this.#bound = bound;
  }

  static async open(network: OrtNetwork, bound: Bound): Promise<EvaluateThere> {
    const made = new EvaluateThere(network, bound);
    const networks = made.#networks;
    try {
      if (bound.extra) made.#extra = await networks.upload(bound.extra);
      for (const [name, from] of Object.entries(bound.feeds)) {
        if (name === bound.state) continue;
        const moved = name !== 'timestep' && /^float(16|32)$/.test(from.type);
        made.#feeds[name] = moved ? await networks.upload(from) : (from as OrtTensor);
      }
    } catch (error) {
      made.release();
      throw error;
    }
    return made;
  }

  /** The network at x, which stays as it is; what comes is the caller's to dispose of. */
  async evaluate(x: OrtValue, t: number, signal?: AbortSignal): Promise<OrtValue> {
    const { feeds, state, output, way, timeScale } = this.#bound;
    const ending = signal ? { signal } : {};
    fill(feeds.timestep, t * timeScale);
    const into = way.into && (await this.#networks.get(`into ${way.key}`, way.into));
    let given = x;
    if (into) {
      const feeds: Record<string, OrtValue> = this.#extra ? { x, extra: this.#extra } : { x };
      given = (await into.run(feeds, { outputs: { y: 'device' }, ...ending })).y as OrtValue;
    }
    try {
      const made = await this.#network.run(
        { ...this.#feeds, [state]: given },
        { outputs: { [output]: 'device' }, ...ending },
      );
      const m = made[output] as OrtValue;
      if (!way.outOf) return m;
      try {
        const outOf = await this.#networks.get(`out of ${way.key}`, way.outOf);
        return (await outOf.run({ x: m }, { outputs: { y: 'device' }, ...ending })).y as OrtValue;
      } finally {
        m.dispose();
      }
    } finally {
      if (given !== x) given.dispose();
    }
  }

  /** What is on the device, in memory of the host. */
  read(value: OrtValue): Promise<Slot> {
    return this.#networks.read(value);
  }

  /** What has been brought there, and read. */
  get transfers(): Transfers {
    return this.#networks.transfers;
  }

  release(): void {
    for (const feed of [...Object.values(this.#feeds), this.#extra]) {
      if (feed && 'dispose' in feed) feed.dispose();
    }
    this.#networks.release();
  }
}

/** The way of a state into a network: Flux takes tokens of 2 x 2 pixels, inpainting networks more channels. */
export function wayOf({
  kind,
  batch,
  shape,
  own,
  type,
}: {
  kind: DenoiserKind;
  batch: number;
  shape: readonly [channels: number, height: number, width: number];
  own: Slot;
  type: NetworkType;
}): Way & { extra?: Slot } {
  const [channels, height, width] = shape;
  const dims = [batch, ...shape];
  const key = `${type} ${dims}`;
  const value = (name: string, sizes: readonly number[]) => ({ name, type, dims: sizes });
  if (kind === 'flux') {
    const [rows, columns] = [height / 2, width / 2];
    const packed = [batch, rows * columns, 4 * channels];
    const graph = (from: number[], apart: number[], perm: number[], to: number[]) => () =>
      writeGraph({
        inputs: [value('x', from)],
        outputs: [value('y', to)],
        nodes: [
          { type: 'Reshape', inputs: ['x', 'apart'], outputs: ['pixels'] },
          { type: 'Transpose', inputs: ['pixels'], outputs: ['turned'], attributes: { perm } },
          { type: 'Reshape', inputs: ['turned', 'to'], outputs: ['y'] },
        ],
        sizes: { apart, to },
      });
    return {
      key,
      into: graph(dims, [batch, channels, rows, 2, columns, 2], [0, 2, 4, 1, 3, 5], packed),
      outOf: graph(packed, [batch, rows, columns, channels, 2, 2], [0, 3, 1, 4, 2, 5], dims),
    };
  }
  const more = own.dims[1] - channels;
  if (more === 0) return { key };
  const extra = slot(own.type, [batch, more, height, width]);
  const [whole, rest] = [own.data.length / batch, extra.data.length / batch];
  for (let b = 0; b < batch; b++) {
    extra.data.set(own.data.subarray((b + 1) * whole - rest, (b + 1) * whole) as never, b * rest);
  }
  const node: WrittenNode = { type: 'Concat', inputs: ['x', 'extra'], outputs: ['y'], attributes: { axis: 1 } };
  const graph = () =>
    writeGraph({
      inputs: [value('x', dims), value('extra', extra.dims)],
      outputs: [value('y', own.dims)],
      nodes: [node],
    });
  return { key: `${key} ${more}`, into: graph, extra };
}
