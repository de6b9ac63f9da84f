// The first steps of the guide, in both browsers: progress and a way back, and the same by TanStack Query. With SHOTS=docs/guide/img
// it takes the pictures of the page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { bundle, files, routes, shot } from './guide.mjs';
import { gate } from './support.mjs';
import { site } from './site.mjs';

const MAIN = `import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createRoot } from 'react-dom/client';
import { Report } from './report.jsx';
createRoot(document.querySelector('main')).render(<QueryClientProvider client={new QueryClient()}><Report /></QueryClientProvider>);`;
const REPORT = '<!doctype html><meta charset="utf-8"><title>Report</title><main></main><script type="module" src="/report.js"></script>';

// Of the pictures.
const SIZE = { width: 560, height: 120 };

// A service that says how far it is to whoever gave it the right to.
async function shop(context, pages, scripts) {
  const state = { half: gate(), calls: 0, isRefused: false };
  const made = await site({
    pages,
    config: routes,
    async answer({ url, headers }, body) {
      if (scripts[url]) return { fields: { 'content-type': 'text/javascript' }, body: scripts[url] };
      if (url !== '/imports/june') return { status: 404 };
      state.calls += 1;
      const progress = { percent: 40, message: 'line 12,000 of 30,000' };
      const items = [{ token: headers['relais-lease'], progress }];
      await fetch(`${made.server.base}/v1/leases/heartbeat`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ items }),
      });
      await state.half.promise;
      return { fields: { 'content-type': 'text/plain' }, body: `imported ${body}` };
    },
  });
  context.after(made.stop);
  return { ...made, state };
}

const isAt40 = (page) => page.until(() => document.querySelector('progress')?.value === 40);

test('an import shows how far it is, goes on after a reload and in another tab, and is stopped by its button', async (context) => {
  const { base, state } = await shop(context, { '/': files['import.html'] }, { '/import.js': await bundle('import.js') });
  await eachBrowser(async (page, { name, tab }) => {
    Object.assign(state, { half: gate(), calls: 0 });
    await page.go(base);
    await page.click('#import');
    await isAt40(page);
    await page.untilSaid('line 12,000 of 30,000');
    await shot(page, 'client-progress', name);
    await page.reload();
    await isAt40(page);
    const other = await tab();
    await other.go(base);
    await isAt40(other);
    state.half.done();
    for (const one of [page, other]) await one.untilSaid('imported orders of June');
    assert.equal(state.calls, 1, name);
    state.half = gate();
    await other.until(() => !document.querySelector('#import').disabled);
    await other.click('#import');
    await other.untilSaid('line 12,000 of 30,000');
    await other.click('#stop');
    await other.untilSaid('canceled');
    state.half.done();
  }, SIZE);
});

test('a component follows an import by TanStack Query, and after a reload', async (context) => {
  const scripts = { '/report.js': await bundle('main.jsx', { 'main.jsx': MAIN }) };
  const { base, state } = await shop(context, { '/': REPORT }, scripts);
  await eachBrowser(async (page, { name }) => {
    Object.assign(state, { half: gate(), calls: 0 });
    await page.go(base);
    await page.click('button');
    await isAt40(page);
    await shot(page, 'client-query', name);
    await page.reload();
    await isAt40(page);
    assert.equal(await page.run(() => document.querySelector('button').disabled), true);
    state.half.done();
    await page.untilSaid('imported orders of June');
    await page.reload();
    await page.untilSaid('imported orders of June');
    assert.equal(state.calls, 1, name);
  }, SIZE);
});

test('a task is followed by hand over a WebSocket, and a cut loses and repeats no event', async (context) => {
  const script = await bundle('by-hand.js');
  const { follow } = await import(`data:text/javascript,${encodeURIComponent(script)}`);
  let cuts = 0;
  const half = gate();
  const made = await site({
    config: routes,
    async answer() {
      await half.promise;
      return { body: 'imported' };
    },
    seen(text, cut) {
      const place = text.indexOf('"type":"started"');
      if (place < 0 || cuts) return;
      cuts += 1;
      cut(place);
    },
  });
  context.after(made.stop);
  const accepted = await (await fetch(`${made.base}/imports/june`, { method: 'POST', body: 'orders of June' })).json();
  const told = [];
  await new Promise((done) => {
    // Node has had one of its own since 22, and this one tells when the last is closed.
    globalThis.WebSocket = class extends WebSocket {
      constructor(...all) {
        super(...all);
        this.addEventListener('close', () => told.at(-1)?.[1] === 'succeeded' && done());
      }
    };
    follow(accepted, ({ seq, type }) => {
      told.push([seq, type]);
      if (type === 'accepted') half.done();
    });
  });
  assert.deepEqual(told, [[1, 'accepted'], [2, 'started'], [3, 'succeeded']]);
  assert.equal(cuts, 1);
});

test('a page of another origin hands JSON in by the route of the guide', async (context) => {
  const [, server, config] = /^\[server\]\n(.*)\n\n([^]*)/.exec(files['elsewhere.toml']);
  const made = await site({ server, config, answer: (_, body) => ({ body }) });
  context.after(made.stop);
  const headers = { origin: 'https://app.example.com' };
  const asks = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
  const preflight = await fetch(`${made.base}/imports/june`, { method: 'OPTIONS', headers: { ...headers, ...asks } });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), headers.origin);
  assert.match(preflight.headers.get('access-control-allow-headers'), /content-type/i);
  const json = { ...headers, 'content-type': 'application/json' };
  const accepted = await fetch(`${made.base}/imports/june`, { method: 'POST', headers: json, body: '{}' });
  assert.equal(accepted.status, 202);
  assert.equal(accepted.headers.get('access-control-allow-origin'), headers.origin);
});
