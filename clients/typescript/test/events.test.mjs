// What happens to tasks, by each transport and through whatever lies between.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { nginx } from '../../../tests/peers/fronts.mjs';
import { Refused, Relais, Unreachable } from '@relais/client';
import { all, gate, proxy, relais, surroundings, worker } from './support.mjs';

// Node has had none before 22; this one is that of everybody.
globalThis.WebSocket ??= WebSocket;
const TRANSPORTS = ['websocket', 'sse', 'long-poll', 'poll'];
let server;
before(async () => { server = await relais({ config: '[queue."*"]' }); });
after(() => server.stop());

// Polls need not wait for the time at which the server is asked again; each transport can do with that.
const hasty = async (url, init) => {
  const answer = await fetch(url, init);
  const headers = new Headers(answer.headers);
  headers.delete('retry-after');
  if (init?.headers?.['if-none-match']) headers.set('retry-after', '0.02');
  return new Response(answer.body, { status: answer.status, headers });
};
const client = (more = {}) => new Relais({ url: server.base, surroundings, fetch: hasty, ...more });

// The log itself.
async function log(task) {
  const answer = await fetch(`${server.base}/v1/tasks/${task.id}/events`, { headers: { accept: 'application/json' } });
  return (await answer.json()).events;
}

// A task that is over, with a few events.
async function over(queue) {
  const task = await client().submit({ queue, input: 1 });
  const hands = worker(server.base, queue);
  const lease = await hands.lease();
  await hands.report(lease, { percent: 50, message: 'à moitié' });
  await hands.succeed(lease, { done: true });
  return task;
}

for (const transport of TRANSPORTS) {
  test(`a log is told while it is written: ${transport}`, async () => {
    const used = [];
    const one = client({ transports: [transport], onTransport: (name) => used.push(name) });
    const task = await one.submit({ queue: transport, input: 1 });
    const hands = worker(server.base, transport);
    const told = [];
    for await (const event of task.events()) {
      told.push(event);
      if (event.type === 'accepted') hands.current = await hands.lease();
      if (event.type === 'started') await hands.report(hands.current, { percent: 50, message: 'half' });
      if (event.type === 'progressed') await hands.succeed(hands.current, 'done');
    }
    assert.deepEqual(told, await log(task));
    assert.deepEqual(told.map(({ type }) => type), ['accepted', 'started', 'progressed', 'succeeded']);
    assert.equal(used[0], transport);
    assert.deepEqual(await all(task.events({ after: 2 })), told.slice(2), 'from the middle');
    assert.deepEqual(await all(task.events({ after: 4 })), [], 'from the end');
    assert.deepEqual(await all(task.progress()), [{ percent: 50, message: 'half' }]);
  });

  test(`a log is told whole and once though its connection breaks after any byte: ${transport}`, async () => {
    const task = await over(`${transport}-cut`);
    const whole = await log(task);
    for (let after = 0; ; after += transport === 'sse' ? 5 : 7) {
      const cutting = await proxy(server.base, { plan: (number) => (number === 0 ? { after, how: 'close' } : undefined) });
      const cut = client({ url: cutting.base, transports: [transport] }).task(task.id, task.ticket);
      assert.deepEqual(await all(cut.events()), whole, `after ${after} bytes`);
      cutting.stop();
      if (cutting.broken() === 0) break;
    }
  });

  test(`ten tasks are followed at once, and one that joins later misses nothing: ${transport}`, async () => {
    const queue = `${transport}-many`;
    const one = client({ transports: [transport] });
    const tasks = await Promise.all(Array.from({ length: 10 }, (_, input) => one.submit({ queue, input })));
    const late = tasks.pop();
    const accepted = tasks.map(() => gate());
    const following = tasks.map(async (task, number) => {
      const told = [];
      for await (const event of task.events()) {
        told.push(event);
        accepted[number].done();
      }
      return told;
    });
    await Promise.all(accepted.map(({ promise }) => promise));
    const joined = all(late.events());
    const hands = worker(server.base, queue);
    for (let number = 0; number < 10; number += 1) await hands.succeed(await hands.lease(), number);
    const told = await Promise.all([...following, joined]);
    assert.deepEqual(told, await Promise.all([...tasks, late].map(log)));
  });

  test(`a task that cannot be followed leaves the others alone: ${transport}`, async () => {
    const task = await over(`${transport}-others`);
    // A WebSocket says of a bad ticket only that it does not come in by it: then HTTP is asked.
    const one = client({ transports: transport === 'websocket' ? ['websocket', 'sse'] : [transport] });
    const bad = all(one.task(task.id, 'rt_nonsense').events());
    const gone = all(one.task('task_01jdk3v5x8e2rbk0t6q9z4m7ha').events());
    const good = all(one.task(task.id, task.ticket).events());
    const [told, ...refused] = await Promise.allSettled([good, gone, bad]);
    assert.deepEqual(told.value, await log(task));
    assert.deepEqual(refused.map(({ reason }) => [reason instanceof Refused, reason.problem.code]),
      [[true, 'task-not-found'], [true, 'unauthorized']]);
  });
}

test('nine tasks are followed by one stream', async () => {
  let [open, most] = [0, 0];
  const counting = async (url, init) => {
    const isStream = init.headers.accept === 'text/event-stream';
    if (isStream) {
      open += 1;
      most = Math.max(most, open);
      init.signal.addEventListener('abort', () => { open -= 1; });
    }
    return hasty(url, init);
  };
  const one = client({ fetch: counting, transports: ['sse'] });
  const tasks = await Promise.all(Array.from({ length: 9 }, (_, input) => one.submit({ queue: 'one-stream', input })));
  const logs = tasks.map((task) => all(task.events()));
  const hands = worker(server.base, 'one-stream');
  for (const _ of tasks) await hands.succeed(await hands.lease(), 1);
  assert.deepEqual(await Promise.all(logs), await Promise.all(tasks.map(log)));
  assert.equal(most, 1);
});

test('a stream over several tasks begins now, and is resumed from there though nothing was told by it', async () => {
  const between = await proxy(server.base);
  const asked = [];
  const noting = (url, init) => {
    if (init.headers.accept === 'text/event-stream') asked.push(new URL(url).searchParams.get('after'));
    return hasty(url, init);
  };
  const one = client({ url: between.base, fetch: noting, transports: ['sse'] });
  const tasks = [await one.submit({ queue: 'now', input: 1 }), await one.submit({ queue: 'now', input: 2 })];
  const followed = tasks.map((task) => task.events());
  // What was before is read from each log, once the stream stands.
  const first = await Promise.all(followed.map((events) => events.next()));
  assert.deepEqual(first.map(({ value }) => value.type), ['accepted', 'accepted']);
  between.cutAll();
  while (asked.length < 2) await new Promise((done) => setImmediate(done));
  const hands = worker(server.base, 'now');
  for (const _ of tasks) await hands.succeed(await hands.lease(), 1);
  const rest = await Promise.all(followed.map(all));
  assert.deepEqual(rest.map((events) => events.map(({ type }) => type)), [['started', 'succeeded'], ['started', 'succeeded']]);
  assert.match(asked.join(), /^now,\d+/);
  between.stop();
});

const cuts = (text, cut) => /^HTTP\/1.1 101|text\/event-stream/.test(text) && cut(12);
for (const [name, breaking] of [['collects', { plan: () => ({ hold: true }) }], ['breaks', { seen: cuts }]]) {
  test(`behind a proxy that ${name} streams and WebSockets it goes on by long-poll within 5 s, and nobody sees an error`, async () => {
    const between = await proxy(server.base, breaking);
    const used = [];
    const one = client({ url: between.base, onTransport: (transport) => used.push([transport, performance.now()]) });
    const task = await one.submit({ queue: name, input: 1 });
    const events = task.events();
    const began = performance.now();
    assert.equal((await events.next()).value.type, 'accepted');
    assert.ok(performance.now() - began < 5_000);
    assert.equal(used.at(-1)[0], 'long-poll');
    const hands = worker(server.base, name);
    await hands.succeed(await hands.lease(), 1);
    assert.deepEqual((await all(events)).map(({ type }) => type), ['started', 'succeeded']);
    between.stop();
  });
}

test('what a proxy answers instead of a stream makes it go on by other ways', async () => {
  const page = () => new Response('<!doctype html><title>hotel</title>', { headers: { 'content-type': 'text/html' } });
  const asked = [];
  const portal = (url, init) => {
    asked.push(init.headers.accept);
    return init.headers.accept === 'text/event-stream' ? Promise.resolve(page()) : fetch(url, init);
  };
  const task = await over('portal');
  const one = client({ fetch: portal, transports: ['sse', 'long-poll'] }).task(task.id, task.ticket);
  assert.deepEqual(await all(one.events()), await log(task));
  assert.equal(asked.filter((accept) => accept === 'text/event-stream').length, 1);
});

test('where nothing is held back it is polled', async () => {
  const used = [];
  const task = await client().submit({ queue: 'not-held', input: 1 });
  const eager = (url, init) => fetch(url, { ...init, headers: { ...init.headers, prefer: 'wait=0' } });
  const one = client({ fetch: eager, transports: ['long-poll', 'poll'], onTransport: (name) => used.push(name) });
  const events = one.task(task.id, task.ticket).events();
  await events.next();
  const rest = all(events);
  while (used.at(-1) !== 'poll') await new Promise((done) => setImmediate(done));
  const hands = worker(server.base, 'not-held');
  await hands.succeed(await hands.lease(), 1);
  assert.deepEqual((await rest).map(({ type }) => type), ['started', 'succeeded']);
});

test('events go on after a restart of the server', async () => {
  const task = await client().submit({ queue: 'restarts', input: 1 });
  const events = task.events();
  await events.next();
  await server.restart();
  const hands = worker(server.base, 'restarts');
  await hands.succeed(await hands.lease(), 1);
  assert.deepEqual((await all(events)).map(({ type }) => type), ['started', 'succeeded']);
});

test('a switch of transport in the middle tells the log, each event once', async () => {
  const task = await client().submit({ queue: 'switches', input: 1 });
  const hands = worker(server.base, 'switches');
  const lease = await hands.lease();
  const told = [];
  let after = 0;
  for (const transport of [...TRANSPORTS, 'sse']) {
    await hands.report(lease, { message: transport });
    for await (const event of client({ transports: [transport] }).task(task.id, task.ticket).events({ after })) {
      told.push(event);
      after = event.seq;
      if (event.data?.message === transport) break;
    }
  }
  await hands.succeed(lease, 1);
  told.push(...await all(client().task(task.id, task.ticket).events({ after })));
  assert.deepEqual(told, await log(task));
});

test('a WebSocket whose other end is gone without a word is found out, and the log goes on', async (context) => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const between = await proxy(server.base);
  const one = client({ url: between.base, transports: ['websocket'] });
  const task = await one.submit({ queue: 'half-open', input: 1 });
  const events = task.events();
  await events.next();
  between.freeze();
  const rest = all(events);
  const hands = worker(server.base, 'half-open');
  await hands.succeed(await hands.lease(), 1);
  // A ping that nothing answers.
  context.mock.timers.tick(20_000);
  context.mock.timers.tick(20_000);
  assert.deepEqual((await rest).map(({ type }) => type), ['started', 'succeeded']);
  between.stop();
});

test('a ticket that expires while its task is followed ends that, and nothing else', async (context) => {
  // Where there are keys nobody may follow without one, or a ticket.
  process.env.EVENTS_KEY = 'rk_0123456789012345678901';
  const keyed = await relais({ config: `[queue."*"]
[[key]]
name = "shop"
secret_env = "EVENTS_KEY"
tenant = "default"
scopes = ["submit", "read"]` });
  context.after(keyed.stop);
  const shop = new Relais({ url: keyed.base, apiKey: process.env.EVENTS_KEY, surroundings });
  for (const transport of TRANSPORTS) {
    // A WebSocket says of a bad ticket only that it does not come in by it: then HTTP is asked.
    const transports = transport === 'websocket' ? ['websocket', 'sse'] : [transport];
    const page = new Relais({ url: keyed.base, surroundings, fetch: hasty, transports });
    const [short, long] = [await shop.submit({ queue: 'q', input: 1 }), await shop.submit({ queue: 'q', input: 2 })];
    const minted = await fetch(`${keyed.base}/v1/tasks/${short.id}/tickets`, {
      method: 'POST', body: JSON.stringify({ expires_in: '1s' }),
      headers: { 'content-type': 'application/json', authorization: `Bearer ${short.ticket}` },
    });
    const { ticket } = await minted.json();
    const rest = all(page.task(long.id, long.ticket).events());
    await assert.rejects(all(page.task(short.id, ticket).events()), ({ problem }) => problem?.code === 'ticket-expired', transport);
    await long.cancel();
    await short.cancel();
    assert.deepEqual((await rest).map(({ type }) => type), ['accepted', 'canceled'], transport);
    // By another ticket it goes on.
    assert.equal((await all(page.task(short.id, short.ticket).events())).length, 2, transport);
  }
});

test('behind nginx as Debian has it events come, though it passes no WebSocket', async () => {
  const between = await nginx({ to: server.base });
  const used = [];
  const one = client({ url: between.base, onTransport: (name) => used.push(name) });
  const task = await over('nginx');
  assert.deepEqual(await all(one.task(task.id, task.ticket).events()), await log(task));
  assert.deepEqual(used, ['websocket', 'sse']);
  between.stop();
});

test('a busy server is left alone for as long as it asks', async () => {
  const task = await over('busy');
  const times = [];
  const busy = (url, init) => {
    times.push(performance.now());
    if (times.length > 1) return fetch(url, init);
    return Promise.resolve(new Response('retry: 700\nevent: relais.busy\ndata: {}\n\n', { headers: { 'content-type': 'text/event-stream' } }));
  };
  assert.deepEqual(await all(client({ fetch: busy, transports: ['sse'] }).task(task.id, task.ticket).events()), await log(task));
  assert.ok(times[1] - times[0] >= 690, `${times[1] - times[0]} ms`);
});

test('followers of a server that is nowhere are told so after their patience', async () => {
  const gone = await proxy(server.base);
  gone.stop();
  const one = client({ url: gone.base, patience: -1 });
  await assert.rejects(all(one.task('task_01jdk3v5x8e2rbk0t6q9z4m7ha').events()), Unreachable);
});
