// The small graphs that run on a device beside the network: made when they are first needed and shared by all runs of a process.
import { type OrtDevice, OrtNetwork, type OrtTensor, type OrtValue } from '../../onnx/network.js';
import type { WrittenValue } from '../../onnx/write.js';
import { copyGraph } from './graph.js';

/** Graphs that nobody uses are kept up to so many: each has a thread, which sleeps. */
const MOST_IDLE = 12;

interface Entry {
  readonly opening: Promise<OrtNetwork>;
  users: number;
}

/** By device and shape, the latest last. */
const all = new Map<string, Entry>();

/** What one run uses of them, until {@link release}. */
export class SmallNetworks {
  readonly device: OrtDevice;
  readonly #used = new Map<string, Entry>();

  constructor(device: OrtDevice) {
    this.device = device;
  }

  /** The network of a graph that `key` describes. */
  get(key: string, write: () => Uint8Array): Promise<OrtNetwork> {
    const own = this.#used.get(key);
    if (own) return own.opening;
    const name = `${this.device} ${key}`;
    let entry = all.get(name);
    if (!entry) {
      const opening = OrtNetwork.open(write(), { device: this.device, threads: 1, path: 'a step' });
      const made: Entry = { opening, users: 0 };
      // A failure is not kept.
      opening.catch(() => {
        if (all.get(name) === made) all.delete(name);
      });
      entry = made;
    }
    all.delete(name);
    all.set(name, entry);
    entry.users++;
    this.#used.set(key, entry);
    return entry.opening;
  }

  /** Moves a tensor to the device. */
  async upload(tensor: OrtTensor, type: WrittenValue['type']): Promise<OrtValue> {
    const network = await this.#copier(type, tensor.dims.length);
    const { y } = await network.run({ x: tensor }, { outputs: { y: 'device' } });
    return y as OrtValue;
  }

  /** Writes what is on the device into memory of the host. */
  async download(value: OrtValue, to: OrtTensor): Promise<void> {
    const network = await this.#copier(value.type as WrittenValue['type'], value.dims.length);
    await network.run({ x: value }, { outputs: { y: to } });
  }

  #copier(type: WrittenValue['type'], rank: number): Promise<OrtNetwork> {
    return this.get(`copy ${type} ${rank}`, () => copyGraph(type, rank));
  }

  /** Says that the run has ended; networks that nobody uses are closed, the oldest first, where there are many. */
  release(): void {
    for (const entry of this.#used.values()) entry.users--;
    this.#used.clear();
    const idle = [...all].filter(([, { users }]) => users === 0);
    for (const [name, { opening }] of idle.slice(0, Math.max(0, idle.length - MOST_IDLE))) {
      all.delete(name);
      opening.then(
        (network) => network.dispose(),
        () => {},
      );
    }
  }
}
