// The client through nginx, Caddy and HAProxy, with the configurations of docs/guide/proxies.md and with nothing but the line that says
// where Relais is: by which way it follows, and that a switch in the middle loses and repeats nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { bare, front, guide } from '../../../tests/peers/fronts.mjs';
import { Relais } from '@relais/client';
import { site } from './site.mjs';
import { all, gate, surroundings } from './support.mjs';

// Node has had none before 22; this one is that of everybody.
globalThis.WebSocket ??= WebSocket;

// Those that are told of by the page have a public name and trust what the proxy says.
const PUBLIC = 'public_url = "https://api.example.com"\ntrusted_proxies = ["127.0.0.0/8"]';
const FRONTS = [
  ...Object.entries(guide).map(([program, code]) => ({ name: `${program} as the guide has it`, program, code, settings: PUBLIC })),
  ...Object.entries(bare).map(([program, code]) => ({ name: `${program} with its default lines`, program, code, settings: '' })),
];
// nginx without its three lines takes the offer of a WebSocket away.
const waysThrough = (name) => (name === 'nginx with its default lines' ? ['websocket', 'sse'] : ['websocket']);

// A site whose one long task is driven by hand, behind a proxy.
async function behind({ program, code, settings }) {
  let [holder, half] = [gate(), gate()];
  const made = await site({
    server: settings,
    config: `[[route]]
path = "/work"
upstream = "SERVICE"
mode = "async"
report = true`,
    async answer({ headers }) {
      const { promise } = half;
      holder.done(headers['relais-lease']);
      await promise;
      return { body: 'done' };
    },
  });
  const between = await front(program, code, made.server.port);
  const handIn = async () => {
    [holder, half] = [gate(), gate()];
    const answer = await fetch(`${made.server.base}/work`, { method: 'POST', body: 'x' });
    const { id, ticket } = await answer.json();
    const token = await holder.promise;
    const report = async (message) => {
      const body = JSON.stringify({ items: [{ token, progress: { message } }] });
      const said = await fetch(`${made.server.base}/v1/leases/heartbeat`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      assert.equal((await said.json()).items[0].status, 200);
    };
    const log = async () => {
      const asked = { headers: { accept: 'application/json', authorization: `Bearer ${ticket}` } };
      return (await (await fetch(`${made.server.base}/v1/tasks/${id}/events`, asked)).json()).events;
    };
    return { id, ticket, report, log, finish: () => half.done() };
  };
  const stop = async () => {
    half.done();
    between.stop();
    await made.stop();
  };
  return { base: between.base, handIn, stop };
}

for (const one of FRONTS) {
  test(`through ${one.name}: a WebSocket where it passes, and each switch of channel goes on where the one before was`, async (context) => {
    const { base, handIn, stop } = await behind(one);
    context.after(stop);
    const { id, ticket, report, log, finish } = await handIn();
    const told = [];
    let after = 0;
    // The last without a choice of ways.
    for (const [turn, transports] of [['sse'], ['long-poll'], ['websocket'], ['poll'], undefined].entries()) {
      if (transports?.[0] === 'websocket' && waysThrough(one.name).length > 1) continue;
      const used = [];
      const client = new Relais({ url: base, surroundings, onTransport: (name) => used.push(name), ...(transports && { transports }) });
      await report(`turn ${turn}`);
      const began = performance.now();
      for await (const event of client.task(id, ticket).events({ after })) {
        told.push(event);
        after = event.seq;
        if (event.data?.message === `turn ${turn}`) break;
      }
      assert.ok(performance.now() - began < 5_000, `${transports} after ${performance.now() - began} ms`);
      assert.deepEqual(used, transports ?? waysThrough(one.name));
    }
    finish();
    told.push(...await all(new Relais({ url: base, surroundings }).task(id, ticket).events({ after })));
    assert.deepEqual(told, await log());
  });
}

for (const one of FRONTS.filter(({ program }) => program === 'nginx')) {
  test(`a page behind ${one.name} follows within 5 s, and sees no error`, async (context) => {
    // The page is of the address that it has in the browser, which is no name of the test's choosing.
    const { base, handIn, stop } = await behind({ ...one, settings: one.settings.replace(/^public_url.*/, '') });
    context.after(stop);
    await eachBrowser(async (page, { name }) => {
      const { id, ticket, report, log, finish } = await handIn();
      await report('half');
      await page.go(base);
      await page.run(async ([task, right]) => {
        const { Relais } = await import('/client/dist/index.js');
        Object.assign(window, { used: [], events: [], began: performance.now(), failed: null, isOver: false });
        const client = new Relais({ onTransport: (way) => window.used.push(way) });
        (async () => {
          for await (const event of client.task(task, right).events()) {
            window.events.push(event);
            window.took ??= performance.now() - window.began;
          }
          window.isOver = true;
        })().catch((error) => { window.failed = String(error); });
      }, [id, ticket]);
      await page.until(() => window.events.some(({ data }) => data?.message === 'half'));
      finish();
      await page.until(() => window.isOver);
      const { used, events, took, failed } = await page.run(() => ({ used, events, took, failed }));
      assert.deepEqual({ used, failed }, { used: waysThrough(one.name), failed: null }, name);
      assert.ok(took < 5_000, `${took} ms (${name})`);
      assert.deepEqual(events, await log(), name);
    });
  });
}
