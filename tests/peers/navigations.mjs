// Plain links and plain forms to what takes longer than the nginx in front waits, in two browsers, with and without scripts:
// reload, back, a second click, a second tab, the server killed in the middle of an answer, and pages of another site. Nothing
// in the service knows of Relais.
import fs from 'node:fs';
import { eachBrowser } from './browsers.mjs';
import { nginx } from './fronts.mjs';
import { check, freePort, relais, upstream, verdict } from './peer.mjs';

const CUT_MS = 3000;
const CSV = `order;total\n${'7;12.50\n'.repeat(20_000)}`;
const SHOP = `<!doctype html><title>shop</title><h1>Shop</h1>
<p><a id="export" href="/export/june.csv?year=2026&month=6">Export</a>
<a id="report" href="/export/june?year=2026#totals">Report</a>
<a id="saved" download href="/export/saved.csv">Save</a>
<a id="seen" href="/again/seen">Seen</a>
<a id="tune" href="/again/tune">Tune</a>
<form method="post" action="/orders#pay"><input name="sku" value="A-1"><button id="buy">Order</button></form>
<form method="post" action="/orders/check" enctype="multipart/form-data"><input name="sku" value="A-1"><button id="check">Check</button></form>`;
const REPORT = `<!doctype html><title>waits</title><h1>Report</h1><h2 id="totals">Totals</h2>
<p><a id="more" href="/chapters/2">More</a><script>document.title = "its script ran"</script>`;
const CHECKED = '<!doctype html><title>checked</title><h1>All is well</h1><script>document.title = "its script ran"</script>';

const page = (body) => ({ fields: { 'content-type': 'text/html; charset=utf-8' }, body });
const file = (name) => ({ fields: { 'content-type': 'text/csv', 'content-disposition': `attachment; filename=${name}` }, body: CSV });
const EXPORT = 'GET /export/june.csv?year=2026&month=6';
const SAVED = 'GET /export/saved.csv';
const JUNE = 'GET /export/june?year=2026';
const SEEN = 'GET /again/seen';
const TUNE = 'GET /again/tune';
const FRAMED = 'GET /export/framed';
const ORDER = 'POST /orders';
const CHECK = 'POST /orders/check';
const slow = {
  [EXPORT]: file('june.csv'),
  [SAVED]: file('saved.csv'),
  [JUNE]: page(REPORT),
  [FRAMED]: page(REPORT),
  [SEEN]: { fields: { 'content-type': 'text/html', 'cache-control': 'no-cache', etag: '"1"' }, body: '<h1>Seen again</h1>' },
  [TUNE]: { fields: { 'content-type': 'audio/wav', 'accept-ranges': 'bytes' }, body: silence() },
  [ORDER]: { status: 303, fields: { location: '/orders/7#paid', 'set-cookie': 'flash=ordered; Path=/' } },
  [CHECK]: page(CHECKED),
};

// A second of it, as a file that every browser plays.
function silence() {
  const rate = 8000;
  const bytes = Buffer.alloc(44 + rate, 0x80);
  bytes.write('RIFF');
  bytes.writeUInt32LE(36 + rate, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  for (const [at, value] of [[20, 1], [22, 1], [32, 1], [34, 8]]) bytes.writeUInt16LE(value, at);
  for (const at of [24, 28]) bytes.writeUInt32LE(rate, at);
  bytes.write('data', 36);
  bytes.writeUInt32LE(rate, 40);
  return bytes;
}

// What the service was asked, and what of it waits for its answer.
const asked = [];
let waiting = [];
// What it answers at once.
let quick;
const calls = (line) => asked.filter((one) => one.line === line).length;
let logins = 0;
const service = await upstream(async (request, _, response) => {
  const line = `${request.method} ${request.url}`;
  asked.push({ line, fields: request.headers, at: Date.now() });
  if (line === quick) return slow[line];
  const tag = slow[line]?.fields.etag;
  const answered = tag && request.headers['if-none-match'] === tag ? { status: 304, fields: { etag: tag } } : slow[line];
  if (answered) return new Promise((done) => waiting.push({ line, response, at: Date.now(), answer: () => done(answered) }));
  const said = page(request.url === '/' ? SHOP : `<!doctype html><title>${request.url}</title><h1>${request.url}</h1>`);
  // Each browser is another customer.
  if (request.url === '/' && !/shop_login=/.test(request.headers.cookie)) said.fields['set-cookie'] = `shop_login=customer-${logins += 1}; Path=/`;
  return said;
});

const port = await freePort();
// The routes of the guide, and a form that answers with a page; a click counts as a second one for longer than a browser is here.
const guide = fs.readFileSync(new URL('../../docs/guide/browsers.md', import.meta.url), 'utf8');
const routes = /```toml\n(.*?)```/s.exec(guide)[1].replaceAll('http://127.0.0.1:9000', service.url)
  .replaceAll('wait = "5s"', 'wait = "200ms"').replaceAll('double_submit = "10s"', 'double_submit = "5m"');
const form = routes.slice(routes.indexOf('# A form'));
const server = await relais({
  server: `public_url = "http://localhost:${port}"`,
  config: `
[[route]]
path = "/again/{*rest}"
methods = ["GET"]
upstream = "${service.url}"
wait = "200ms"
ticket = ["read"]
${routes}${form.replace('"/orders"', '"/orders/check"')}
[queue.default]
retry = { max_attempts = 5, initial = "100ms", max = "100ms" }
`,
});
const front = await nginx({ port, to: server.base, cut: `${CUT_MS / 1000}s` });
const shop = front.base;
let mailed;
// Another site, as `localhost` and `127.0.0.1` are two.
const foreign = await upstream(async () => page(`<!doctype html><title>foreign</title><a id="mailed" href="${mailed}">Read</a>
<form method="post" action="${shop}/orders"><input name="sku" value="B-2"><button id="send">Win</button></form>
<iframe src="${shop}/export/framed"></iframe>`));

// Resolves once `is` says something; what is waited for is said by a page, the service or a folder.
async function until(is, what) {
  for (const end = Date.now() + 30_000; ;) {
    const said = await is();
    if (said) return said;
    if (Date.now() > end) throw new Error(`never: ${what}; asked: ${asked.map((one) => one.line).join(', ')}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}
// The call that waits, once it has taken longer than nginx waits where it is to be one of those.
const call = (line, age = 0) => until(() => waiting.find((one) => one.line === line && Date.now() - one.at > age), line);
async function answer(line, age) {
  const one = await call(line, age);
  waiting = waiting.filter((other) => other !== one);
  one.answer();
}

const isTicketPage = () => /^\/v1\/tasks\/task_\w+$/.test(location.pathname) && document.querySelector('#state') !== null;
const leadsToResult = () => Boolean(document.querySelector('#result')?.getClientRects().length);
const isAt = (path) => location.pathname + location.search === path && document.body !== null;
// Presses a link or button, and is on the page of a task then, whose address it says.
async function ticketPage(shown, selector) {
  if (selector) await shown.click(selector);
  await shown.until(isTicketPage);
  return (await shown.address()).replace(/#.*/, '');
}
async function inShop(shown) {
  await shown.go(`${shop}/`);
  await shown.until(isAt, '/');
}
// The tasks that the browser's session has.
async function session(shown) {
  await shown.go(`${shop}/v1/session`);
  await shown.until(() => document.querySelector('h1') !== null);
  return shown.run(() => [...document.querySelectorAll('main li a')].map((link) => link.getAttribute('href')).sort().join(' '));
}

// A link to a file. Whatever its reader does, and although the server is killed, it is asked for once and comes once.
async function aFile({ shown, browser, holds }) {
  const before = calls(EXPORT);
  await inShop(shown);
  const own = await ticketPage(shown, '#export');
  holds(own.startsWith(`${shop}/v1/tasks/task_`), `it is led to the page of its task, without a ticket: ${own}`);
  await shown.reload();
  holds((await ticketPage(shown)) === own, 'which is loaded again');
  await shown.back();
  await shown.until(isAt, '/');
  holds((await ticketPage(shown, '#export')) === own, 'a second click leads there, too');
  const second = await browser.tab();
  await inShop(second);
  holds((await ticketPage(second, '#export')) === own, 'and one in another tab');
  const { response } = await call(EXPORT, CUT_MS);
  holds(calls(EXPORT) === before + 1, `the service was asked once: ${calls(EXPORT) - before}`);

  // The server has read the beginning when it is killed.
  response.writeHead(200, slow[EXPORT].fields);
  response.write(CSV.slice(0, 1000));
  const live = await fetch(`${server.base}${new URL(own).pathname}/result?live`);
  await live.body.getReader().read();
  await server.restart();
  waiting = waiting.filter((one) => one.response !== response);
  await answer(EXPORT);
  holds(String(await browser.downloaded(/^june\.csv$/)) === CSV, 'the file comes by itself, whole');
  await shown.until(leadsToResult);
  await second.until(leadsToResult);
  holds((await shown.address()) === own && (await second.address()) === own, `the pages stay, and lead to it: ${(await shown.address())} ${(await second.address())}`);
  holds(calls(EXPORT) === before + 2, `it was asked for again after the restart alone: ${calls(EXPORT) - before}`);
  await second.close();
}

// A link to a page: shown at its own address, with all that it may do.
async function aPage({ shown, holds, javascript }) {
  const before = calls(JUNE);
  await inShop(shown);
  await ticketPage(shown, '#report');
  await answer(JUNE);
  await shown.until(isAt, '/export/june?year=2026');
  if (javascript) {
    await shown.until(() => document.title === 'its script ran');
    holds((await shown.address()).endsWith('#totals'), `the fragment is kept: ${(await shown.address())}`);
  }
  await shown.reload();
  await shown.until(() => document.querySelector('#totals') !== null);
  await shown.click('#more');
  await shown.until(isAt, '/chapters/2');
  await shown.back();
  await shown.until(isAt, '/export/june?year=2026');
  await shown.back();
  await shown.until(isAt, '/');
  holds(calls(JUNE) === before + 1, `reload and back ask for nothing again: ${calls(JUNE) - before}`);
}

// A form whose answer is a redirect, and one whose answer is a page.
async function forms({ shown, holds, javascript }) {
  const before = [calls(ORDER), calls(CHECK)];
  await inShop(shown);
  const own = await ticketPage(shown, '#buy');
  await shown.reload();
  holds((await ticketPage(shown)) === own, 'loaded again it hands in nothing');
  await shown.back();
  await shown.until(isAt, '/');
  holds((await ticketPage(shown, '#buy')) === own, 'a second click is no second order');
  // Without scripts the page looks for the end only now and then, and takes long enough by that.
  await answer(ORDER, javascript ? CUT_MS : 0);
  await shown.until(isAt, '/orders/7');
  if (javascript) holds((await shown.address()) === `${shop}/orders/7#paid`, `the fragment is that of the redirect: ${(await shown.address())}`);
  const { cookie } = asked.findLast((one) => one.line === 'GET /orders/7').fields;
  holds(/\bflash=ordered\b/.test(cookie), `with the cookies of the redirect: ${cookie}`);
  await shown.reload();
  await shown.back();
  await shown.until(isAt, '/');
  holds(calls(ORDER) === before[0] + 1, `one order: ${calls(ORDER) - before[0]}`);

  await ticketPage(shown, '#check');
  await answer(CHECK);
  await shown.untilSaid('All is well');
  holds(/\/v1\/tasks\/task_\w+\/result$/.test((await shown.address())), `the page of a form is its result: ${(await shown.address())}`);
  if (javascript) holds((await shown.title()) === 'checked', 'in a sandbox');
  await shown.back();
  await shown.until(isAt, '/');
  holds(calls(CHECK) === before[1] + 1, `checked once: ${calls(CHECK) - before[1]}`);
}

// A link to a page that the browser has a copy of, and asks about.
async function aSeenPage({ shown, holds }) {
  quick = SEEN;
  await shown.go(`${shop}/again/seen`);
  await shown.untilSaid('Seen again');
  quick = undefined;
  const before = calls(SEEN);
  await inShop(shown);
  await ticketPage(shown, '#seen');
  await answer(SEEN);
  await shown.until(isAt, '/again/seen');
  await shown.untilSaid('Seen again');
  holds(calls(SEEN) === before + 1, `it is shown, and was asked for once: ${calls(SEEN) - before}`);
}

// Cookies that change while the page waits, as those that count visits do.
async function otherCookies({ shown, holds }) {
  const before = calls(SEEN);
  await inShop(shown);
  const own = await ticketPage(shown, '#seen');
  // Without scripts the page loads itself again now and then, maybe at this very moment.
  await shown.until(() => { document.cookie = 'visits=2; path=/'; return true; });
  await answer(SEEN);
  await shown.until(leadsToResult);
  holds((await shown.address()) === own, `the page stays: ${(await shown.address())}`);
  await shown.click('#result');
  await shown.untilSaid('Seen again');
  holds(calls(SEEN) === before + 1, `one click leads to what was asked for once: ${calls(SEEN) - before}`);
}

// A link to what browsers play; the Firefox of the tests saves it, wherever it comes from.
async function aTune({ shown, browser, holds }) {
  const before = calls(TUNE);
  await inShop(shown);
  await ticketPage(shown, '#tune');
  await answer(TUNE);
  if (browser.name === 'chromium') {
    const seconds = await shown.until(() => {
      const player = document.querySelector('video, audio');
      return player?.readyState >= 3 && !player.error && player.duration;
    });
    holds(Math.abs(seconds - 1) < 0.01, `it is played, to its end: ${seconds}`);
    holds(/\/v1\/tasks\/task_\w+\/result$/.test((await shown.address())), `from the result: ${(await shown.address())}`);
  } else holds((await browser.downloaded(/^result$/)).equals(slow[TUNE].body), 'it comes whole');
  holds(calls(TUNE) === before + 1, `it was asked for once: ${calls(TUNE) - before}`);
}

// Pages of another site change nothing in the session that the browser has: not by a form, a frame or a link with a ticket, and
// not by what our own page does then.
async function fromElsewhere({ shown, holds }) {
  const task = await fetch(`${server.base}/export/saved.csv`, { headers: { prefer: 'respond-async' } });
  mailed = task.headers.get('location').replace(/\/result/, '');
  const before = await session(shown);
  holds(before.includes('/v1/tasks/'), 'there is a session');
  await shown.go(foreign.url);
  await shown.click('#send');
  await shown.until(() => document.querySelector('#state') !== null);
  const posted = shown.seen.findLast((one) => one.method === 'POST');
  holds(posted?.status === 202, `the form of another site gets a page, and leads nowhere: ${JSON.stringify(posted)}`);
  await answer(ORDER);
  await shown.until(leadsToResult);
  await shown.go(foreign.url);
  await call(FRAMED);
  await shown.click('#mailed');
  await shown.until(() => document.querySelector('#state') !== null);
  await answer(SAVED);
  await shown.until(leadsToResult);
  const after = await session(shown);
  holds(after === before, `the session is as it was: ${before}, ${after}`);

  // Whoever wants to keep it presses a button.
  await shown.go(mailed);
  await shown.click('#way button');
  await shown.until(() => document.querySelector('#way a') !== null);
  const kept = await session(shown);
  holds(kept === `${before} ${new URL(mailed).pathname}`.split(' ').sort().join(' '), `it is kept by the button: ${kept}`);
}

// What becomes of a link whose answer is to be saved: Chromium says too little of it, and saves the document of the 202; for
// Firefox it is a link like others, and it saves the page of the task. The guide tells to leave `download` out.
async function aDownload({ shown, browser, holds }) {
  await inShop(shown);
  const from = asked.length;
  await shown.click('#saved');
  await call(SAVED);
  const { fields } = asked.slice(from).find((one) => one.line === SAVED);
  const isChromium = browser.name === 'chromium';
  const said = `${fields['sec-fetch-mode']} ${fields['sec-fetch-dest']}`;
  holds(said === (isChromium ? 'navigate empty' : 'navigate document'), `what the browser says of itself: ${said}`);
  const saved = String(await browser.downloaded(isChromium ? /^saved\.csv$/ : /^task_\w+\.html$/));
  holds(isChromium ? JSON.parse(saved).status === 'running' : saved.includes('<main id="task"'), `what is saved: ${saved.slice(0, 200)}`);
  await answer(SAVED);
}

for (const javascript of [true, false]) {
  await eachBrowser(async (_, browser) => {
    for (const story of [aFile, aPage, forms, aSeenPage, otherCookies, aTune, fromElsewhere, aDownload]) {
      const how = `${browser.name} ${javascript ? 'with' : 'without'} scripts, ${story.name}`;
      const shown = await browser.tab();
      await story({ shown, browser, javascript, holds: (is, what) => check(is, `${how}: ${what}`) })
        .catch((error) => check(false, `${how}: ${error.stack}`));
      await shown.close();
      waiting.splice(0).forEach((one) => one.answer());
    }
  }, { javascript });
}
front.stop();
await server.stop();
foreign.stop();
service.stop();
verdict();
