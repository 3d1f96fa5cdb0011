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
    /** null: compiled for a machine. */
    libraryBytes: number | null;
    importRatio: number;
    compared?: string;
  }[];
  chosen: {
    part: string;
    library: string;
    version: string;
    used?: true;
    packages: number;
    bytes: number;
    importRatio: number;
  }[];
  pictures: { name: string; bytes: number; libraryBytes: number; time: number }[];
}

const kilo = (bytes: number) => `${bytes < 10_000 ? (bytes / 1000).toFixed(1) : Math.round(bytes / 1000)} kB`;

export function render(): Rendered {
  const { rows, chosen, pictures } = results<Parts>('parts');
  const installs = ({ bytes, packages }: { bytes: number; packages: number }) =>
    `${kilo(bytes)} in ${packages === 1 ? 'one package' : `${packages} packages`}`;
  const times = ({ importRatio }: { importRatio: number }) => `${importRatio.toFixed(1)} times an empty process`;
  return {
    svgs: {},
    tables: {
      parts: table(
        ['part', 'here', 'library', 'installs', 'in a bundle', 'import'],
        rows.map((row) => [
          row.part,
          `\`${row.file}\`, ${kilo(row.ownBytes)} in a bundle`,
          `\`${row.library}\` ${row.version}`,
          installs(row),
          row.libraryBytes === null ? 'in none' : kilo(row.libraryBytes),
          times(row),
        ]),
      ),
      'parts-compared': rows
        .filter((row) => row.compared !== undefined)
        .map((row) => `- \`${row.library}\`: ${row.compared}.`)
        .join('\n'),
      'parts-chosen': table(
        ['part', 'library', 'installs', 'import'],
        chosen.map((row) => [
          row.part,
          `\`${row.library}\` ${row.version}${row.used ? ', used' : ''}`,
          installs(row),
          times(row),
        ]),
      ),
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
