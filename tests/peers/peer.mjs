// What the scripts in JavaScript share: a Relais of their own, an upstream, and a verdict. See peer.py.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';

// Packages are looked for from where a script is called, so that nothing is installed beside it.
export const require = createRequire(path.join(process.cwd(), 'x.js'));

let held = 0;
let failed = 0;

// Notes whether something that must hold does.
export function check(holds, what) {
  if (holds) held += 1;
  else {
    failed += 1;
    console.log('does not hold:', what);
  }
  return holds;
}

// Prints what the test reads, and ends the script.
export function verdict() {
  console.log(`${held} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

// A server in a folder of its own; `config` is the text of relais.toml without ports and store.
export async function relais({ config = '', server = '' } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'relais-peer-'));
  const file = path.join(folder, 'relais.toml');
  fs.writeFileSync(file, `[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
${server}
[store]
url = "sqlite:${folder}/relais.db"
${config}
`);
  const child = spawn(process.env.RELAIS, ['serve', '--config', file], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  const base = await new Promise((done, fail) => {
    child.stdout.on('data', (text) => {
      const found = /api (https?:\S+)/.exec(String(text));
      if (found) done(found[1]);
    });
    child.once('exit', (code) => fail(new Error(`relais ended with ${code}`)));
  });
  const stop = () => {
    child.kill('SIGKILL');
    fs.rmSync(folder, { recursive: true, force: true });
  };
  return { base, folder, stop };
}

// A service of its own: `answer(request, body)` resolves to { status, fields, body }.
export async function upstream(answer) {
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', async () => {
      const { status = 200, fields = {}, body = '' } = await answer(request, Buffer.concat(pieces));
      response.writeHead(status, fields).end(body);
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, stop: () => server.closeAllConnections() ?? server.close() };
}

// A real browser: Chromium as Debian packages it, told to call nobody by itself.
export function browse() {
  const { chromium } = require('playwright-core');
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  return chromium.launch({ executablePath: '/usr/bin/chromium', args });
}
