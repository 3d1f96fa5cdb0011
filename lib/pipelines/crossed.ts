// What crosses between host and graphics processor in a call.
import type { NetworkArray } from '../base/tensor.js';
import type { Transfers } from '../solver/engine.js';
import type { Evaluate } from './denoiser.js';

/** The transfers of all batches of a call. */
export class Crossed {
  /** undefined where nothing had to cross. */
  transfers: Transfers | undefined;

  /** Those of a batch, or of a part of it. */
  add({ uploaded, downloaded, milliseconds, onHost }: Transfers): void {
    this.transfers ??= { uploaded: 0, downloaded: 0, milliseconds: 0 };
    this.transfers.uploaded += uploaded;
    this.transfers.downloaded += downloaded;
    this.transfers.milliseconds += milliseconds;
    if (onHost !== undefined) this.transfers.onHost = onHost;
  }

  /** A network whose states come from the host and go back at every evaluation; as it is where it has no reason to be told. */
  counting(evaluate: Evaluate, onHost: string | undefined): Evaluate {
    if (onHost === undefined) return evaluate;
    return async (x, t, signal) => {
      const output = await evaluate(x, t, signal);
      const [uploaded, downloaded] = [x, output].map(({ data }) => (data as NetworkArray).byteLength);
      this.add({ uploaded, downloaded, milliseconds: 0, onHost });
      return output;
    };
  }
}
