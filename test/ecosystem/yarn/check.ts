import type { Project } from '../project.js';

/** yarn installs, not npm. */
export const installs = false;

export default async function check(project: Project): Promise<void> {
  project.add();
  const yarn = project.manager('@yarnpkg/cli-dist', 'bin/yarn.js');
  const registry = project.run('npm', ['config', 'get', 'registry']).stdout.trim();
  const env = { YARN_NPM_REGISTRY_SERVER: registry, YARN_UNSAFE_HTTP_WHITELIST: new URL(registry).hostname };
  project.node([yarn, 'install'], env);
  project.program('Plug and Play', process.execPath, [yarn, 'node', 'node.mjs'], { backend: 'native', env });
}
