// The elements `<relais-task>` and `<relais-tray>` by the one script that Relais serves, in two browsers: what they show of a task
// from its queue to its end, in both languages and themes, on pages that allow next to nothing, and on those of another site. With
// SHOTS=docs/guide/img it takes the pictures of the guide instead.
import fs from 'node:fs';
import path from 'node:path';
import { eachBrowser } from './browsers.mjs';
import { check, relais, require, upstream, verdict } from './peer.mjs';

// What a page must allow at least, and nothing else: no inline script or style, no text that becomes markup.
const STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'";
const HOSTILE = '<img src=x onerror=alert(1)>"\'';

const tagged = (base, more, language = 'en') => `<!doctype html><html${language && ` lang="${language}"`}><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><meta name="color-scheme" content="light dark"><title>shop</title>
<script type="module" src="${base}/v1/client.js"></script><body><main><h1>Shop</h1>${more}</main><relais-tray></relais-tray>`;
const html = (body, fields = {}) => ({ fields: { 'content-type': 'text/html; charset=utf-8', ...fields }, body });

// The pages of the shop: each has the tray, and that of a task its element.
const shop = await upstream((request) => {
  const url = new URL(request.url, 'http://shop');
  const link = url.searchParams.get('link');
  const element = link ? `<relais-task href="${link.replaceAll('&', '&amp;')}"></relais-task>` : '';
  const page = tagged('', element, url.searchParams.get('lang') ?? 'en');
  return html(page, url.pathname === '/shop/strict' ? { 'content-security-policy': STRICT } : {});
});
let base;
// The page of another site has the script of this one.
const other = await upstream((request) => {
  const link = new URL(request.url, 'http://other').searchParams.get('link');
  return html(tagged(base, link ? `<relais-task href="${link}"></relais-task>` : ''));
});
const foreign = other.url.replace('127.0.0.1', 'localhost');
const config = `[queue."*"]
[[route]]
path = "/shop/{*rest}"
upstream = "${shop.url}"
mode = "sync"
[[route]]
path = "/{*rest}"
run = "workers"
mode = "async"
queue = "work"
ticket = ["read", "cancel", "retry"]
[queue.work]
lease = "12h"
retry = { max_attempts = 5, initial = "10m", max = "10m" }
`;
const server = await relais({ config, server: `cors_origins = ["${foreign}"]` });
base = server.base;

async function call(method, target, body) {
  const headers = body ? { 'content-type': 'application/json' } : {};
  const answer = await fetch(target.startsWith('http') ? target : base + target, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${target}: ${answer.status} ${await answer.text()}`);
  const document = await answer.json();
  for (const item of document.items ?? []) if (item.status >= 300) throw new Error(`${target}: ${JSON.stringify(item)}`);
  return document;
}
const submit = (target = '/imports/june') => call('POST', target);
const lease = async () => (await call('POST', '/v1/queues/work/leases', { max: 1, wait: '20s' })).leases[0];
const report = (token, progress) => call('POST', '/v1/leases/heartbeat', { items: [{ token, progress }] });
const settle = (token, outcome) => call('POST', '/v1/leases/settle', { items: [{ token, ...outcome }] });
const done = { outcome: 'succeed', result: 'a,b' };
const failed = {
  outcome: 'fail', retryable: false, problem: { title: 'No prices', detail: 'The supplier sent no prices of June.', status: 502 },
  message: { en: 'The prices of June are missing.', fr: 'Les prix de juin manquent.' },
};

const shown = (link, more = '') => `${base}/shop/page?link=${encodeURIComponent(link)}${more}`;
const STATE = 'relais-task >>> .state';
const TASK = 'relais-tray >>> relais-task';
const untilText = (page, selector, text) => page.until(([wanted, said]) => {
  const found = wanted.split(' >>> ').reduce((at, one) => (at?.shadowRoot ?? at)?.querySelector(one), document);
  return found?.getClientRects().length && found.innerText.includes(said);
}, [selector, text]);

async function axe(page) {
  await page.run(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  return page.run(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`));
}

await eachBrowser(async (page, { name, tab }) => {
  const holds = (is, what) => check(is, `${what} (${name})`);
  const task = await submit();
  await page.go(shown(task.links.self));
  await untilText(page, STATE, 'In line');
  const { token } = await lease();
  await report(token, { percent: 42, message: 'order 12' });
  await untilText(page, 'relais-task >>> .figures', 'order 12');
  holds((await page.text('relais-task >>> .figures')).includes('42%'), await page.text('relais-task >>> .figures'));
  await settle(token, failed);
  await untilText(page, STATE, 'Did not work');
  await page.click('relais-task >>> [part~=retry]');
  await untilText(page, STATE, 'In line');
  await settle((await lease()).token, done);
  await untilText(page, STATE, 'Done');
  const made = await page.run(async (wanted) => {
    const { Relais } = await import('/v1/client.js');
    window.relais = new Relais();
    return (await window.relais.submit({ queue: 'work', input: wanted })).id;
  }, 1);
  await untilText(page, 'relais-tray >>> .toggle', '1');
  await page.click('relais-tray >>> .toggle');
  await untilText(page, TASK + ' >>> .state', 'In line');
  await page.inner.keyboard.press('Escape');
  await settle((await lease()).token, done);
  await untilText(page, 'relais-tray >>> .toast', 'Done');
  const found = await axe(page);
  holds(found.length === 0, found.join('\n'));
});
await server.stop();
for (const one of [shop, other]) one.stop();
verdict();
