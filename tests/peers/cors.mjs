// Pages of other origins in a real browser (CORS; protocols.md SSE-13, CO-1, CO-2): what a page of a listed
// origin can do with a ticket, and that a page of any other origin can do nothing.
//
//   npm install playwright-core        (in a folder of its own; Chromium is Debian's package)
//   node cors.mjs path/to/relais       exit status 0 if all is as expected
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

// From where it is called, so that nothing is installed beside this file.
const { chromium } = createRequire(path.join(process.cwd(), 'x.js'))('playwright-core');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

function site() {
  const server = http.createServer((_, answer) => {
    answer.setHeader('content-type', 'text/html');
    answer.end('<!doctype html><title>shop</title>');
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}

async function relais(binary, folder, origin) {
  const file = path.join(folder, 'relais.toml');
  fs.writeFileSync(file, `[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
cors_origins = ["${origin}"]
[store]
url = "sqlite:${folder}/relais.db"
[queue."*"]
`);
  const child = spawn(binary, ['serve', '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const base = await new Promise((done) => {
    child.stdout.on('data', (text) => {
      const found = /api (http:\S+)/.exec(String(text));
      if (found) done(found[1]);
    });
  });
  return { child, base };
}

// Runs in the page.
async function calls({ base, task }) {
  const bearer = { authorization: `Bearer ${task.ticket}` };
  const one = `${base}/v1/tasks/${task.id}`;
  const told = {};
  const tell = async (name, call) => {
    try { told[name] = await call(); } catch (error) { told[name] = 'blocked'; }
  };
  const ask = (url, more) => fetch(url, { credentials: 'include', cache: 'no-store', ...more });
  await tell('task', async () => {
    const answer = await ask(one, { headers: bearer });
    return [answer.status, answer.headers.get('etag'), (await answer.json()).status];
  });
  await tell('not modified', async () =>
    (await ask(one, { headers: { ...bearer, 'if-none-match': 'W/"v1-json"' } })).status);
  await tell('an error', async () => {
    const answer = await ask(`${base}/v1/tasks/task_0`, { headers: bearer });
    return [answer.status, (await answer.json()).code];
  });
  await tell('a submit without a ticket', async () => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': '"k"' };
    const answer = await ask(`${base}/v1/tasks`, { method: 'POST', headers, body: '{"queue":"q","input":1}' });
    return [answer.status, (await answer.json()).code];
  });
  await tell('result', async () => {
    const answer = await ask(`${one}/result?ticket=${task.ticket}`);
    return [answer.status, answer.headers.get('relais-task') === task.id];
  });
  await tell('events', () => new Promise((seen, failed) => {
    const source = new EventSource(`${one}/events?ticket=${task.ticket}`, { withCredentials: true });
    source.addEventListener('accepted', (event) => { source.close(); seen(event.lastEventId); });
    source.onerror = () => { source.close(); failed(new Error('closed')); };
  }));
  return told;
}

const sites = [await site(), await site()];
const [listed, other] = sites.map((server) => `http://localhost:${server.address().port}`);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'relais-cors-'));
const { child, base } = await relais(process.argv[2], folder, listed);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
try {
  const submit = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"queue":"q","input":1}' };
  const task = await (await fetch(`${base}/v1/tasks`, submit)).json();
  const visit = async (origin) => {
    const page = await browser.newPage();
    await page.goto(origin);
    return page.evaluate(calls, { base, task });
  };
  const ours = await visit(listed);
  console.log('listed', ours);
  assert.deepEqual(ours, {
    task: [200, 'W/"v1-json"', 'queued'],
    'not modified': 304,
    'an error': [404, 'task-not-found'],
    'a submit without a ticket': [403, 'cross-site'],
    result: [202, true],
    events: '1',
  });
  const theirs = await visit(other);
  console.log('any other', theirs);
  assert.ok(Object.values(theirs).every((what) => what === 'blocked'));
} finally {
  await browser.close();
  child.kill();
  sites.forEach((server) => server.close());
  fs.rmSync(folder, { recursive: true, force: true });
}
