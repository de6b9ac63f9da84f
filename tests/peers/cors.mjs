// Pages of other origins in real browsers (CORS): what a page of a listed origin can do with a ticket, and that a
// page of any other origin can do nothing.
import assert from 'node:assert/strict';
import { eachBrowser } from './browsers.mjs';
import { check, relais, upstream, verdict } from './peer.mjs';

const site = () => upstream(() => ({ fields: { 'content-type': 'text/html' }, body: '<!doctype html><title>shop</title>' }));

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
  await tell('a service that knows of no other origins', async () => {
    const answer = await ask(`${base}/shop/1`, { method: 'PUT', headers: { 'x-shop': 'a' }, body: '1' });
    return [answer.status, await answer.text()];
  });
  await tell('events', () => new Promise((seen, failed) => {
    const source = new EventSource(`${one}/events?ticket=${task.ticket}`, { withCredentials: true });
    source.addEventListener('accepted', (event) => { source.close(); seen(event.lastEventId); });
    source.onerror = () => { source.close(); failed(new Error('closed')); };
  }));
  return told;
}

const sites = [await site(), await site()];
const [listed, other] = sites.map((one) => one.url.replace('127.0.0.1', 'localhost'));
const shop = await upstream((request, body) => (request.method === 'PUT' ? { body: `${request.headers['x-shop']}${body}` } : { status: 405 }));
const config = `[queue."*"]
[[route]]
path = "/shop/{id}"
methods = ["PUT"]
upstream = "${shop.url}"
cors = "relais"`;
const { base, stop } = await relais({ server: `cors_origins = ["${listed}"]`, config });

// Whether what was seen is what is expected; the difference is told.
function same(seen, expected, what) {
  try {
    assert.deepEqual(seen, expected);
    check(true, what);
  } catch (error) {
    check(false, `${what}: ${error.message}`);
  }
}

const submit = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"queue":"q","input":1}' };
const task = await (await fetch(`${base}/v1/tasks`, submit)).json();
await eachBrowser(async (page, { name: browser, tab }) => {
  await page.go(listed);
  same(await page.run(calls, { base, task }), {
    task: [200, 'W/"v1-json"', 'queued'],
    'not modified': 304,
    'an error': [404, 'task-not-found'],
    'a submit without a ticket': [403, 'cross-site'],
    result: [202, true],
    'a service that knows of no other origins': [200, 'a1'],
    events: '1',
  }, `a page of a listed origin reads what it has a ticket for (${browser})`);
  const foreign = await tab();
  await foreign.go(other);
  const theirs = await foreign.run(calls, { base, task });
  for (const [name, what] of Object.entries(theirs)) check(what === 'blocked', `any other page does not read: ${name} (${browser})`);
});
await stop();
[...sites, shop].forEach((one) => one.stop());
verdict();
