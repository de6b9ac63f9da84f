// Makes what Relais serves as `/v1/client.js`: one file, small, and compressed ahead.
//
// `node bundle.mjs` writes it into the server, whose build needs nothing but Rust; a test compares (test/bundle.test.mjs).
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const HERE = path.dirname(fileURLToPath(import.meta.url));

/** Where the server has it. */
export const PLACE = path.join(HERE, '../../crates/server/src/answer/script/client.js');

/** The text of the script. */
export async function bundled() {
  const { outputFiles } = await build({
    absWorkingDir: HERE,
    entryPoints: ['src/served.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    // Else each field of a constructor is written twice.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    write: false,
    logLevel: 'warning',
    plugins: [{ name: 'small-styles', setup: ({ onLoad }) => onLoad({ filter: /elements\/style\.ts$/ }, smallStyles) }],
  });
  return outputFiles[0].text;
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await bundled();
  fs.writeFileSync(PLACE, text);
  fs.writeFileSync(`${PLACE}.gz`, gzipSync(text, { level: 9 }));
  const best = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: text.length };
  fs.writeFileSync(`${PLACE}.br`, brotliCompressSync(text, { params: best }));
}
