// The code of the guide, as its readers have it: taken out of the page, and put together by esbuild as their bundlers do.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const HERE = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const GUIDE = fs.readFileSync(path.join(HERE, '../../docs/guide/client.md'), 'utf8');

// Where the service of the page listens; a test has its own.
const SERVICE = /http:\/\/127\.0\.0\.1:3000/g;

// The files of the page by their names: the first line of each block of code says it, as a comment.
export const files = Object.fromEntries(
  [...GUIDE.matchAll(/^```\w+\n(?:\/\/|#|<!--) (\S+\.\w+)(?: -->)?\n([^]*?)^```/gm)].map(([, name, text]) => [name, text.replace(SERVICE, 'SERVICE')]),
);

// Its routes; what else its configuration says, a site of the tests has in its own way.
export const routes = files['relais.toml'].replace(/^\[server\][^]*?(?=^\[\[route)/m, '');

// One script of `entry` and all that it uses: files of the page, the client as it was built, packages of npm.
export async function bundle(entry, more = {}) {
  const all = { ...files, ...more };
  const page = {
    name: 'page',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.\/|^page:/ }, ({ path: wanted, importer, namespace }) => {
        const name = wanted.replace(/^\.\/|^page:/, '');
        const isOfPage = name in all && (namespace === 'page' || !importer);
        return isOfPage ? { path: name, namespace: 'page' } : undefined;
      });
      onLoad({ filter: /.*/, namespace: 'page' }, ({ path: name }) => ({
        contents: all[name], loader: name.endsWith('.jsx') ? 'jsx' : 'js', resolveDir: HERE,
      }));
    },
  };
  const made = await build({
    entryPoints: [`page:${entry}`], bundle: true, write: false, external: ['/v1/client.js'], format: 'esm', jsx: 'automatic', logLevel: 'error', plugins: [page],
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  return made.outputFiles[0].text;
}

// How the pages look in the pictures of the guide, whose code says nothing of that.
const STYLE = `body { font: 16px system-ui, sans-serif; margin: 24px; } button, input { font: inherit; padding: 6px 14px; }
progress { width: 180px; margin: 0 12px; vertical-align: middle; } output { margin-right: 12px; } p { padding: 8px 12px; border-radius: 8px; width: fit-content; }
.user { background: #e8eefc; margin-left: auto; } .assistant { background: #f3f3f3; } a { display: block; margin-top: 12px; }`;

// With SHOTS=docs/guide/img: a picture of the page, as Chromium shows it.
export async function shot(page, name, browser) {
  if (!process.env.SHOTS || browser !== 'chromium') return;
  await page.run((style) => document.head.append(Object.assign(document.createElement('style'), { textContent: style })), STYLE);
  await page.shot(path.join(process.env.SHOTS, `${name}.png`));
}
