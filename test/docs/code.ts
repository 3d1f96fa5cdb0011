// Code blocks as modules that can be checked and run. A name that a block neither declares nor imports comes from the
// blocks before it on its page. What only its reader has stands in a line `// yours: unet (a network), json`, and is
// taken from test/docs/stand-ins: no other name is.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { Block } from './pages.js';

export const LANGUAGES = ['ts', 'js', 'mjs'];

/** A block as a module. */
export interface Unit {
  block: Block;
  /** Its TypeScript, in the scratch folder. */
  path: string;
  /** Its JavaScript. */
  module: string;
}

export interface Complaint {
  page: string;
  line: number;
  message: string;
}

function parse(name: string, text: string): ts.SourceFile {
  return ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true, ts.ScriptKind.TS);
}

/** What a module declares at its top level, and whether as a type only. */
export function declared(source: ts.SourceFile): Map<string, 'value' | 'type'> {
  const names = new Map<string, 'value' | 'type'>();
  const bind = (name: ts.BindingName): void => {
    if (ts.isIdentifier(name)) names.set(name.text, 'value');
    else for (const element of name.elements) if (ts.isBindingElement(element)) bind(element.name);
  };
  for (const statement of source.statements) {
    if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) bind(name);
    } else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) {
      if (statement.name) names.set(statement.name.text, 'value');
    } else if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) {
      names.set(statement.name.text, 'type');
    } else if (ts.isImportDeclaration(statement) && statement.importClause) {
      const { importClause } = statement;
      const all = importClause.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type' : 'value';
      if (importClause.name) names.set(importClause.name.text, all);
      const bindings = importClause.namedBindings;
      if (bindings && ts.isNamespaceImport(bindings)) names.set(bindings.name.text, all);
      if (bindings && ts.isNamedImports(bindings)) {
        for (const { name, isTypeOnly } of bindings.elements) names.set(name.text, isTypeOnly ? 'type' : all);
      }
    }
  }
  return names;
}

function isExported(statement: ts.Statement): boolean {
  return (
    ts.canHaveModifiers(statement) &&
    (ts.getModifiers(statement) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
  );
}

/** The names that a block speaks of (not those after a dot, nor keys), and those that it assigns to. */
function mentioned(source: ts.SourceFile): { names: Set<string>; assigned: Set<string> } {
  const names = new Set<string>();
  const assigned = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const member =
        (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
        (ts.isPropertyAssignment(parent) && parent.name === node) ||
        (ts.isMethodDeclaration(parent) && parent.name === node) ||
        (ts.isBindingElement(parent) && parent.propertyName === node);
      if (!member) names.add(node.text);
    }
    if (
      ts.isBinaryExpression(node) &&
      node.operatorToken.kind >= ts.SyntaxKind.FirstAssignment &&
      node.operatorToken.kind <= ts.SyntaxKind.LastAssignment &&
      ts.isIdentifier(node.left)
    ) {
      assigned.add(node.left.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { names, assigned };
}

/** Stand-in -> its module. */
export function standIns(root: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const file of readdirSync(join(root, 'test/docs/stand-ins'))) {
    const source = parse(file, readFileSync(join(root, 'test/docs/stand-ins', file), 'utf8'));
    for (const statement of source.statements) {
      if (!isExported(statement)) continue;
      for (const name of declared({ statements: [statement] } as unknown as ts.SourceFile).keys()) {
        found.set(name, file.replace(/\.ts$/, '.js'));
      }
    }
  }
  return found;
}

/** The names that a block says are its reader's own. */
function yours({ page, line, text }: Block): Set<string> {
  const found = /^\/\/ yours: (.+)$/m.exec(text)?.[1];
  if (found === undefined) return new Set();
  const names = found
    .replace(/\([^()]*\)/g, '')
    .split(',')
    .map((name) => name.trim());
  const odd = names.find((name) => !/^[A-Za-z]\w*$/.test(name));
  if (odd !== undefined) throw new Error(`${page}:${line}: '${odd}' in the line of what is the reader's is no name`);
  return new Set(names);
}

/** Writes the blocks into `scratch`, the folder of a project that has the package. */
export function write(root: string, scratch: string, all: readonly Block[]): Unit[] {
  const places = standIns(root);
  for (const file of new Set(places.values())) {
    const name = file.replace(/\.js$/, '.ts');
    const text = readFileSync(join(root, 'test/docs/stand-ins', name), 'utf8');
    mkdirSync(join(scratch, 'stand-ins'), { recursive: true });
    writeFileSync(join(scratch, 'stand-ins', name), text);
    writeFileSync(join(scratch, 'stand-ins', file), transpile(text));
  }
  const earlier = new Map<string, Map<string, { file: string; kind: 'value' | 'type' }>>();
  return all.map((block) => {
    const page = block.page.replace(/\.md$/, '').replaceAll('/', '-');
    const file = `${page}-${block.number}`;
    const source = parse(file, block.text);
    const own = declared(source);
    const { names, assigned } = mentioned(source);
    const before = earlier.get(block.page) ?? new Map();
    earlier.set(block.page, before);
    const head: string[] = [];
    const readers = yours(block);
    for (const name of [...readers, ...block.with.keys()]) {
      const original = block.with.get(name) ?? name;
      if (readers.has(name) && names.has(name) && !own.has(name) && places.has(original)) continue;
      throw new Error(
        `${block.page}:${block.line}: ${name} is not the reader's, is not used or has no stand-in ${original} in test/docs/stand-ins`,
      );
    }
    /** Where a name that is not the block's own comes from. */
    const origin = (name: string) => {
      const original = block.with.get(name) ?? name;
      if (readers.has(name)) return { original, place: `./stand-ins/${places.get(original)}`, kind: 'value' };
      const known = before.get(name);
      return known && { original: name, place: `./${known.file}.js`, kind: known.kind };
    };
    for (const name of names) {
      const from = own.has(name) ? undefined : origin(name);
      if (!from) continue;
      const { original, place, kind } = from;
      if (assigned.has(name)) head.push(`import { ${original} as $${name} } from '${place}'; let ${name} = $${name};`);
      else head.push(`import ${kind === 'type' ? 'type ' : ''}{ ${original} as ${name} } from '${place}';`);
    }
    const taken = new Set(
      source.statements
        .filter(isExported)
        .flatMap((s) => [...declared({ statements: [s] } as unknown as ts.SourceFile).keys()]),
    );
    const tail = [...own]
      .filter(([name]) => !taken.has(name))
      .map(([name, kind]) => `export ${kind === 'type' ? 'type ' : ''}{ ${name} };`);
    for (const [name, kind] of own) before.set(name, { file, kind });
    // One line before the block's own, so that its lines are found again.
    const text = `${head.join(' ')}\n${block.text}\n${tail.join(' ')}\nexport {};\n`;
    const path = join(scratch, `${file}.ts`);
    writeFileSync(path, text);
    const module = join(scratch, `${file}.js`);
    writeFileSync(module, transpile(text));
    return { block, path, module };
  });
}

function transpile(text: string): string {
  const compilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ES2022,
    verbatimModuleSyntax: true,
  };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

/** What a strict compiler has to say about the blocks, by lines of their pages. */
export function typecheck(units: readonly Unit[]): Complaint[] {
  const program = ts.createProgram(
    units.map(({ path }) => path),
    {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      types: ['node'],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      verbatimModuleSyntax: true,
    },
  );
  const byPath = new Map(units.map((unit) => [unit.path.replaceAll('\\', '/'), unit]));
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const message = ts.flattenDiagnosticMessageText(messageText, ' ');
    const unit = file && byPath.get(file.fileName);
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line : 0;
    if (!unit) return { page: file?.fileName ?? 'the compiler', line: line + 1, message };
    return { page: unit.block.page, line: unit.block.line + line - 1, message };
  });
}
