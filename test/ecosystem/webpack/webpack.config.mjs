import { resolve } from 'node:path';

const out = (name) => ({ path: resolve('out', name), filename: 'main.cjs' });
const node = { mode: 'production', target: 'node20' };

export default [
  // For Node, with the addon: node-loader copies .node files beside the bundle.
  {
    ...node,
    entry: './addon.mjs',
    output: out('addon'),
    module: { rules: [{ test: /\.node$/, loader: 'node-loader' }] },
  },
  // For Node, with nothing said: WebAssembly, where the bundle is away from node_modules.
  { ...node, entry: './node.mjs', output: out('plain') },
  // For Node, with the package left in node_modules.
  {
    ...node,
    entry: './node.mjs',
    output: out('external'),
    externals: [/^dpm-solver(\/|$)/],
    externalsType: 'node-commonjs',
  },
  // For a page.
  {
    mode: 'production',
    target: 'web',
    entry: './page.mjs',
    output: { path: resolve('out/page'), filename: 'main.js' },
  },
  // For a page with onnxruntime-web.
  {
    mode: 'production',
    target: 'web',
    entry: './web.mjs',
    output: { path: resolve('out/web'), filename: 'main.js' },
  },
];
