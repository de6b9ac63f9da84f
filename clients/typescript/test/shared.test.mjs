// One connection for all pages of a browser, in both browsers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { site } from './site.mjs';

// Runs in a page: follows each task that the browser has, and notes what it is told.
async function followAll(without) {
  for (const name of without) delete window[name];
  const { Relais } = await import('/client/dist/index.js');
  window.relais = new Relais();
  window.told = {};
  window.ended = [];
  for (const task of await window.relais.tasks()) {
    (async () => {
      window.told[task.id] = [];
      try {
        for await (const event of task.events()) window.told[task.id].push(event.seq);
        window.ended.push(task.id);
      } catch (error) { window.ended.push(String(error)); }
    })();
  }
}

const ways = { 'a shared worker': [], 'one of the pages': ['SharedWorker'], 'each page itself': ['SharedWorker', 'BroadcastChannel'] };
for (const [way, without] of Object.entries(ways)) {
  test(`pages follow by ${way}, also when one of them is closed or loaded again`, async (context) => {
    const { base, front, server, worker, stop } = await site();
    context.after(stop);
    const isOne = way !== 'each page itself';
    await eachBrowser(async (page, { name, tab }) => {
      const queue = `q-${name}`;
      await page.go(base);
      await page.run(async ([wanted, missing]) => {
        for (const name of missing) delete window[name];
        const { Relais } = await import('/client/dist/index.js');
        const relais = new Relais();
        for (let input = 0; input < 3; input += 1) await relais.submit({ queue: wanted, input }, { name: `order ${input}` });
      }, [queue, without]);
      const others = [await tab(), await tab()];
      for (const other of others) await other.go(base);
      for (const one of [page, ...others]) {
        await one.run(followAll, without);
        await one.until(() => Object.values(window.told).filter((told) => told.length === 1).length === 3);
      }
      if (isOne) await until(() => front.streams() === 1, () => `${front.streams()} streams (${name})`);
      const hands = worker(queue);
      const lease = await hands.lease();
      await hands.report(lease, { percent: 1 });
      for (const one of [page, ...others]) await one.until(() => Object.values(window.told).some((told) => told.length === 3));
      // The first page goes: with it, in the second way, the connection.
      await page.close();
      await hands.succeed(lease, 1);
      for (const one of others) await one.until(() => window.ended.length === 1);
      // Another is loaded again, and goes on from what the browser has kept.
      await others[1].reload();
      await others[1].run(followAll, without);
      for (let rest = 0; rest < 2; rest += 1) await hands.succeed(await hands.lease(), rest);
      for (const one of others) {
        const told = await one.until(() => window.ended.length === 3 && window.told);
        for (const [task, seqs] of Object.entries(told)) {
          const answer = await fetch(`${server.base}/v1/tasks/${task}/events`, { headers: { accept: 'application/json' } });
          assert.deepEqual(seqs, (await answer.json()).events.map(({ seq }) => seq), `${name}: ${task}`);
        }
      }
      const named = await others[0].run(async () => (await window.relais.tasks('order 1')).length);
      assert.equal(named, 1);
      const left = await others[0].run(async () => {
        const told = new Promise((done) => window.relais.onTasks(done));
        await window.relais.forget((await window.relais.tasks())[0]);
        await told;
        return (await window.relais.tasks()).length;
      });
      assert.equal(left, 2);
      for (const other of others) await other.close();
      await until(() => front.streams() === 0, () => `${front.streams()} streams are left (${name})`);
    });
  });
}

async function until(holds, what) {
  const end = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > end) assert.fail(what());
    await pause(20); // tidy: bounded wait
  }
}
