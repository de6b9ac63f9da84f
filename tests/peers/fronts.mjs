// Proxies in front of a Relais: nginx, Caddy and HAProxy, each with the configuration that a script gives it. See fronts.py.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, listens, started } from './peer.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const FILES = { nginx: 'nginx.conf', caddy: 'Caddyfile', haproxy: 'haproxy.cfg' };
const COMMANDS = {
  nginx: (file, folder) => ['nginx', '-c', file, '-p', folder, '-g', `daemon off; pid ${folder}/pid; error_log stderr crit;`],
  caddy: (file) => ['caddy', 'run', '--config', file, '--adapter', 'caddyfile'],
  haproxy: (file) => ['haproxy', '-f', file, '-db'],
};

const PAGE = fs.readFileSync(path.join(HERE, '../../docs/guide/proxies.md'), 'utf8');
const ofGuide = (name) => new RegExp(`^\`\`\`\\w+\\n# ${name}\\n([^]*?)^\`\`\``, 'm').exec(PAGE)[1];
const each = (text) => Object.fromEntries(Object.entries(FILES).map(([program, file]) => [program, text(file)]));

// The configurations of docs/guide/proxies.md, by program.
export const guide = each(ofGuide);
// What one writes who tells a proxy nothing but where to go.
export const bare = each((file) => fs.readFileSync(path.join(HERE, 'bare', file), 'utf8'));

// A proxy before the port `to`; in `code` 127.0.0.1:8443 is where it listens, 127.0.0.1:8080 the Relais.
export async function front(program, code, to, port) {
  const listening = port ?? (await freePort());
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'relais-front-'));
  // nginx that root starts works as somebody else.
  fs.chmodSync(folder, 0o755);
  const file = path.join(folder, FILES[program]);
  fs.writeFileSync(file, code.replaceAll('8443', listening).replaceAll('127.0.0.1:8080', `127.0.0.1:${to}`).replaceAll('FOLDER', folder));
  const [name, ...args] = COMMANDS[program](file, folder);
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, HOME: folder };
  const child = started(name, args, { stdio: 'ignore', env });
  await listens(listening);
  const stop = () => {
    // Its workers end with it.
    child.kill('SIGTERM');
    child.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  };
  return { base: `http://127.0.0.1:${listening}`, stop };
}

// nginx with Debian's own lines for a proxy; what is silent for `cut` it gives up with a 504. Its address is
// `http://localhost:PORT`, so that browsers take it for a safe one, as they do https.
export async function nginx({ port, to, cut = '60s' }) {
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path FOLDER/${name};`);
  const made = await front('nginx', `events {}
http {
  access_log off;
  ${folders.join(' ')}
  server {
    listen 127.0.0.1:8443;
    location / {
      proxy_pass http://127.0.0.1:8080;
      include /etc/nginx/proxy_params;
      proxy_read_timeout ${cut};
    }
  }
}
`, new URL(to).port, port);
  return { ...made, base: made.base.replace('127.0.0.1', 'localhost') };
}
