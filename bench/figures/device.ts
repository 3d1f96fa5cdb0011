// Pipelines on a device beside the CPU.
import type { Answer, DeviceResults } from '../device/pipelines.js';
import { optional, type Rendered, table } from './data.js';

export function render(): Rendered {
  const found = optional<DeviceResults>('device');
  if (!found) return { svgs: {}, tables: {} };
  const { steps, rows } = found;
  return {
    svgs: {},
    tables: {
      device: table(
        ['folder', 'from the CPU', 'numbers', 'bytes there', 'bytes back', 'event loop late, median'],
        rows.map(({ folder, reason, apart, dims, there }) => {
          if (reason !== undefined)
            return [folder, `does not run there: ${reason.replace(/^.* Program /, '')}`, '', '', '', ''];
          const { calls, transfers, late } = there as Omit<Answer, 'latents'>;
          if (calls !== steps) throw new Error(`Expected ${steps} calls for ${folder} but received ${calls}`);
          const { uploaded, downloaded, onHost } = transfers!;
          const name = onHost === undefined ? folder : `${folder} (on the host: ${onHost})`;
          return [
            name,
            (apart as number).toExponential(1),
            dims as number,
            uploaded,
            downloaded,
            `${late.median.toFixed(1)} ms`,
          ];
        }),
      ),
    },
  };
}
