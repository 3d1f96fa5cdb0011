// What tests on WebGPU need: the graphics processor in software that Debian's chromium brings, or with DPM_SOLVER_GPU=1 the
// machine's own.
import { existsSync } from 'node:fs';
import { ortLibrary } from '../../lib/onnx/index.js';

const chromium = '/usr/lib/chromium';

const driver = `${chromium}/vk_swiftshader_icd.json`;

/** Is the machine's own graphics processor asked for? */
const own = Boolean(process.env.DPM_SOLVER_GPU);

/** The environment in which onnxruntime-node finds what is to be tested. */
export const webGpuEnv: Record<string, string> = own ? {} : { LD_LIBRARY_PATH: chromium, VK_ICD_FILENAMES: driver };

/** Why WebGPU cannot be tested here; undefined where it can. */
export async function whyNoWebGpu(): Promise<string | undefined> {
  const { providers } = await ortLibrary();
  if (!providers.includes('WebGpuExecutionProvider')) return 'this onnxruntime-node has no WebGPU';
  return own || existsSync(driver) ? undefined : `no ${driver}: apt-get install chromium`;
}
