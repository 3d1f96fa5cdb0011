// Pipelines on a device beside the CPU, and the embedded network in a page.
import type { Answer, DeviceResults } from '../device/pipelines.js';
import { optional, type Rendered, table } from './data.js';

const COLUMNS = ['from the CPU', 'numbers', 'calls', 'bytes there', 'bytes back', 'outside the network', 'late'];

export function render(): Rendered {
  const found = optional<DeviceResults>('device');
  if (!found) return { svgs: {}, tables: {} };
  const { steps, rows, browser = [] } = found;
  const ms = (time: number) => `${time.toFixed(1)} ms`;
  const checked = (calls: number, where: string): number => {
    if (calls !== steps) throw new Error(`Expected ${steps} calls for ${where} but received ${calls}`);
    return calls;
  };
  return {
    svgs: {},
    tables: {
      device: table(
        ['folder', ...COLUMNS],
        rows.map(({ folder, reason, apart, dims, there, cpu }) => {
          if (reason !== undefined) {
            return [folder, `does not run there: ${reason.replace(/^.* Program /, '')}`, ...Array(6).fill('')];
          }
          const [{ calls, transfers, late, outsideMs }, here] = [there, cpu] as Omit<Answer, 'latents'>[];
          const { uploaded, downloaded, onHost } = transfers!;
          const name = onHost === undefined ? folder : `${folder} (on the host: ${onHost})`;
          return [
            ...[name, (apart as number).toExponential(1), dims as number, checked(calls, folder), uploaded, downloaded],
            ...[`${ms(outsideMs)} (CPU ${ms(here!.outsideMs)})`, ms(late.median)],
          ];
        }),
      ),
      browser: table(
        ['by', ...COLUMNS],
        browser.map(({ device, apart, numbers, calls, transfers, outsideMs, late }) => [
          ...[device === 'webgpu' ? 'WebGPU' : 'WebAssembly', apart.toExponential(1), numbers, checked(calls, device)],
          ...[transfers?.uploaded ?? 0, transfers?.downloaded ?? 0],
          ...[device === 'webgpu' ? 'not told apart' : ms(outsideMs), ms(late.median)],
        ]),
      ),
    },
  };
}
