// What tests on WebGPU need: the graphics processor in software that Debian's chromium brings.
import { existsSync } from 'node:fs';
import { ortLibrary } from '../../lib/onnx/index.js';

const chromium = '/usr/lib/chromium';

/** The environment in which onnxruntime-node finds SwiftShader. */
export const swiftshader = {
  LD_LIBRARY_PATH: chromium,
  VK_ICD_FILENAMES: `${chromium}/vk_swiftshader_icd.json`,
};

/** Why WebGPU cannot be tested here; undefined where it can. */
export async function whyNoWebGpu(): Promise<string | undefined> {
  const { providers } = await ortLibrary();
  if (!providers.includes('WebGpuExecutionProvider')) return 'this onnxruntime-node has no WebGPU';
  const file = swiftshader.VK_ICD_FILENAMES;
  return existsSync(file) ? undefined : `no ${file}: apt-get install chromium`;
}
