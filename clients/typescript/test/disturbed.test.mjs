// Pages that are disturbed in every way, in both browsers: none loses or repeats anything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { proxy, upstream } from './support.mjs';
import { site } from './site.mjs';

// Runs in a page: follows the task `disturbed` by one way, and notes the messages of its progress.
async function follow(transport) {
  const { Relais } = await import('/client/dist/index.js');
  const relais = new Relais(transport ? { transports: [transport] } : {});
  const [task = await relais.submit({ queue: 'disturbed', input: 1 }, { name: 'disturbed' })] = await relais.tasks('disturbed');
  Object.assign(window, { seqs: [], messages: [], isOver: false });
  (async () => {
    for await (const { seq, data } of task.events()) {
      window.seqs.push(seq);
      window.messages.push(data?.message);
    }
    window.isOver = true;
  })();
  return task.id;
}

// Runs in a page: what it says of its network.
function says(isOnline) {
  Object.defineProperty(navigator, 'onLine', { value: isOnline, configurable: true });
  dispatchEvent(new Event(isOnline ? 'online' : 'offline'));
}

// `undefined`: the one connection of all pages.
for (const transport of ['websocket', 'sse', 'long-poll', undefined]) {
  test(`a page goes on through reload, another tab, no network, sleep and restart (${transport ?? 'shared'})`, async (context) => {
    const { base, front, server, worker, stop } = await site();
    context.after(stop);
    await eachBrowser(async (page, { name, tab }) => {
      await page.go(base);
      const task = await page.run(follow, transport);
      const hands = worker('disturbed');
      const lease = await hands.lease();
      const pages = [page];
      const disturbances = {
        reload: async () => {
          await page.reload();
          await page.run(follow, transport);
        },
        'another tab': async () => {
          const other = await tab();
          await other.go(base);
          await other.run(follow, transport);
          pages.push(other);
        },
        'no network': async () => {
          for (const one of pages) await one.run(says, false);
          front.close(true);
          await hands.report(lease, { message: 'meanwhile' });
          front.close(false);
          for (const one of pages) await one.run(says, true);
        },
        restart: () => server.restart(),
        cut: async () => front.cutAll(),
        // The network is another when it wakes, and what was open is dead. A shared worker is told by the browser alone.
        sleep: async () => {
          if (!transport) return front.cutAll();
          for (const one of pages) await one.run(says, false);
          front.freeze();
          for (const one of pages) await one.run(says, true);
        },
      };
      for (const [what, disturb] of Object.entries(disturbances)) {
        await disturb();
        await hands.report(lease, { message: what });
        for (const one of pages) await one.until((wanted) => window.messages.includes(wanted), what);
      }
      await hands.succeed(lease, 1);
      const answer = await fetch(`${server.base}/v1/tasks/${task}/events`, { headers: { accept: 'application/json' } });
      const told = (await answer.json()).events.map(({ seq }) => seq);
      for (const one of pages) {
        await one.until(() => window.isOver);
        assert.deepEqual(await one.run(() => window.seqs), told, name);
      }
    });
  });
}

test('a page of another origin is told the same, and reads an answer on after a cut, whether it is coded or not', async (context) => {
  const text = Array.from({ length: 20_000 }, (_, number) => `${number * 7919} `).join('');
  const coded = gzipSync(text);
  const service = await upstream(({ url, headers: { origin } }) => {
    const fields = { 'content-type': 'text/plain', ...(url.startsWith('/own/') && { 'access-control-allow-origin': origin }) };
    if (url.endsWith('/plain')) return { fields, body: text };
    return { fields: { ...fields, 'content-encoding': 'gzip' }, body: coded };
  });
  const shop = await site();
  const api = await site({
    server: `cors_origins = ["${shop.base}"]`,
    config: `[[route]]
path = "/slow/{*rest}"
upstream = "${service.url}"
mode = "async"
cors = "relais"
[[route]]
path = "/chat/{*rest}"
upstream = "${service.url}"
cors = "relais"
[[route]]
path = "/own/{*rest}"
upstream = "${service.url}"`,
  });
  context.after(async () => {
    service.stop();
    await shop.stop();
    await api.stop();
  });
  let [isFirst, cuts, offsets] = [true, 0, []];
  const front = await proxy(api.server.base, {
    // The first answer is cut, behind a part of its body.
    seen: (piece, cut, state) => {
      const isHead = /^HTTP[^]*relais-result-version:[^]*\r\n\r\n/.exec(piece);
      if (isHead) [state.isCut, isFirst] = [isFirst, false];
      const offset = /\r\nrelais-offset: (\d+)/.exec(isHead?.[0]);
      if (offset) offsets.push(Number(offset[1]));
      const body = isHead ? piece.indexOf('\r\n\r\n') + 4 : 0;
      if (!state.isCut || piece.length < body + 100) return;
      cuts += 1;
      state.isCut = false;
      cut(body + 100, 500);
    },
  });
  context.after(() => front.stop());
  await eachBrowser(async (page, { name }) => {
    await page.go(shop.base);
    for (const path of ['/slow/report', '/chat/report', '/own/report', '/slow/plain', '/chat/plain', '/own/plain']) {
      [isFirst, offsets] = [true, []];
      const said = await page.run(async ([url, wanted]) => {
        const { Relais } = await import('/client/dist/index.js');
        const relais = new Relais({ url });
        let link;
        const answer = await relais.fetch(url + wanted, { method: 'POST', body: 'x', onTask: (told) => { link = told; } });
        const types = [];
        const whole = await answer.text();
        for await (const { type } of relais.task(link).events()) types.push(type);
        return { whole, types };
      }, [front.base, path]);
      assert.equal(said.whole, text, `${path} (${name})`);
      // The coding is seen across origins: only what is coded is read again from its start.
      const isReadOn = path.endsWith('/plain');
      assert.ok(offsets.length > 0 && offsets.every((offset) => offset > 0 === isReadOn), `${path} (${name}) ${offsets}`);
      assert.deepEqual(said.types, ['accepted', 'started', 'succeeded'], `${path} (${name})`);
    }
  });
  assert.equal(cuts, 12);
});
