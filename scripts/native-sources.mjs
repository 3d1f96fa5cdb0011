// Prints the addon's C++ sources for binding.gyp: what CMakeLists.txt globs, the per-instruction-set files aside.
import { existsSync, readdirSync } from 'node:fs';

for (const folder of ['addon', 'coefficients', 'noise', 'cpu']) {
  if (!existsSync(`native/${folder}`)) continue;
  for (const file of readdirSync(`native/${folder}`).sort()) {
    if (file.endsWith('.cpp') && !file.startsWith('isa_')) console.log(`native/${folder}/${file}`);
  }
}
