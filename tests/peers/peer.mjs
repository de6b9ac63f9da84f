// What the scripts in JavaScript share: a Relais of their own, a service behind it, and a verdict. See peer.py; browsers
// are in browsers.mjs, proxies in front of it in fronts.mjs.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

// Packages are looked for from where a script is called, so that nothing is installed beside it.
export const require = createRequire(path.join(process.cwd(), 'x.js'));

// What was started and must not outlive the script.
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

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

// A server in a folder of its own; `config` is the text of relais.toml without addresses and store, `server` what goes into
// [server]. `restart()` is a kill -9 and a start, on the same address, by another configuration if one is given.
export async function relais({ config = '', server = '' } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'relais-peer-'));
  const file = path.join(folder, 'relais.toml');
  const port = await freePort();
  const write = (text) => fs.writeFileSync(file, `[server]
listen = "127.0.0.1:${port}"
admin_listen = "127.0.0.1:0"
${server}
[store]
url = "sqlite:${folder}/relais.db"
${text}
`);
  let child;
  const start = () => new Promise((done, fail) => {
    child = started(process.env.RELAIS, ['serve', '--config', file], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (text) => {
      const found = /api (https?:\S+)/.exec(String(text));
      if (found) done(found[1]);
    });
    child.once('exit', (code) => fail(new Error(`relais ended with ${code}`)));
  });
  const killed = () => new Promise((done) => {
    child.once('exit', done);
    child.kill('SIGKILL');
  });
  const restart = async (text = config) => {
    await killed();
    write(text);
    await start();
  };
  const stop = async () => {
    await killed();
    fs.rmSync(folder, { recursive: true, force: true });
  };
  write(config);
  return { base: await start(), port, folder, restart, stop };
}

// The example shop and its worker, and Relais in front of them by the shop's own configuration. `lineUs`: how long each line of
// an import takes.
export async function shop({ lineUs }) {
  const port = await freePort();
  const programs = path.dirname(process.env.RELAIS);
  const env = { ...process.env, PATH: `${programs}:${process.env.PATH}`, SHOP_IMPORT_DELAY_US: String(lineUs) };
  const service = await ready('shop', ['serve', '--listen', `127.0.0.1:${port}`], env, 'listening on');
  const example = fs.readFileSync(new URL('../../examples/shop/relais.toml', import.meta.url), 'utf8');
  const server = await relais({
    server: `fallback = "http://127.0.0.1:${port}"`,
    config: example.slice(example.indexOf('[page]')).replaceAll('127.0.0.1:9000', `127.0.0.1:${port}`),
  });
  const work = ['work', '--url', server.base, '--queue', 'imports', '--exec', 'shop import'];
  const worker = await ready('relais', work, env, 'working on');
  const stop = async () => {
    worker.kill('SIGKILL');
    service.kill('SIGKILL');
    await server.stop();
  };
  return { base: server.base.replace('127.0.0.1', 'localhost'), url: `http://127.0.0.1:${port}`, restart: server.restart, stop };
}

// Starts one of our programs; resolves once it says `sign`.
function ready(name, args, env, sign) {
  const child = started(path.join(path.dirname(process.env.RELAIS), name), args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  return new Promise((done, fail) => {
    child.stderr.on('data', (text) => String(text).includes(sign) && done(child));
    child.once('exit', (code) => fail(new Error(`${name} ended with ${code}`)));
  });
}

// A service of its own: `answer(request, body, response)` resolves to { status, fields, body }, or to nothing where it wrote
// its answer itself.
export async function upstream(answer) {
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', async () => {
      const said = await answer(request, Buffer.concat(pieces), response);
      if (!said) return;
      const { status = 200, fields = {}, body = '' } = said;
      response.writeHead(status, fields).end(body);
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, stop: () => server.closeAllConnections() ?? server.close() };
}

// A port that nobody listens on.
export async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// A program that does not outlive the script.
export function started(program, args, options) {
  const child = spawn(program, args, options);
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

// Resolves once somebody takes connections there.
export async function listens(port) {
  const tries = () => new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
  for (let times = 0; times < 200; times += 1) {
    if (await tries()) return;
    await pause(50);
  }
  throw new Error(`nobody listens on ${port}`);
}
