// What imports what in lib, and what is wrong with it.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import ts from 'typescript';
import { nameOf, type Room } from './floors.js';

/** Files of lib, and the files of lib that each of them imports, types included. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** Reads every import, export from, import() and import type below `lib`. */
export function readImports(lib: string): Imports {
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => /\.(?:ts|js)$/.test(file))
    .sort();
  return new Map(files.map((file) => [file, importsOf(file, readFileSync(join(lib, file), 'utf8'))]));
}

/** What a file with this text imports from lib. */
export function importsOf(file: string, text: string): string[] {
  const found = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  const relative = found.filter((name) => name.startsWith('.'));
  const own = relative.map((name) => posix.join(posix.dirname(file), name));
  return [...new Set(file.endsWith('.ts') ? own.map((name) => name.replace(/\.js$/, '.ts')) : own)];
}

/** The room of a file: where it is named itself, or the folder that it is in. */
export function roomOf(file: string, rooms: readonly Room[]): Room | undefined {
  const named = (path: string) => (path.endsWith('/') ? file.startsWith(path) : file === path);
  return rooms.find(({ path }) => [path].flat().some(named));
}

/** One sentence for each file outside of the rooms, each arrow that does not lead down, and each circle. */
export function problemsOf(imports: Imports, rooms: readonly Room[]): string[] {
  const problems: string[] = [];
  for (const [file, targets] of imports) {
    const room = roomOf(file, rooms);
    if (!room) problems.push(`lib/${file} is in no room of test/house/floors.ts`);
    for (const target of targets) {
      const other = roomOf(target, rooms);
      if (!imports.has(target)) problems.push(`lib/${file} imports lib/${target}, which is not there`);
      if (!room || !other || other === room) continue;
      const arrow = `lib/${file} (floor ${room.floor}) imports lib/${target} (floor ${other.floor})`;
      if (other.floor >= room.floor) problems.push(`${arrow}: a file imports from its own room or from floors below`);
      else if (room.without?.includes(nameOf(other))) {
        problems.push(`${arrow}: ${nameOf(room)} does without ${nameOf(other)}`);
      }
    }
  }
  for (const circle of circlesOf(imports)) {
    problems.push(`${[...circle, circle[0]].map((file) => `lib/${file}`).join(' -> ')} is a circle`);
  }
  return problems;
}

/** Circles, each told once: the files of a way back to where it began. */
export function circlesOf(imports: Imports): string[][] {
  const circles: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, way: string[]): void => {
    const at = way.indexOf(file);
    if (at >= 0) circles.push(way.slice(at));
    if (at >= 0 || done.has(file)) return;
    for (const target of imports.get(file) ?? []) visit(target, [...way, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  return circles;
}
