import commonjs from '@rollup/plugin-commonjs';
import resolve from '@rollup/plugin-node-resolve';
import natives from 'rollup-plugin-natives';

const external = [/^node:/];
const node = [resolve({ preferBuiltins: true }), commonjs()];

export default [
  // For Node, with the addon, which the plugin copies into lib/ beside the bundle.
  {
    input: 'addon.mjs',
    external,
    output: { file: 'out/addon/main.mjs', format: 'esm', inlineDynamicImports: true },
    plugins: [natives({ copyTo: 'out/addon/lib', destDir: './lib', targetEsm: true }), ...node],
  },
  // For Node, with nothing said: WebAssembly.
  {
    input: 'node.mjs',
    external,
    output: { file: 'out/plain/main.mjs', format: 'esm', inlineDynamicImports: true },
    plugins: node,
  },
  {
    input: 'node.mjs',
    external,
    output: { file: 'out/plain-cjs/main.cjs', format: 'cjs', inlineDynamicImports: true },
    plugins: node,
  },
  // For a page.
  { input: 'page.mjs', output: { file: 'out/page/main.js', format: 'esm' }, plugins: [resolve({ browser: true })] },
];
