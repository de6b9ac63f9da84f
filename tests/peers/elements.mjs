// The elements `<relais-task>` and `<relais-tray>` by the one script that Relais serves, in two browsers: what they show of a task
// from its queue to its end, in both languages and themes, on pages that allow next to nothing, and on those of another site. With
// SHOTS=docs/guide/img it takes the pictures of the guide instead.
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { eachBrowser } from './browsers.mjs';
import { check, relais, require, upstream, verdict } from './peer.mjs';

// What a page must allow at least, and nothing else: no inline script or style, no text that becomes markup.
const STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:";
const TRUSTED = `${STRICT}; require-trusted-types-for 'script'`;
const policies = { '/shop/strict': STRICT, '/shop/trusted': TRUSTED };
const HOSTILE = '<img src=x onerror=alert(1)>"\'';
// What went wrong in a page that nobody sees, also in those that its tab showed before.
const WATCH = `window.wrong = JSON.parse(sessionStorage.wrong ?? '[]');
for (const name of ['securitypolicyviolation', 'error', 'unhandledrejection']) {
  addEventListener(name, (event) => {
    window.wrong.push(name + ': ' + (event.violatedDirective ?? event.message ?? event.reason));
    sessionStorage.wrong = JSON.stringify(window.wrong);
  });
}
for (const name of ['relais-change', 'relais-end', 'relais-error']) {
  addEventListener(name, ({ target, detail }) => (window.told ??= []).push([name, target.localName, detail.version ?? detail.message]));
}`;

const text = (body, type, fields = {}) => ({ fields: { 'content-type': `${type}; charset=utf-8`, ...fields }, body });
// A page with the tray, and with the element of a task if it has a link. `from`: what the script comes from.
function site(from) {
  return upstream((request) => {
    const url = new URL(request.url, 'http://site');
    const asked = (name, usual = '') => url.searchParams.get(name) ?? usual;
    if (url.pathname.endsWith('/watch.js')) return text(WATCH, 'text/javascript');
    const escaped = asked('link').replaceAll('&', '&amp;');
    const lang = asked('lang', 'en');
    return text(`<!doctype html><html${lang && ` lang="${lang}"`}><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>Maison Verte</title>
<script src="/shop/watch.js"></script><script type="module" src="${from()}/v1/client.js"></script>
<body><main><h1>Maison Verte</h1>${escaped && `<relais-task href="${escaped}"></relais-task>`}
<p><a href="/shop/elsewhere">${lang === 'fr' ? 'Ailleurs' : 'Elsewhere'}</a></p></main><relais-tray></relais-tray>`, 'text/html',
    policies[url.pathname] ? { 'content-security-policy': policies[url.pathname] } : {});
  });
}

let base;
const shop = await site(() => '');
const other = await site(() => base);
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
// Whatever stands before it in line is taken as well, and never given back.
const leaseOf = async (id) => {
  for (;;) {
    const taken = await lease();
    if (taken.task === id) return taken.token;
  }
};
const report = (token, progress) => call('POST', '/v1/leases/heartbeat', { items: [{ token, progress }] });
const settle = (token, outcome) => call('POST', '/v1/leases/settle', { items: [{ token, ...outcome }] });
const done = { outcome: 'succeed', result: 'a,b' };
const failed = {
  outcome: 'fail', retryable: false, problem: { title: 'No prices', detail: 'The supplier sent none for June.', status: 502 },
  message: { en: 'The prices of June are missing.', fr: 'Les prix de juin manquent.' },
};
// Where a task is shown.
const shown = (link, more = '', path = '/shop/page') => `${base}${path}?link=${encodeURIComponent(link)}${more}`;
const TASK = 'relais-task >>> ';
const TRAY = 'relais-tray >>> ';
const FIRST = `${TRAY}li:first-child relais-task >>> `;
const untilText = (page, selector, said) => page.until(([wanted, part]) => {
  const found = wanted.split(' >>> ').reduce((at, one) => (at?.shadowRoot ?? at)?.querySelector(one), document);
  return found?.getClientRects().length && found.innerText.includes(part);
}, [selector, said]);
// Hands a task in by the client of the page, so that the browser keeps it; resolves to its id.
const handIn = (page) => page.run(async () => {
  const { relaisFetch } = await import('/v1/client.js');
  return new Promise((known) => {
    // Its answer is not waited for: the tray does.
    relaisFetch('/imports/june', { method: 'POST', onTask: (link) => known(/task_\w+/.exec(link)[0]) }).catch(() => {});
  });
});
const toasts = (page) => page.run(() => document.querySelector('relais-tray').shadowRoot.querySelectorAll('.toast').length);
// Whether a page may tell an end now; whatever its tray has asked before was answered then.
const claims = (page, wanted) => page.run(async (id) => {
  const { Relais } = await import('/v1/client.js');
  const relais = new Relais();
  return relais.claimEnd(relais.task(id));
}, wanted);
// Whether the tray shows so many tasks. Runs in a page.
function listed(count) {
  const all = [...document.querySelector('relais-tray').shadowRoot.querySelectorAll('relais-task')];
  return all.length === count && all.every((element) => element.document);
}
// As if the reader looked at another tab, or again at this one.
const look = (page, at) => page.run((state) => {
  Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
  document.dispatchEvent(new Event('visibilitychange'));
}, at);

async function axe(page) {
  await page.run(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  return page.run(async () => (await globalThis.axe.run({ include: [['relais-task'], ['relais-tray']] })).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`));
}

// One task for each way to stand; nothing changes any more once they are made.
async function states() {
  const made = {};
  const one = async (name, target, then) => {
    made[name] = await submit(target);
    await then(await leaseOf(made[name].id));
  };
  await one('running', '/exports/catalogue', async () => {});
  await one('progress', '/imports/june', (token) => report(token, { percent: 42, message: 'order 12,340 of 29,400' }));
  await one('retrying', '/imports/stock', (token) => settle(token, { outcome: 'fail', problem: { code: 'upstream-timeout' }, retryable: true }));
  await one('succeeded', '/imports/may', (token) => settle(token, done));
  await one('failed', '/imports/april', (token) => settle(token, failed));
  await one('hostile', `/${encodeURIComponent(HOSTILE)}`, (token) => report(token, { message: HOSTILE }));
  made.canceled = await submit('/imports/march');
  await call('POST', made.canceled.links.cancel);
  made.queued = await submit('/imports/august');
  return made;
}
const made = await states();

// The pictures of the guide: what is shown, to whom, and how.
const PHONE = { width: 390, height: 600 };
const DESK = { width: 900, height: 440 };
const pictures = {
  'element-progress-desk': { of: 'progress', ...DESK },
  'element-progress-phone-dark': { of: 'progress', ...PHONE, dark: true },
  'element-failed-phone-french': { of: 'failed', ...PHONE, language: 'fr' },
  'tray-toast-desk-dark': { of: 'toast', ...DESK, dark: true },
  'tray-open-phone': { of: 'tray', ...PHONE },
  'tray-open-desk-french': { of: 'tray', ...DESK, height: 640, language: 'fr' },
};
// Has a browser keep tasks, of which the tray tells.
const keep = (page, links) => page.run(async (wanted) => {
  const { Relais } = await import('/v1/client.js');
  const relais = new Relais();
  for (const link of wanted) {
    await relais.remember(relais.task(link));
    // The tray orders by milliseconds: the next one is kept in another.
    const kept = Date.now();
    while (Date.now() === kept);
  }
}, links);

if (process.env.SHOTS) {
  for (const [name, { of, ...how }] of Object.entries(pictures)) {
    await eachBrowser(async (page) => {
      await page.go(shown(made[of]?.links.self ?? '', `&lang=${how.language ?? 'en'}`));
      if (of === 'toast') {
        await keep(page, [made.succeeded.links.self]);
        await page.until(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toast') !== null);
      } else if (of === 'tray') {
        await keep(page, ['failed', 'succeeded', 'progress'].map((kept) => made[kept].links.self));
        await page.click(`${TRAY}.toggle`);
        await untilText(page, `${FIRST}.figures`, '42');
      } else await untilText(page, `${TASK}.state`, '');
      await page.inner.screenshot({ path: path.join(process.env.SHOTS, `${name}.png`) });
    }, { ...how, only: 'chromium' });
  }
  await server.stop();
  process.exit(0);
}

for (const language of ['en', 'fr']) {
  for (const dark of [false, true]) {
    await eachBrowser(async (page, { name }) => {
      const accessible = async (what) => {
        const found = await axe(page);
        check(found.length === 0, `no violation: ${what}, ${language}, dark ${dark}, ${name}: ${found.join('\n')}`);
        const wide = await page.run(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `nothing is scrolled sideways: ${what}, ${name}: ${wide} px`);
      };
      await page.go(shown('', `&lang=${language}`));
      await page.run((links) => {
        for (const href of links) document.querySelector('main').append(Object.assign(document.createElement('relais-task'), { id: href }));
        for (const element of document.querySelectorAll('relais-task')) element.setAttribute('href', element.id);
      }, Object.values(made).map((task) => task.links.self));
      await page.until(() => [...document.querySelectorAll('relais-task')].every((element) => element.document));
      await page.run(() => document.querySelectorAll('relais-task').forEach((element) => { element.shadowRoot.querySelector('details').open = true; }));
      await accessible(Object.keys(made).join(', '));
      await keep(page, ['progress', 'failed', 'succeeded', 'canceled'].map((kept) => made[kept].links.self));
      await page.until(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toast') !== null);
      await accessible('toasts');
      await page.click(`${TRAY}.toggle`);
      await page.until(() => document.querySelector('relais-tray').isOpen);
      await accessible('tray');
      await page.until(listed, 4);
      const order = await page.run(() => [...document.querySelector('relais-tray').shadowRoot.querySelectorAll('relais-task')].map((element) => element.document.id));
      check(order.join() === ['canceled', 'succeeded', 'failed', 'progress'].map((kept) => made[kept].id).join(), `the newest first: ${order}`);
      const spoken = await page.run(() => document.querySelector('relais-tray').shadowRoot.querySelector('h2').textContent);
      check(spoken === { en: 'Your requests', fr: 'Vos demandes' }[language], `it speaks ${language}: ${spoken}`);
    }, { language, dark, width: 390 });
  }
}

// One task, from its queue through failure, retry and cancel to its answer, without the page being loaded again.
await eachBrowser(async (page, { name }) => {
  const holds = (is, what) => check(is, `${what} (${name})`);
  const task = await submit();
  await page.go(shown(task.links.self, '', '/shop/strict'));
  await untilText(page, `${TASK}.state`, 'In line');
  holds((await page.text(`${TASK}.title`)) === 'Request to /imports/june', 'it says what was asked');
  holds((await page.text(`${TASK}.bar`)) === undefined, 'no bar moves of what waits');
  let token = await leaseOf(task.id);
  await untilText(page, `${TASK}.state`, 'In progress');
  holds(await page.run(() => document.querySelector('relais-task').shadowRoot.querySelector('progress').matches(':indeterminate')), 'nobody knows how far');
  await report(token, { percent: 10, message: 'order 1' });
  await untilText(page, `${TASK}.figures`, 'order 1');
  await server.restart();
  await report(token, { done: 3, total: 4, message: 'order 2' });
  await untilText(page, `${TASK}.figures`, 'order 2');
  holds((await page.text(`${TASK}.figures`)).includes('75%'), await page.text(`${TASK}.figures`));
  holds((await page.run(() => document.querySelector('relais-task').shadowRoot.querySelector('progress').value)) === 0.75, 'the bar shows it');
  await settle(token, failed);
  await untilText(page, `${TASK}.state`, 'Did not work');
  holds((await page.text(`${TASK}.message`)) === 'The prices of June are missing.', 'it says how it ended');
  holds((await page.text(`${TASK}.trouble`)) === 'No prices – The supplier sent none for June.', await page.text(`${TASK}.trouble`));
  await page.click(`${TASK}.retry`);
  await untilText(page, `${TASK}.state`, 'In line');
  holds(await page.run(() => document.querySelector('relais-task').shadowRoot.activeElement?.className === 'title'), 'the focus stays in it');
  await page.click(`${TASK}.asks`);
  await untilText(page, `${TASK}details`, 'Nothing more will be done');
  await page.click(`${TASK}.cancel`);
  await untilText(page, `${TASK}.state`, 'Canceled');
  await page.run(() => document.querySelector('relais-task').shadowRoot.querySelector('.retry').focus());
  await page.inner.keyboard.press('Enter');
  await untilText(page, `${TASK}.state`, 'In line');
  token = await leaseOf(task.id);
  await settle(token, { ...done, message: { fr: 'Trois lignes.' } });
  await untilText(page, `${TASK}.state`, 'Done');
  holds((await page.text(`${TASK}.message`)) === 'Trois lignes.', 'what there is in no other language is said');
  const told = await page.run(() => window.told);
  const ends = told.filter(([type]) => type === 'relais-end').length;
  holds(ends === 3 && told.every(([type, from]) => from === 'relais-task' && type !== 'relais-error'), `the page is told: ${JSON.stringify(told)}`);
  const versions = told.filter(([type]) => type === 'relais-change').map(([, , version]) => version);
  holds(versions.every((version, at) => at === 0 || version >= versions[at - 1]), `in its order: ${versions}`);
  const wrong = await page.run(() => window.wrong);
  holds(wrong.length === 0, `the strictest policy allows all of it: ${wrong}`);
  await page.click(`${TASK}.result`);
  await page.untilSaid('a,b');
  // Where no text may become the address of a worker, pages do without it.
  await page.go(shown(made.progress.links.self, '', '/shop/trusted'));
  await untilText(page, `${TASK}.figures`, '42%');
});

// What a page says of it, and what it may not become.
await eachBrowser(async (page, { name }) => {
  const holds = (is, what) => check(is, `${what} (${name})`);
  await page.go(shown(made.hostile.links.self));
  await untilText(page, `${TASK}.title`, HOSTILE);
  holds((await page.run(() => document.querySelector('relais-task').shadowRoot.querySelectorAll('img').length)) === 0, 'a hostile path is text');
  holds((await page.text(`${TASK}.figures`)).includes(HOSTILE), 'and so is a message');
  const style = await page.run(() => {
    const element = document.querySelector('relais-task');
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`:root { --relais-ground: rgb(1, 2, 3); --relais-radius: 7px; --ink: rgb(7, 8, 9) }
      relais-task { --relais-ink: var(--ink) } relais-task::part(title) { color: rgb(4, 5, 6) }`);
    document.adoptedStyleSheets = [sheet];
    element.label = 'Orders of June';
    const of = (part) => getComputedStyle(element.shadowRoot.querySelector(part));
    return [of('.task').backgroundColor, of('.task').borderRadius, of('.task').color, of('.title').color, element.shadowRoot.querySelector('.title').textContent];
  });
  holds(style.join(' ') === 'rgb(1, 2, 3) 7px rgb(7, 8, 9) rgb(4, 5, 6) Orders of June', `pages say how it looks and what it is called: ${style}`);
  // Another link is another task; a removed element follows nothing, and goes on where it is put again.
  await page.run((link) => document.querySelector('relais-task').setAttribute('href', link), made.succeeded.links.self);
  await untilText(page, `${TASK}.state`, 'Done');
  const moving = await submit('/imports/july');
  await page.run((link) => {
    window.element = document.querySelector('relais-task');
    window.element.setAttribute('href', link);
    window.element.remove();
    window.told = [];
  }, moving.links.self);
  const token = await leaseOf(moving.id);
  holds((await page.run(() => window.told.length)) === 0, 'what is not there follows nothing');
  await page.run(() => document.querySelector('main').append(window.element));
  await untilText(page, `${TASK}.state`, 'In progress');
  await settle(token, done);
  await untilText(page, `${TASK}.state`, 'Done');
  // Whoever hears a page in German hears these words in English.
  const spoken = await page.run(() => {
    document.documentElement.lang = 'de';
    document.querySelectorAll('main, relais-task').forEach((one) => one.removeAttribute('lang'));
    window.element.label = 'Juli';
    return [...window.element.shadowRoot.children].map((part) => part.lang);
  });
  holds(spoken.every((lang) => lang === 'en'), `the words say their language: ${spoken}`);
  // Of another task nothing of this one is shown, also where it cannot be read; and an address that is a script is none.
  const strange = await page.run(async () => {
    const { element } = window;
    const now = element.document;
    const ends = (type) => new Promise((done) => { element.addEventListener(type, done, { once: true }); });
    const [all, result] = ['.task', '.result'].map((one) => element.shadowRoot.querySelector(one));
    const found = [];
    for (const resourceLocation of ['javascript:alert(1)', ' java\tscript:alert(1)', 'data:text/html,x', 'https://[']) {
      const over = ends('relais-end');
      element.task = { id: resourceLocation, async *follow() { yield { ...now, resourceLocation }; } };
      if (!all.hidden || element.document) found.push('the former one is shown');
      await over;
      if (!result.hidden || result.href.includes(':alert')) found.push(result.href);
    }
    const refused = ends('relais-error');
    element.task = { id: 'task_gone', async *follow() { throw new Error('gone'); } };
    await refused;
    const parts = [...all.children].filter((part) => part.getClientRects().length).map((part) => part.className);
    if (parts.join() !== 'refused trouble') found.push(`shown of another: ${parts}`);
    return found;
  });
  holds(strange.length === 0, `nothing strange: ${strange}`);
  // What cannot be followed is said.
  await page.go(shown(`${base}/v1/tasks/${moving.id}?ticket=rt_no`));
  await page.until(() => document.querySelector('relais-task').shadowRoot.querySelector('.refused').textContent);
  holds((await page.run(() => window.told[0][0])) === 'relais-error', 'a refusal is an event');
  // The language of the nearest ancestor, also of an inner page part; without one that of the browser.
  await page.go(shown(made.failed.links.self, '&lang='));
  await untilText(page, `${TASK}.state`, 'Sans succès');
  holds((await page.text(`${TASK}.message`)) === 'Les prix de juin manquent.', 'it says how it ended in French');
  await page.run(() => {
    const main = document.querySelector('main');
    main.lang = 'en';
    main.append(document.querySelector('relais-task'));
  });
  await untilText(page, `${TASK}.state`, 'Did not work');
}, { language: 'fr' });

// The tray, from page to page, in two tabs.
await eachBrowser(async (page, { name, tab }) => {
  const holds = (is, what) => check(is, `${what} (${name})`);
  await page.go(`${base}/shop/page`);
  await page.until(() => customElements.get('relais-tray') !== undefined);
  holds((await page.text(`${TRAY}.toggle`)) === undefined, 'where nothing is kept there is nothing to see');
  const first = await handIn(page);
  await untilText(page, `${TRAY}.count`, '1');
  // Elsewhere, and in another tab, it is there as well; and after back and reload.
  await page.click('main a');
  await page.until(() => location.pathname === '/shop/elsewhere');
  await untilText(page, `${TRAY}.count`, '1');
  const second = await tab();
  await second.go(`${base}/shop/strict`);
  await untilText(second, `${TRAY}.count`, '1');
  await page.back();
  await page.until(() => location.pathname === '/shop/page');
  await untilText(page, `${TRAY}.count`, '1');
  await page.reload();
  await untilText(page, `${TRAY}.count`, '1');
  await page.click(`${TRAY}.toggle`);
  await untilText(page, `${FIRST}.title`, 'Request to /imports/june');
  const token = await leaseOf(first);
  await report(token, { percent: 30, message: 'order 3' });
  await untilText(page, `${FIRST}.figures`, 'order 3');
  await page.inner.keyboard.press('Escape');
  await page.until(() => !document.querySelector('relais-tray').isOpen);
  holds(await page.run(() => document.querySelector('relais-tray').shadowRoot.activeElement?.className === 'toggle'), 'Escape closes it, and the focus is where it was opened');
  // Its end is said in one of the tabs that are looked at, and never again.
  await settle(token, done);
  for (const one of [page, second]) await one.until(() => window.told.some(([type, from]) => type === 'relais-end' && from === 'relais-tray'));
  for (const one of [page, second]) holds(!(await claims(one, first)), 'it is told already');
  holds((await toasts(page)) + (await toasts(second)) === 1, 'one of them has told it, and the other has not');
  for (const one of [page, second]) {
    holds((await one.text(`${TRAY}.count`)) === undefined, 'nothing is counted that is over');
    await one.reload();
    await one.until(() => customElements.get('relais-tray') !== undefined);
  }
  // In tabs that nobody looks at nothing is said, until somebody does.
  for (const one of [page, second]) await look(one, 'hidden');
  const later = await handIn(page);
  await untilText(second, `${TRAY}.count`, '1');
  await settle(await leaseOf(later), failed);
  for (const one of [page, second]) await one.until(() => window.told?.some(([type]) => type === 'relais-end'));
  const untold = await second.run(async () => {
    const { Relais } = await import('/v1/client.js');
    return (await new Relais().untold()).map(({ id }) => id);
  });
  holds(untold.join() === later, `nobody who does not look has taken it for told: ${untold}`);
  holds((await toasts(page)) + (await toasts(second)) === 0, 'nobody is told who does not look, and nothing twice');
  await look(second, 'visible');
  await untilText(second, `${TRAY}.toast`, 'Did not work');
  await look(page, 'visible');
  // Tried again in one tab it is followed in both.
  await page.click(`${TRAY}.toggle`);
  // Until all is there it grows, and what is pressed moves.
  await page.until(listed, 2);
  await page.click(`${FIRST}.retry`);
  await untilText(second, `${TRAY}.count`, '1');
  holds((await toasts(page)) === 0, 'what was said is not said again');
  // It ends while no page is open: the next one says so.
  await page.go('about:blank');
  await second.go('about:blank');
  await settle(await leaseOf(later), done);
  await second.go(`${base}/shop/strict`);
  await untilText(second, `${TRAY}.toast`, 'Done');
  const link = await second.run(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toast a').href);
  holds((await (await fetch(link)).text()).includes('a,b'), `it leads to the answer: ${link}`);
  await second.click(`${TRAY}.close`);
  await until(async () => (await toasts(second)) === 0);
  // Forgotten on request, in each tab.
  await page.go(`${base}/shop/page`);
  await second.click(`${TRAY}.toggle`);
  await second.until(listed, 2);
  await second.click(`${TRAY}li .remove`);
  await second.until(() => document.querySelector('relais-tray').shadowRoot.querySelectorAll('li').length === 1);
  const at = await second.run(() => document.querySelector('relais-tray').shadowRoot.activeElement?.parentElement?.localName);
  holds(at === 'li', `the focus is at what comes next: ${at}`);
  await second.click(`${TRAY}.rest .remove`);
  for (const one of [page, second]) await one.until(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toggle').hidden);
  // What is not there any more is forgotten by itself.
  const gone = await handIn(page);
  await untilText(page, `${TRAY}.count`, '1');
  for (const one of [page, second]) await one.go('about:blank');
  const erased = await fetch(`${base}/v1/tasks/${gone}?cancel=true`, { method: 'DELETE' });
  holds(erased.ok, `it is erased: ${erased.status}`);
  for (const one of [page, second]) {
    await one.go(`${base}/shop/page`);
    await one.until(async () => {
      const { Relais } = await import('/v1/client.js');
      return (await new Relais().tasks()).length === 0;
    });
    await one.until(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toggle').hidden);
  }
  // Nor is what a server with other keys has signed.
  await keep(page, [`${base}/v1/tasks/${gone}?ticket=rt_no`]);
  await page.until(async () => {
    const { Relais } = await import('/v1/client.js');
    return (await new Relais().tasks()).length === 0;
  });
  for (const one of [page, second]) {
    const wrong = await one.run(() => window.wrong);
    holds(wrong.length === 0, `no error is seen: ${wrong}`);
  }
});

// A page of another site has the script of this one; its shared worker it cannot have, and nobody notices.
await eachBrowser(async (page, { name, tab }) => {
  const holds = (is, what) => check(is, `${what} (${name}, another origin)`);
  const task = await submit();
  const second = await tab();
  for (const one of [page, second]) await one.go(`${foreign}/shop/page?link=${encodeURIComponent(task.links.self)}`);
  for (const one of [page, second]) await untilText(one, `${TASK}.state`, 'In line');
  await page.run(async (script) => {
    const { Relais } = await import(script);
    const relais = new Relais();
    await relais.remember(relais.task(document.querySelector('relais-task').getAttribute('href')), 'june');
  }, `${base}/v1/client.js`);
  const token = await leaseOf(task.id);
  await report(token, { percent: 60, message: 'order 6' });
  for (const one of [page, second]) await untilText(one, `${TASK}.figures`, 'order 6');
  await page.close();
  await report(token, { percent: 70, message: 'order 7' });
  await untilText(second, `${TASK}.figures`, 'order 7');
  await settle(token, done);
  await untilText(second, `${TASK}.state`, 'Done');
  await untilText(second, `${TRAY}.toast`, 'Done');
  const wrong = await second.run(() => window.wrong);
  holds(wrong.length === 0, `no error is seen: ${wrong}`);
});

async function until(holds) {
  const end = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > end) return check(false, String(holds));
    await pause(50); // tidy: bounded wait
  }
  return check(true, String(holds));
}

await server.stop();
for (const one of [shop, other]) one.stop();
verdict();
