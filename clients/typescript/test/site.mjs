// A site that uses the client in its pages, behind Relais and a proxy that counts its streams.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { proxy, relais, upstream, worker } from './support.mjs';

const HERE = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

// `pages`: the text of each page by its path. What else is asked for below `/client/` is a file of the package.
export async function site({ pages = { '/': '<!doctype html><title>shop</title>' }, files = HERE, answer = () => ({ status: 404 }), config = '', server: settings = '', ...more } = {}) {
  const service = await upstream((request, body, response) => {
    const { pathname } = new URL(request.url, 'http://service');
    const page = pages[pathname];
    if (page) return { fields: { 'content-type': 'text/html; charset=utf-8' }, body: page };
    if (!pathname.startsWith('/client/')) return answer(request, body, response);
    const file = path.join(files, pathname.slice('/client/'.length));
    return { fields: { 'content-type': 'text/javascript; charset=utf-8' }, body: fs.readFileSync(file) };
  });
  const server = await relais({ server: settings, config: `[queue."*"]
${config.replaceAll('SERVICE', service.url)}
[[route]]
path = "/{*rest}"
upstream = "${service.url}"
mode = "sync"
` });
  const front = await proxy(server.base, more);
  const stop = async () => {
    front.stop();
    await server.stop();
    service.stop();
  };
  return { base: front.base.replace('127.0.0.1', 'localhost'), front, server, worker: (queue) => worker(server.base, queue), stop };
}
