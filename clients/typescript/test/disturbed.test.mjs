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

// What happens to pages, to the network and to the server, each by its name. `pages` are those that follow, by `transport`.
function disturbances({ base, front, server, tab, transport, pages }, meanwhile) {
  return {
    reload: async () => {
      await pages[0].reload();
      await pages[0].run(follow, transport);
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
      await meanwhile();
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
}

// A task that pages follow, and a worker that says what happens; at the end each page was told the log.
async function followed(context, transport, disturb) {
  // A worker that is silent for as long as the test is.
  const made = await site({ config: 'lease = "10m"\n' });
  context.after(made.stop);
  await eachBrowser(async (page, { name, tab }) => {
    await page.go(made.base);
    const task = await page.run(follow, transport);
    const hands = made.worker('disturbed');
    const lease = await hands.lease();
    const pages = [page];
    const report = (message) => hands.report(lease, { message });
    const says = async (message) => {
      await report(message);
      for (const one of pages) await one.until((wanted) => window.messages.includes(wanted), message, 90_000);
    };
    await disturb(disturbances({ ...made, tab, transport, pages }, () => report('meanwhile')), { says, pages, front: made.front });
    await hands.succeed(lease, 1);
    const answer = await fetch(`${made.server.base}/v1/tasks/${task}/events`, { headers: { accept: 'application/json' } });
    const told = (await answer.json()).events.map(({ seq }) => seq);
    for (const one of pages) {
      await one.until(() => window.isOver);
      assert.deepEqual(await one.run(() => window.seqs), told, name);
    }
  });
}

// `undefined`: the one connection of all pages.
for (const transport of ['websocket', 'sse', 'long-poll', undefined]) {
  test(`a page goes on through reload, another tab, no network, sleep and restart (${transport ?? 'shared'})`, (context) =>
    followed(context, transport, async (all, { says }) => {
      for (const [what, disturb] of Object.entries(all)) {
        await disturb();
        await says(what);
      }
    }));
}

test('a page goes on through each two of them, one upon the other', (context) =>
  followed(context, undefined, async ({ cut, ...all }, { says, pages }) => {
    for (const [first, begin] of Object.entries(all)) {
      for (const [second, goOn] of Object.entries(all).filter(([name]) => name !== first)) {
        await begin();
        await goOn();
        await says(`${first}, then ${second}`);
        for (const more of pages.splice(1)) await more.close();
      }
    }
  }));

test('a page whose network is gone without a word finds it out by itself', (context) =>
  followed(context, undefined, async (_, { says, front }) => {
    await says('before');
    front.freeze();
    await says('after');
  }));

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
