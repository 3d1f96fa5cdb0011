// What libraries would bring in place of parts of this package: bench/results/parts.json.
import { type Rendered, results, table } from './data.js';

interface Parts {
  rows: {
    part: string;
    library: string;
    version: string;
    lines: number;
    file: string;
    ownBytes: number;
    packages: number;
    bytes: number;
    libraryBytes: number;
    importRatio: number;
    compared?: string;
  }[];
  pictures: { name: string; bytes: number; libraryBytes: number; time: number }[];
}

const kilo = (bytes: number) => `${bytes < 10_000 ? (bytes / 1000).toFixed(1) : Math.round(bytes / 1000)} kB`;

export function render(): Rendered {
  const { rows, pictures } = results<Parts>('parts');
  return {
    svgs: {},
    tables: {
      parts: table(
        ['part', 'here', 'library', 'installs', 'in a bundle', 'import'],
        rows.map((row) => [
          row.part,
          `\`${row.file}\`, ${kilo(row.ownBytes)} in a bundle`,
          `\`${row.library}\` ${row.version}`,
          `${kilo(row.bytes)} in ${row.packages === 1 ? 'one package' : `${row.packages} packages`}`,
          kilo(row.libraryBytes),
          `${row.importRatio.toFixed(1)} times an empty process`,
        ]),
      ),
      'parts-compared': rows
        .filter((row) => row.compared !== undefined)
        .map((row) => `- \`${row.library}\`: ${row.compared}.`)
        .join('\n'),
      'parts-png': table(
        ['picture', 'by `pngjs`', 'by `fast-png`', 'time of `fast-png`'],
        pictures.map(({ name, bytes, libraryBytes, time }) => [
          `[${name}](figures/${name})`,
          kilo(bytes),
          kilo(libraryBytes),
          `${time.toFixed(1)} times`,
        ]),
      ),
    },
  };
}
