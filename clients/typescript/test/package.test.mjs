// The package as others get it: what is in it, its types, and a page that uses it in real browsers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { files, shot } from './guide.mjs';
import { gate, proxy, relais, upstream } from './support.mjs';

const HERE = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const BIN = path.join(HERE, 'node_modules/.bin');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'relais-package-'));
let packed, installed;

before(() => {
  const said = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: HERE });
  [packed] = JSON.parse(said);
  // As `npm install` of the file would lay it out; there is nothing else to install.
  installed = path.join(folder, 'node_modules/@relais/client');
  fs.mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', path.join(folder, packed.filename), '-C', installed, '--strip-components=1']);
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

test('the types are those of the description of the interface', () => {
  const made = path.join(folder, 'openapi.ts');
  execFileSync(path.join(BIN, 'openapi-typescript'), [path.join(HERE, '../../crates/api/openapi.json'), '--output', made]);
  const isSame = fs.readFileSync(made, 'utf8') === fs.readFileSync(path.join(HERE, 'src/generated/openapi.ts'), 'utf8');
  assert.ok(isSame, 'run `npm run types` in clients/typescript');
});

test('the package has its modules with their types, and depends on nothing', () => {
  const description = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8'));
  assert.equal(description.dependencies, undefined);
  assert.equal(description.type, 'module');
  const files = packed.files.map((file) => file.path);
  for (const file of files) assert.match(file, /^(README\.md|package\.json|dist\/[a-z/-]+\.(js|d\.ts))$/);
  for (const entry of Object.values(description.exports)) {
    for (const target of Object.values(entry)) assert.ok(files.includes(target.slice(2)), target);
  }
  for (const file of files.filter((name) => name.endsWith('.js'))) {
    assert.ok(files.includes(file.replace(/js$/, 'd.ts')), file);
    const length = fs.readFileSync(path.join(HERE, file.replace('dist', 'src').replace(/js$/, 'ts')), 'utf8').split('\n').length;
    assert.ok(length <= 300 || file.includes('generated'), `${file} has ${length} lines`);
  }
});

test('a program that uses the package is checked by its types', () => {
  fs.writeFileSync(path.join(folder, 'program.mts'), `
import { AnswerReplaced, Relais, relaisFetch, type TaskEvent } from '@relais/client';
const relais = new Relais({ url: 'https://api.example.com' });
const task = await relais.submit({ queue: 'imports', input: { file: 'orders.csv' } });
const told: TaskEvent[] = [];
for await (const event of task.events()) told.push(event);
for await (const { percent } of task.progress()) percent?.toFixed();
for await (const bytes of task.live()) bytes.byteLength;
export const status: number = (await relaisFetch('/report', { method: 'POST' })).status;
export const isOver: boolean = (await task.read()).terminal;
export const again = (error: unknown) => error instanceof AnswerReplaced && error.restart();
// @ts-expect-error the queue is needed
await relais.submit({ lane: 'c-17' });
// @ts-expect-error there is no such transport
new Relais({ transports: ['pigeon'] });
`);
  const more = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom,dom.asynciterable'];
  execFileSync(path.join(BIN, 'tsc'), [...more, 'program.mts'], { cwd: folder, stdio: 'inherit' });
});

// The page of the guide, of some ten lines, without a bundler: with the packed file, and with what Relais serves.
const SERVED = files['shop.html'];
const PAGE = files['packed.html'] + SERVED.replace('/v1/client.js', '@relais/client');

test('a page of ten lines has its answer by the packed file, and reads a cut one on, in both browsers', async (context) => {
  let slow = gate();
  const pieces = ['data: one\n\n', 'data: two\n\n', 'data: three\n\n'];
  const service = await upstream(async (request, body, response) => {
    const { pathname } = new URL(request.url, 'http://service');
    const shown = { '/': PAGE, '/served': SERVED }[pathname];
    if (shown) return { fields: { 'content-type': 'text/html' }, body: shown };
    if (pathname.startsWith('/client/')) {
      const file = path.join(installed, pathname.slice('/client/'.length));
      return { fields: { 'content-type': 'text/javascript' }, body: fs.readFileSync(file) };
    }
    await slow.promise;
    if (pathname === '/imports/june') return { fields: { 'content-type': 'text/plain' }, body: `imported ${body}` };
    const length = Buffer.byteLength(pieces.join(''));
    const counted = pathname.endsWith('counted') ? { 'content-length': length } : {};
    response.writeHead(200, { 'content-type': 'text/event-stream', ...counted });
    for (const piece of pieces) {
      response.write(piece);
      await new Promise((done) => setImmediate(done));
    }
    response.end();
    return undefined;
  });
  const server = await relais({ config: `[queue."*"]
[[route]]
path = "/imports/{*rest}"
upstream = "${service.url}"
mode = "async"
[[route]]
path = "/slow/{*rest}"
upstream = "${service.url}"
mode = "async"
[[route]]
path = "/chat/{*rest}"
upstream = "${service.url}"
mode = "auto"
[[route]]
path = "/{*rest}"
upstream = "${service.url}"
mode = "sync"
` });
  context.after(async () => {
    front.stop();
    await server.stop();
    service.stop();
  });
  let cuts = 0;
  const front = await proxy(server.base, {
    seen: (text, cut) => {
      if (!text.includes('data: two')) return;
      cuts += 1;
      // Twice in a row, at another byte each time.
      if (cuts % 3 !== 0) cut(text.indexOf('data: two') + cuts % 3);
    },
  });
  await eachBrowser(async (page, { name }) => {
    await page.go(front.base);
    await page.click('button');
    slow.done();
    await page.untilSaid('imported orders of June');
    await shot(page, 'client-fetch', name);
    await page.go(`${front.base}/served`);
    await page.click('button');
    await page.untilSaid('imported orders of June');
    for (const path of ['/chat/plain', '/chat/counted', '/slow/counted']) {
      const said = await page.run(async (wanted) => {
        const { relaisFetch } = await import('/client/dist/index.js');
        return (await relaisFetch(wanted, { method: 'POST', body: 'x' })).text();
      }, path);
      assert.equal(said, pieces.join(''), `${path} (${name})`);
    }
    const told = await page.run(async () => {
      const { Relais } = await import('/client/dist/index.js');
      const used = [];
      const one = new Relais({ onTransport: (transport) => used.push(transport) });
      const answer = await fetch('/imports/june', { method: 'POST', body: 'orders' });
      const types = [];
      for await (const event of one.task(answer.headers.get('location')).events()) types.push(event.type);
      return { types, used };
    });
    assert.deepEqual(told, { types: ['accepted', 'started', 'succeeded'], used: ['websocket'] }, name);
    slow = gate();
  }, { width: 560, height: 120 });
});
