// Makes what Relais serves as `/v1/client.js`: one file, small, and compressed ahead.
//
// `node bundle.mjs` writes it into the server, whose build needs nothing but Rust and a C compiler; a test compares
// (test/bundle.test.mjs).
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';
import ts from 'typescript';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ENTRY = path.join(HERE, 'src/served.ts');

/** Where the server has it. */
export const PLACE = path.join(HERE, '../../crates/server/src/answer/script/client.js');

/** What the sources allow: nothing in them depends on names of functions, on a getter that is read for what it does, on how NaN compares, or changes what the language brings. */
const SMALLEST = { passes: 6, hoist_funs: true, pure_getters: true, lhs_constants: false, unsafe: true, unsafe_arrows: true, unsafe_comps: true, unsafe_methods: true };

/** The text of the script. */
export async function bundled() {
  const { outputFiles } = await build({
    absWorkingDir: HERE,
    entryPoints: [ENTRY],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    write: false,
    logLevel: 'warning',
    // Else each field of a constructor is written twice.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    mangleProps: new RegExp(`^(${innerNames().join('|')})$`),
    plugins: [{ name: 'styles', setup: ({ onLoad }) => onLoad({ filter: /elements\/style\.ts$/ }, smallStyles) }],
  });
  const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2022, compress: SMALLEST });
  return `${code}\n`;
}

/** The names of members that no page sees, and that nothing else is called by: shorter ones do as well. */
function innerNames() {
  const { config } = ts.readConfigFile(path.join(HERE, 'tsconfig.json'), ts.sys.readFile);
  const program = ts.createProgram([ENTRY], ts.parseJsonConfigFileContent(config, ts.sys, HERE).options);
  const checker = program.getTypeChecker();
  const entry = checker.getSymbolAtLocation(program.getSourceFile(ENTRY));
  const exported = new Set(checker.getExportsOfModule(entry).map((symbol) => symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol));
  const isInner = (member) => {
    const owner = ts.isParameter(member) ? member.parent.parent : member.parent;
    const isPrivate = ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private;
    return isPrivate || (ts.isClassDeclaration(owner) && !owner.getSourceFile().isDeclarationFile && !exported.has(checker.getSymbolAtLocation(owner.name)));
  };
  const [own, others] = [new Set(), new Set()];
  const visit = (node) => {
    const symbol = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node) : undefined;
    if (symbol && symbol.flags & ts.SymbolFlags.ClassMember) {
      (symbol.declarations?.length && symbol.declarations.every(isInner) ? own : others).add(symbol.name);
    }
    ts.forEachChild(node, visit);
  };
  program.getSourceFiles().filter(({ isDeclarationFile }) => !isDeclarationFile).forEach(visit);
  return [...own].filter((name) => !others.has(name));
}

/** Styles are texts, which nobody else makes smaller. */
function smallStyles({ path: file }) {
  const contents = fs.readFileSync(file, 'utf8').replace(/`[^`]*`/g, (style) => style
    .replace(/\s+/g, ' ')
    .replace(/ ?([{};,>]) ?/g, '$1')
    .replace(/: /g, ':')
    .replaceAll(';}', '}'));
  return { contents, loader: 'ts' };
}

/** The script as browsers get it: the smallest that each coding makes of it. */
function compressed(text) {
  const brotli = (postfix) => brotliCompressSync(text, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
      [constants.BROTLI_PARAM_NPOSTFIX]: postfix,
    },
  });
  const [br] = [0, 1, 2, 3].map(brotli).sort((one, other) => one.length - other.length);
  return { gz: gzipSync(text, { level: constants.Z_BEST_COMPRESSION }), br };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await bundled();
  fs.writeFileSync(PLACE, text);
  for (const [coding, bytes] of Object.entries(compressed(text))) fs.writeFileSync(`${PLACE}.${coding}`, bytes);
}
