// The options for TanStack Query, with the real library.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MutationObserver, QueryClient, QueryObserver } from '@tanstack/query-core';
import { Relais, TaskFailed } from '@relais/client';
import { resultQuery, submitMutation, taskQuery } from '@relais/client/tanstack-query';
import { relais, surroundings, worker } from './support.mjs';

let server;
before(async () => { server = await relais({ config: '[queue."*"]' }); });
after(() => server.stop());

// A page: what it shows of a query; `until(holds)` resolves with what it shows once that holds.
function page(relaisClient) {
  const client = new QueryClient();
  const stops = [];
  const shows = (options) => {
    const observer = new QueryObserver(client, options);
    const waiting = new Set();
    const look = (shown) => waiting.forEach((wait) => wait(shown));
    stops.push(observer.subscribe(look));
    const until = (holds) => new Promise((done) => {
      const wait = (shown) => {
        if (!holds(shown)) return;
        waiting.delete(wait);
        done(shown);
      };
      waiting.add(wait);
      wait(observer.getCurrentResult());
    });
    return { until };
  };
  const submit = (name) => new MutationObserver(client, submitMutation(relaisClient, name));
  const close = () => {
    stops.forEach((stop) => stop());
    client.clear();
  };
  return { shows, submit, close };
}

test('a query follows the task that a mutation handed in, and goes on after a reload', async () => {
  // What a browser keeps outlives its pages; in Node it lasts as long as the client.
  const browser = new Relais({ url: server.base, surroundings });
  const hands = worker(server.base, 'imports');
  const first = page(browser);
  const task = first.shows(taskQuery(browser, 'june'));
  assert.equal((await task.until(({ isSuccess }) => isSuccess)).data, null, 'there is none yet');
  const id = await first.submit('june').mutate({ queue: 'imports', input: 'orders' });
  const queued = await task.until(({ data }) => data?.id === id);
  assert.equal(queued.data.terminal, false);
  const lease = await hands.lease();
  await hands.report(lease, { percent: 40 });
  assert.equal((await task.until(({ data }) => data?.progress)).data.progress.percent, 40);
  first.close();

  const second = page(browser);
  const result = second.shows(resultQuery(browser, 'june'));
  const resumed = second.shows(taskQuery(browser, 'june'));
  assert.equal((await resumed.until(({ data }) => data?.progress)).data.progress.percent, 40);
  const both = Promise.all([result.until(({ data }) => data), resumed.until(({ data, isFetching }) => data?.terminal && !isFetching)]);
  await hands.succeed(lease, { imported: 3 });
  const [answer, ended] = await both;
  assert.deepEqual(answer.data, { imported: 3 });
  assert.equal(ended.data.id, id);
  second.close();
});

test('a task without a good answer is the error of its query', async () => {
  const browser = new Relais({ url: server.base, surroundings });
  const shop = page(browser);
  await shop.submit('july').mutate({ queue: 'july', input: 1 });
  const hands = worker(server.base, 'july');
  await hands.fail(await hands.lease(), { type: 'about:blank', title: 'no stock', status: 409, code: 'no-stock', retryable: false });
  const { error } = await shop.shows(resultQuery(browser, 'july')).until(({ isError }) => isError);
  assert.ok(error instanceof TaskFailed);
  assert.equal(error.problem.code, 'no-stock');
  shop.close();
});
