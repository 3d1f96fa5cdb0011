// What TypeScript makes of the declarations: programs/ compile as they stand, in every way that a project resolves modules,
// with the strictest settings and each version of TypeScript that is there; and a mistake gets words that name it.
// DPM_SOLVER_TYPESCRIPTS: paths of further tsc, separated as PATH is.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as schedulers from '../../lib/schedulers/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const built = existsSync(join(root, 'dist/index.d.ts'));
if (!built) console.log('skipped: dist is not built');
const tests = suite('types');
const test = built ? tests : tests.skip;

const own = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const further = (process.env.DPM_SOLVER_TYPESCRIPTS ?? '').split(delimiter).filter(Boolean);
const compilers = [own, ...further].map((tsc) => {
  const { stdout } = spawnSync(process.execPath, [tsc, '--version'], { encoding: 'utf8' });
  return { tsc, version: stdout.trim().replace('Version ', '') };
});

/** A project that has the package, and onnxruntime where it is to. */
const project = mkdtempSync(join(tmpdir(), 'dpm-solver-types-'));
process.on('exit', () => rmSync(project, { recursive: true, force: true }));
mkdirSync(join(project, 'node_modules/@types'), { recursive: true });
for (const name of ['onnxruntime-node', 'onnxruntime-common', '@types/node', 'undici-types']) {
  symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name), 'junction');
}
symlinkSync(root, join(project, 'node_modules/dpm-solver'), 'junction');
cpSync(fileURLToPath(new URL('programs', import.meta.url)), project, { recursive: true });
writeFileSync(join(project, 'package.json'), '{ "type": "module" }\n');

function compile(tsc: string, options: object, files: readonly string[]) {
  const name = `tsconfig.${Math.random().toString(36).slice(2)}.json`;
  const compilerOptions = {
    ...{ noEmit: true, strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
    ...{ skipLibCheck: false, target: 'es2022', lib: ['es2022'], types: [] },
    ...options,
  };
  writeFileSync(join(project, name), JSON.stringify({ compilerOptions, files }));
  const done = spawnSync(process.execPath, [tsc, '-p', name, '--pretty', 'false'], { cwd: project, encoding: 'utf8' });
  return { status: done.status, output: `${done.stdout}${done.stderr}` };
}

const RESOLUTIONS = [
  { module: 'node16', moduleResolution: 'node16' },
  { module: 'nodenext', moduleResolution: 'nodenext' },
  { module: 'esnext', moduleResolution: 'bundler' },
];

for (const { tsc, version } of compilers) {
  for (const resolution of RESOLUTIONS) {
    test(`TypeScript ${version}, ${resolution.moduleResolution}: all modules, with nothing but the language's library`, () => {
      const { status, output } = compile(tsc, resolution, ['solver.ts', 'schedulers.ts', 'others.ts']);
      assert.is(status, 0, output);
    });
    test(`TypeScript ${version}, ${resolution.moduleResolution}: with onnxruntime's tensors`, () => {
      // onnxruntime's own declarations need the browser's library, and do not pass every check.
      const options = { ...resolution, skipLibCheck: true, types: ['node'], lib: ['es2022', 'dom'] };
      const { status, output } = compile(tsc, options, ['onnx.ts']);
      assert.is(status, 0, output);
    });
  }
  test(`TypeScript ${version}: words for a mistake name it, and no other way to call`, () => {
    const lines = readFileSync(join(project, 'mistakes.ts'), 'utf8').split('\n');
    const { output } = compile(tsc, RESOLUTIONS[1], ['mistakes.ts']);
    const said = output.split(/^(?=mistakes\.ts\()/m);
    let mistakes = 0;
    for (const [i, line] of lines.entries()) {
      const expected = / \/\/ (.*)$/.exec(line)?.[1];
      const about = said.filter((one) => one.startsWith(`mistakes.ts(${i + 1},`));
      assert.is(about.length, expected === undefined ? 0 : 1, `${line}\n${about.join('')}`);
      if (expected === undefined) continue;
      mistakes++;
      assert.ok(about[0].replaceAll('"cpu", Tensor<', '').includes(expected), `${expected}\n${about[0]}`);
      assert.not.match(about[0], /overload|Device/i);
    }
    assert.is(mistakes, 14);
  });
}

test('the keys of a configuration are those of its class', () => {
  const options = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, noEmit: true };
  const program = ts.createProgram([join(root, 'dist/schedulers/index.d.ts')], { ...options, strict: true, types: [] });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(join(root, 'dist/schedulers/index.d.ts'));
  const module = source && checker.getSymbolAtLocation(source);
  assert.ok(module);
  // A pipeline makes mu of these; the class is told that.
  const ofPipelines = ['base_shift', 'max_shift', 'base_image_seq_len', 'max_image_seq_len'];
  let classes = 0;
  for (const symbol of checker.getExportsOfModule(module)) {
    const rules = (schedulers as Record<string, { rules?: { defaults: object } } | undefined>)[symbol.name]?.rules;
    if (!rules) continue;
    classes++;
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const [made] = checker.getTypeOfSymbol(target).getConstructSignatures();
    const config = checker.getNonNullableType(checker.getTypeOfSymbol(made.parameters[1]));
    const keys = config.getProperties().map(({ name }) => name);
    const expected = [...Object.keys(rules.defaults), '_class_name'].sort();
    assert.equal(keys.filter((key) => !ofPipelines.includes(key)).sort(), expected, symbol.name);
    for (const property of config.getProperties()) {
      const docs = ts.displayPartsToString(property.getDocumentationComment(checker));
      assert.ok(docs.length > 0, `${symbol.name}: ${property.name} has no comment`);
    }
  }
  assert.is(classes, 30);
});

tests.run();
