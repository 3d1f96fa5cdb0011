import { build } from 'esbuild';

// For Node, with the addon: .node files are copied beside the bundle.
await build({
  entryPoints: ['addon.mjs'],
  outfile: 'out/addon/main.cjs',
  bundle: true,
  platform: 'node',
  loader: { '.node': 'copy' },
});

// The same as an ES module, which has no require() by itself.
await build({
  entryPoints: ['addon.mjs'],
  outfile: 'out/addon-esm/main.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  loader: { '.node': 'copy' },
  banner: { js: "import { createRequire as from } from 'node:module'; const require = from(import.meta.url);" },
});

// For Node, with nothing said: WebAssembly.
await build({
  entryPoints: ['node.mjs'],
  outfile: 'out/plain/main.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
});

// For a page.
await build({ entryPoints: ['page.mjs'], outfile: 'out/page/main.js', bundle: true, format: 'esm', minify: true });
