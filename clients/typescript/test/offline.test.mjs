// POSTs that a service worker sends again, by `workbox-background-sync` as it is: the recipe of the guide, in both browsers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { bundle, routes } from './guide.mjs';
import { site } from './site.mjs';

const PAGE = '<!doctype html><title>orders</title><script type="module" src="/order.js"></script>';
const MAIN = `import { orderOf } from './order.js';
// What the page says of an order that it sends.
window.send = async (order) => {
  try {
    const answer = await order.send();
    return answer.status + ' ' + await answer.text();
  } catch (error) {
    return error.name;
  }
};
window.orderOf = orderOf;`;

// Runs in a page: whether the worker has nothing left to send.
async function isAllSent() {
  const ended = (request) => new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  const database = await ended(indexedDB.open('workbox-background-sync'));
  const count = await ended(database.transaction('requests').objectStore('requests').count());
  database.close();
  return count === 0;
}

// The worker sends what it has kept once the browser says that there is a network (Chromium), or where no browser says it, when
// the worker is started the next time: with the next page, or here because there is a newer one.
const wake = {
  async chromium(page) {
    const session = await page.inner.context().newCDPSession(page.inner);
    const registered = new Promise((done) => {
      session.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => registrations.length && done(registrations[0]));
    });
    await session.send('ServiceWorker.enable');
    const { registrationId, scopeURL } = await registered;
    const origin = scopeURL.replace(/\/$/, '');
    await session.send('ServiceWorker.dispatchSyncEvent', { origin, registrationId, tag: 'workbox-background-sync:orders', lastChance: false });
  },
  firefox: (page) => page.run(async () => { await (await navigator.serviceWorker.ready).update(); }),
};

test('orders that a service worker sends again with their key are one task, also where only the answer was lost', async (context) => {
  const scripts = { '/order.js': await bundle('main.js', { 'main.js': MAIN }), '/worker.js': await bundle('worker.js') };
  const orders = [];
  let [fetched, replayed, isLost] = [0, 0, false];
  const { base, front, stop } = await site({
    pages: { '/': PAGE },
    config: routes,
    seen(text, cut) {
      if (/\r\nidempotent-replayed: true/.test(text)) replayed += 1;
      // Chromium itself sends a POST again that it sent over a connection of before.
      if (isLost && /^HTTP[^]*\r\nrelais-task:/.test(text)) cut(0);
    },
    answer({ url }, body) {
      if (url === '/orders') return { status: 201, body: `order ${orders.push(String(body))}` };
      // Each is another one than that before.
      const text = scripts[url] && `${scripts[url]}\n// ${fetched += 1}`;
      return text ? { fields: { 'content-type': 'text/javascript', 'cache-control': 'no-store' }, body: text } : { status: 404 };
    },
  });
  context.after(stop);
  await eachBrowser(async (page, { name }) => {
    orders.length = replayed = 0;
    await page.go(base);
    await page.until(() => navigator.serviceWorker.controller?.state === 'activated' && window.orderOf !== undefined);
    for (const lost of ['request', 'answer']) {
      const before = orders.length;
      if (lost === 'request') front.close(true);
      else isLost = true;
      await page.run((wanted) => { window.order = window.orderOf({ lost: wanted }); }, lost);
      assert.equal(await page.run(() => window.send(window.order)), 'TypeError', `the ${lost} is lost (${name})`);
      assert.equal(orders.length, before + (lost === 'request' ? 0 : 1), name);
      front.close(false);
      [isLost, replayed] = [false, 0];
      await wake[name](page);
      await page.until(isAllSent);
      await until(() => (lost === 'request' ? orders.length > before : replayed > 0), `the worker sends it again: ${lost} (${name})`);
      // The page asks for the answer by the same key.
      const number = before + 1;
      assert.equal(await page.run(() => window.send(window.order)), `201 order ${number}`, `${lost} (${name})`);
      assert.deepEqual(orders.slice(before), [JSON.stringify({ lost })], name);
    }
  });
});

async function until(holds, what) {
  const end = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > end) assert.fail(what);
    await pause(20); // tidy: bounded wait
  }
}
