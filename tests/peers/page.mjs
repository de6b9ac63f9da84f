// The page of a task as its reader sees it, in two browsers: every state in both languages and themes is accessible (axe-core),
// follows the task without being loaded again, and serves whoever has no scripts. With SHOTS=docs/guide/img it takes the
// pictures of the guide instead.
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { setTimeout as pause } from 'node:timers/promises';
import { eachBrowser } from './browsers.mjs';
import { check, relais, require, verdict } from './peer.mjs';

const HOSTILE = '<img src=x onerror=alert(1)>"\'</title></script>';
const config = `[page]
name = "Maison Verte"
color = "#0b6e4f"

[[route]]
path = "/{*rest}"
run = "workers"
mode = "async"
queue = "exports"
ticket = ["read", "cancel", "retry"]

[queue.exports]
lease = "12h"
retry = { max_attempts = 5, initial = "10m", max = "10m" }
`;
const server = await relais({ config });
const { base } = server;

async function call(method, target, body) {
  const headers = body ? { 'content-type': 'application/json' } : {};
  const answer = await fetch(target.startsWith('http') ? target : base + target, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${target}: ${answer.status} ${await answer.text()}`);
  const document = await answer.json();
  for (const item of document.items ?? []) if (item.status >= 300) throw new Error(`${target}: ${JSON.stringify(item)}`);
  return document;
}

const submit = (target, method = 'GET') => call(method, target);
const lease = async () => (await call('POST', '/v1/queues/exports/leases', { max: 1, worker: 'w' })).leases[0];
// Whatever stands before it in line is taken as well, and never given back.
const leaseOf = async (task) => {
  for (;;) {
    const taken = await lease();
    if (taken.task === task.id) return taken;
  }
};
const told = async (token, progress) => call('POST', '/v1/leases/heartbeat', { items: [{ token, progress }] });
const settle = async (token, outcome) => call('POST', '/v1/leases/settle', { items: [{ token, ...outcome }] });
// Submits what a worker has at once.
const taken = async (target) => {
  const task = await submit(target);
  return { task, token: (await lease()).token };
};

// One task for each way to stand; nothing changes any more once they are made.
async function states() {
  const made = {};
  const one = async (name, target, then) => {
    const { task, token } = await taken(target);
    await then(token);
    made[name] = task;
  };
  await one('running', '/exports/catalogue.pdf', async () => {});
  await one('progress', '/exports/june.csv', (token) => told(token, { percent: 42, message: 'order 12,340 of 29,400' }));
  await one('retrying', '/exports/stock.csv', (token) => settle(token, { outcome: 'fail', problem: { code: 'upstream-timeout' }, retryable: true }));
  await one('succeeded', '/exports/may.csv', (token) => settle(token, { outcome: 'succeed', result: 'a,b' }));
  await one('failed', '/exports/april.csv', (token) => settle(token, {
    outcome: 'fail', retryable: false, message: { en: 'The supplier did not send the prices of April.', fr: 'Le fournisseur n’a pas envoyé les prix d’avril.' },
  }));
  await one('hostile', `/${encodeURIComponent(HOSTILE)}`, (token) => told(token, { message: HOSTILE }));
  made.canceled = await submit('/exports/march.csv');
  await call('POST', made.canceled.links.cancel);
  await submit('/exports/first.csv');
  made.queued = await submit('/exports/august.csv');
  return made;
}

async function axe(page) {
  await page.run(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  return page.run(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`));
}

// What the list shows.
const LISTED = ['failed', 'succeeded', 'retrying', 'progress', 'queued'];
const made = await states();
for (const task of Object.values(made)) {
  const page = await (await fetch(task.links.self, { headers: { accept: 'text/html' } })).arrayBuffer();
  check(gzipSync(page).length <= 30_000, `at most 30 kB: ${gzipSync(page).length}`);
}

const list = `${base}/v1/session`;
// Where else a person gets, beside the tasks.
const elsewhere = { gone: made.queued.links.self.slice(0, -3), problem: `${base}/problems/queue-full`, empty: list };

// Keeps tasks in the browser by the buttons of their pages.
async function keep(page, tasks) {
  for (const task of tasks) {
    await page.go(task.links.self);
    await page.click('#way button');
    await page.until(() => document.querySelector('#way a') !== null);
  }
}

// From the link with a ticket into the list, and out of it again.
async function keptAndRemoved(page, task, holds) {
  const { pathname } = new URL(task.links.self);
  await page.go(list);
  await page.untilSaid('This browser follows no request.');
  await page.go(task.links.self);
  await page.click('#way button');
  await page.until(() => document.querySelector('#way a') !== null);
  const found = await page.run(() => location.href);
  holds(found === base + pathname, `it is found without its ticket: ${found}`);
  await page.click('#way a');
  await page.until(() => document.querySelector('.tasks') !== null);
  holds((await page.text('.tasks li')).startsWith('Request for /exports/'), `the list says what was asked: ${await page.text('.tasks')}`);
  holds((await page.text('.tasks .state')) === 'Done', 'and how it stands');
  await page.click('.tasks a');
  await page.until((path) => location.pathname === path, pathname);
  await page.go(list);
  await page.click('.tasks button');
  await page.untilSaid('This browser follows no request.');
  const left = await page.run(() => location.href);
  holds(left === list, `it leads back to the list: ${left}`);
}

// The pictures of docs/guide: what is shown, to whom, and how.
const PHONE = { width: 390, height: 700 };
const DESK = { width: 1280, height: 640 };
const pictures = {
  'page-progress-phone': { of: 'progress', ...PHONE },
  'page-progress-phone-dark': { of: 'progress', ...PHONE, dark: true },
  'page-progress-desk': { of: 'progress', ...DESK },
  'page-retrying-desk-dark': { of: 'retrying', ...DESK, dark: true },
  'page-queued-phone-french': { of: 'queued', ...PHONE, language: 'fr' },
  'page-failed-desk-french': { of: 'failed', ...DESK, language: 'fr' },
  'page-succeeded-phone': { of: 'succeeded', ...PHONE },
  'page-list-phone': { of: 'list', ...PHONE },
  'page-list-desk-dark': { of: 'list', ...DESK, dark: true },
};

if (process.env.SHOTS) {
  for (const [name, { of, ...how }] of Object.entries(pictures)) {
    await eachBrowser(async (page) => {
      if (of === 'list') await keep(page, LISTED.map((kept) => made[kept]));
      await page.go(made[of]?.links.self ?? elsewhere[of] ?? list);
      await page.until(() => document.title !== '');
      await page.shot(path.join(process.env.SHOTS, `${name}.png`));
    }, { ...how, only: 'chromium' });
  }
  await server.stop();
  process.exit(0);
}

for (const language of ['en', 'fr']) {
  for (const dark of [false, true]) {
    await eachBrowser(async (page, browser) => {
      const accessible = async (name, speaks = language) => {
        await page.until(() => document.querySelector('main') !== null && document.readyState === 'complete');
        await page.run(() => document.querySelectorAll('details').forEach((part) => { part.open = true; }));
        const found = await axe(page);
        check(found.length === 0, `no violation: ${name}, ${language}, dark ${dark}, ${browser.name}: ${found.join('\n')}`);
        check((await page.run(() => document.documentElement.lang)) === speaks, `it speaks ${speaks}: ${name}`);
        const width = await page.run(() => document.documentElement.scrollWidth - innerWidth);
        check(width <= 0, `nothing is cut or scrolled sideways: ${name}, ${browser.name}: ${width} px`);
      };
      for (const [name, task] of Object.entries(made)) {
        await page.go(task.links.self);
        await accessible(name);
      }
      for (const [name, url] of Object.entries(elsewhere)) {
        await page.go(url);
        await accessible(name, name === 'problem' ? 'en' : language);
      }
      await page.go(made.running.links.self);
      await page.click('#way button');
      await page.until(() => document.querySelector('#way a') !== null);
      await accessible('kept');
      await page.go(list);
      await accessible('list');
    }, { language, dark, width: 390 });
  }
}

await eachBrowser(async (page, browser) => {
  const holds = (is, what) => check(is, `${what} (${browser.name})`);
  // What somebody named is text, and nothing else.
  await page.go(made.hostile.links.self);
  holds((await page.text('h1')).includes(HOSTILE), 'a hostile path is text');
  holds((await page.run(() => document.images.length)) === 0, 'and no element');

  // Followed from its queue to its end, by one load.
  await submit('/exports/before.csv');
  await submit('/exports/before.csv');
  const task = await submit('/exports/july.csv');
  await page.go(task.links.self);
  await page.run(() => { document.isOld = true; });
  holds((await page.title()).startsWith('In line · Request for /exports/july.csv'), `the title says what was asked: ${await page.title()}`);
  holds((await page.text('#outlook')).includes(`Number ${(await call('GET', task.links.self)).position} in line`), await page.text('#outlook'));
  const { token } = await leaseOf(task);
  await page.until(() => document.getElementById('state').textContent === 'In progress');
  await told(token, { percent: 10, message: 'line 1' });
  await page.until(() => document.querySelector('progress').value === 10);
  await server.restart();
  await told(token, { percent: 55, message: 'line 2' });
  await page.untilSaid('line 2');
  holds((await page.title()).startsWith('55% · '), `the window tells the share: ${await page.title()}`);
  holds((await page.text('#share')) === '55%', 'and so does the page');
  await page.click('#details summary');
  await settle(token, { outcome: 'fail', problem: { code: 'upstream-timeout' }, retryable: true });
  await page.untilSaid('It is tried again in ');
  holds((await page.text('#trouble')).startsWith('The last try did not work out'), 'it says what went wrong');
  holds(await page.run(() => document.getElementById('details').open), 'what was opened stays open');
  const stamps = await page.run(() => [...document.querySelectorAll('time')].map((time) => time.textContent));
  holds(stamps.length > 2 && stamps.every((text) => !/UTC|T\d|Z/.test(text)), `times are those of the reader: ${stamps}`);
  await page.click('.ask summary');
  holds(await page.run(() => document.isOld), 'all of it by one load');
  await page.click('.ask button');
  await page.until(() => document.getElementById('state').textContent === 'Canceled');
  await page.click('button.main');
  await page.until(() => document.getElementById('state').textContent === 'In line');
  await page.run(() => { document.isOld = true; });
  await settle((await leaseOf(task)).token, { outcome: 'succeed', result: 'a,b', message: { en: 'It has 3 lines.' } });
  await page.untilSaid('It has 3 lines.');
  holds((await page.title()).startsWith('Done · '), await page.title());
  holds(await page.run(() => document.isOld), 'and to its end without a load');
  await page.click('#result');
  await page.untilSaid('a,b');
  await keptAndRemoved(page, task, holds);
});

// As if the reader looked at another tab, or again at this one.
const look = (page, at) => page.run((state) => {
  Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
  document.dispatchEvent(new Event('visibilitychange'));
}, at);

// By HTTP/1.1 a browser has six connections to a site: tabs that nobody looks at leave them to others, and catch up.
await eachBrowser(async (first, browser) => {
  const holds = (is, what) => check(is, `${what} (${browser.name})`);
  const task = await submit('/exports/october.csv');
  const tabs = [first];
  while (tabs.length < 7) tabs.push(await browser.tab());
  for (const tab of tabs) {
    await tab.go(task.links.self);
    await tab.until(() => document.getElementById('state').textContent === 'In line');
    if (tab !== tabs[6]) await look(tab, 'hidden');
  }
  const { token } = await leaseOf(task);
  await tabs[6].until(() => document.getElementById('state').textContent === 'In progress');
  await first.until(() => document.getElementById('state').textContent === 'In progress');
  holds((await first.title()).startsWith('In progress · '), 'one that is hidden goes on to tell how far it is');
  await told(token, { percent: 30, message: 'line 3' });
  await tabs[6].untilSaid('line 3');
  await look(first, 'visible');
  await first.untilSaid('line 3', 3_000);
  await settle(token, { outcome: 'succeed', result: 'a,b' });
  await first.until(() => document.getElementById('state').textContent === 'Done');
});

// What is shown without scripts is accessible, too: how it stands, and the question whether to cancel it.
await eachBrowser(async (page, browser) => {
  for (const url of [made.queued.links.self, `${made.queued.links.self}&ask`]) {
    const html = await (await fetch(url, { headers: { accept: 'text/html' } })).text();
    await page.inner.setContent(html.replace(/<script>.*<\/script>/s, ''));
    const found = await axe(page);
    check(found.length === 0, `no violation without scripts: ${url}, ${browser.name}: ${found.join('\n')}`);
  }
});

await eachBrowser(async (page, browser) => {
  const holds = (is, what) => check(is, `${what} (${browser.name}, without scripts)`);
  const task = await submit('/exports/september.csv');
  await page.go(task.links.self);
  holds((await page.text('#state')) === 'In line', 'it says how it stands');
  // Whoever thinks about it has the time: the question does not go away while the page would have loaded itself again.
  await page.click('.asks');
  await page.until(() => document.querySelector('.ask[open] button') !== null);
  await page.run(() => { document.isOld = true; });
  await pause(8_000);
  holds(await page.run(() => document.isOld), 'the question stays as it is');
  await page.click('.ask button');
  await page.untilSaid('Canceled');
  const back = await page.run(() => location.pathname);
  holds(back === new URL(task.links.self).pathname, `it leads back to the page: ${back}`);
  await page.click('button.main');
  await page.untilSaid('In line');
  const { token } = await leaseOf(task);
  // It loads itself again.
  await page.untilSaid('In progress');
  holds(/\d \w+ \d{4} at \d\d:\d\d UTC/.test(await page.run(() => document.getElementById('details').textContent)), 'times are readable');
  await settle(token, { outcome: 'succeed', result: 'a,b' });
  await page.untilSaid('Done');
  await page.click('#result');
  await page.untilSaid('a,b');
  await keptAndRemoved(page, task, holds);
}, { javascript: false });

// A brand that is nowhere read on its ground, and a logo in place of the name.
const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 40"><rect width="160" height="40" rx="8" fill="#ffe600"/></svg>';
fs.writeFileSync(path.join(server.folder, 'logo.svg'), LOGO);
await server.restart(config.replace('color = "#0b6e4f"', `color = "#ffe600"\nlogo = "${server.folder}/logo.svg"`));
for (const dark of [false, true]) {
  await eachBrowser(async (page, browser) => {
    for (const name of ['progress', 'succeeded', 'queued']) {
      await page.go(made[name].links.self);
      await page.until(() => document.images[0]?.naturalWidth > 0);
      const found = await axe(page);
      check(found.length === 0, `no violation in yellow: ${name}, dark ${dark}, ${browser.name}: ${found.join('\n')}`);
    }
    check((await page.run(() => document.images[0].alt)) === 'Maison Verte', `the logo says whose it is (${browser.name})`);
  }, { dark, width: 390 });
}

await server.stop();
verdict();
