// The small graphs that run on a device beside the network: made when they are first needed and shared by all runs of a process.
import { type OrtDevice, OrtNetwork, type OrtTensor, type OrtValue } from '../../onnx/network.js';
import { type Slot, slot } from '../../onnx/slots.js';
import type { Transfers } from '../../solver/engine.js';
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
  /** Of {@link upload}, {@link download} and {@link read}. */
  readonly transfers: Transfers = { uploaded: 0, downloaded: 0, milliseconds: 0 };
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
  async upload(tensor: Slot): Promise<OrtValue> {
    const { y } = await this.#copy(tensor, { x: tensor as OrtTensor }, 'device');
    this.transfers.uploaded += tensor.data.byteLength;
    return y as OrtValue;
  }

  /** Writes what is on the device into memory of the host. */
  async download(value: OrtValue, to: Slot): Promise<void> {
    await this.#copy(to, { x: value }, to as OrtTensor);
    this.transfers.downloaded += to.data.byteLength;
  }

  /** The same into new memory. */
  async read(value: OrtValue): Promise<Slot> {
    const to = slot(value.type as Slot['type'], value.dims);
    await this.download(value, to);
    return to;
  }

  async #copy(
    { type, dims }: Slot,
    feeds: Record<string, OrtTensor | OrtValue>,
    y: OrtTensor | 'device',
  ): Promise<Record<string, unknown>> {
    const begun = performance.now();
    const network = await this.get(`copy ${type} ${dims.length}`, () => copyGraph(type, dims.length));
    const made = await network.run(feeds, { outputs: { y } });
    this.transfers.milliseconds += performance.now() - begun;
    return made;
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
