import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Project } from '../project.js';

const next = 'node_modules/next/dist/bin/next';

export default async function check(project: Project): Promise<void> {
  project.onnxruntime();
  const env = { NEXT_TELEMETRY_DISABLED: '1' };
  const routes = async (address: string) => {
    project.reports({ stdout: await text(`${address}/api/run`), stderr: '' }, { backend: 'native' });
    project.isRedCircle(JSON.parse(await text(`${address}/api/picture`)));
    project.log('API routes', 'native');
  };
  project.node([next, 'build'], env);
  await project.served('client page', [next, 'start', '-p', '0'], routes);
  // With nothing said the package is bundled, and finds its addon in node_modules as long as that is there.
  writeFileSync(join(project.folder, 'next.config.mjs'), 'export default {};\n');
  project.node([next, 'build'], env);
  await project.served('client page, nothing said', [next, 'start', '-p', '0'], async (address) => {
    project.reports({ stdout: await text(`${address}/api/run`), stderr: '' }, { backend: 'native' });
    project.log('API route, nothing said', 'native');
  });
}

async function text(address: string): Promise<string> {
  const response = await fetch(address);
  const body = await response.text();
  if (!response.ok) throw new Error(`${address}: ${response.status} ${body}`);
  return body;
}
