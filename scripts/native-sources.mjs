// Prints the addon's C++ sources for binding.gyp: what CMakeLists.txt globs, the per-instruction-set files aside.
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';

for (const folder of ['addon', 'coefficients', 'noise', 'cpu', 'ort']) {
  for (const file of readdirSync(`native/${folder}`, { recursive: true, encoding: 'utf8' }).sort()) {
    if (file.endsWith('.cpp') && !basename(file).startsWith('isa_')) {
      console.log(`native/${folder}/${file.replaceAll('\\', '/')}`);
    }
  }
}
