// Answers that are read through whatever happens on the way.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { AnswerReplaced, Refused, Relais, TaskFailed, Unreachable } from '@relais/client';
import { all, bytes, gate, proxy, relais, surroundings, upstream, worker } from './support.mjs';

const WHOLE = 'data: one\n\ndata: deux, é\n\n:relais of its own\n\ndata: three\n\n';
let server, service, front;
// What a call of the service does.
const acts = new Map();

before(async () => {
  service = await upstream((request, body, response) => acts.get(request.url.split('?')[0])(response, request));
  server = await relais({ config: `[queue."*"]
[queue."*".retry]
initial = "1ms"
[[route]]
path = "/kept/{*rest}"
upstream = "${service.url}"
keepalive = "1s"
[[route]]
path = "/{*rest}"
upstream = "${service.url}"
idempotent = true
` });
  front = await proxy(server.base);
});
after(async () => {
  await server.stop();
  service.stop();
  front.stop();
});

const client = (more = {}) => new Relais({ url: front.base, surroundings, ...more });
const asynchronous = { method: 'POST', headers: { prefer: 'respond-async' }, body: 'x' };

// Hands a request in, and is there once its task is known.
async function handIn(path, act) {
  acts.set(path, act);
  const accepted = await fetch(front.base + path, asynchronous);
  return client().task(accepted.headers.get('operation-location'));
}

const told = (type, text) => (response) => {
  response.writeHead(200, { 'content-type': type }).end(text);
};

for (const how of ['reset', 'close']) {
  for (const wish of ['live', 'result']) {
    test(`an answer comes whole though its connection breaks after any byte (${wish}, ${how})`, async () => {
      const task = await handIn('/whole', told('text/event-stream', WHOLE));
      await (await task.result()).text();
      for (let after = 0; ; after += 1) {
        const cutting = await proxy(server.base, { plan: (number) => (number === 0 ? { after, how } : undefined) });
        const cut = client({ url: cutting.base }).task(task.id, task.ticket);
        const got = wish === 'live' ? await bytes(cut.live()) : Buffer.from(await (await cut.result()).arrayBuffer());
        assert.equal(String(got), WHOLE, `after ${after} bytes`);
        // It was never cut.
        cutting.stop();
        if (cutting.broken() === 0) break;
      }
    });
  }
}

test('an answer that grows is read on where it was cut, again and again', async () => {
  const pieces = Array.from({ length: 20 }, (_, number) => `piece ${number}, `);
  const gates = pieces.map(gate);
  const task = await handIn('/grows', async (response) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    for (const [number, piece] of pieces.entries()) {
      await gates[number].promise;
      response.write(piece);
    }
    response.end();
  });
  gates[0].done();
  let got = '';
  let next = 1;
  for await (const piece of task.live()) {
    got += Buffer.from(piece);
    // Each time that a piece has come whole the connection breaks, and the next one is written.
    while (got.length >= pieces.slice(0, next).join('').length && next < pieces.length) {
      front.cutAll();
      gates[next].done();
      next += 1;
    }
  }
  assert.equal(got, pieces.join(''));
});

test('a coded answer is read again from its start, and what was given is dropped', async () => {
  const text = Array.from({ length: 5_000 }, (_, number) => `${number * 7919} `).join('');
  const coded = gzipSync(text);
  const held = gate();
  const task = await handIn('/coded', async (response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip' });
    response.write(coded.subarray(0, coded.length / 2));
    await held.promise;
    response.end(coded.subarray(coded.length / 2));
  });
  let got = '';
  for await (const piece of task.live()) {
    got += Buffer.from(piece);
    front.cutAll();
    held.done();
  }
  assert.equal(got, text);
});

for (const shown of [4, 9]) {
  test(`signs of life of a streamed-through answer are neither shown nor counted (cut behind ${shown} bytes of one)`, async () => {
    const held = gate();
    acts.set('/kept/chat', async (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: one\n\n');
      await held.promise;
      response.end('data: two\n\n');
    });
    const cutting = await proxy(server.base, {
      seen: (text, cut) => {
        const at = text.indexOf(':relais\n\n');
        if (at < 0) return;
        cut(at + shown);
        held.done();
      },
    });
    const answer = await client().fetch(`${cutting.base}/kept/chat`, { method: 'POST', body: String(shown) });
    assert.equal(await answer.text(), 'data: one\n\ndata: two\n\n');
    assert.equal(cutting.connections(), 2);
    cutting.stop();
  });
}

// Breaks off its first answer behind `begun`, once `broken` is done, and gives `second` then.
function breaksOff(begun, second) {
  let calls = 0;
  const [broken, again] = [gate(), gate()];
  const act = async (response) => {
    calls += 1;
    if (calls === 1) {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.flushHeaders();
      if (begun) response.write(begun);
      await broken.promise;
      response.destroy();
    } else {
      await again.promise;
      response.writeHead(200, { 'content-type': 'text/plain' }).end(second);
    }
  };
  return { act, broken, again };
}

test('an answer of which something was given and that is replaced says so, and is restarted by hand', async () => {
  const { act, broken, again } = breaksOff('first', 'the second');
  const task = await handIn('/replaced', act);
  const reading = task.live();
  assert.equal(String(Buffer.from((await reading.next()).value)), 'first');
  broken.done();
  again.done();
  const error = await reading.next().then(() => assert.fail('it goes on'), (thrown) => thrown);
  assert.ok(error instanceof AnswerReplaced, String(error));
  assert.equal(error.task, task.id);
  assert.equal(String(await bytes(error.restart())), 'the second');
});

test('an answer of which nothing was given yet begins anew by itself when it is replaced', async () => {
  const { act, broken, again } = breaksOff('', 'the second');
  const task = await handIn('/begins', act);
  const whole = bytes(task.live());
  broken.done();
  again.done();
  assert.equal(String(await whole), 'the second');
});

test('a fetch whose answer is replaced says so, and its restart is an answer', async () => {
  const { act, broken, again } = breaksOff('first', 'the second');
  acts.set('/fetched', act);
  const answer = await client().fetch(`${front.base}/fetched`, { method: 'POST' });
  const reader = answer.body.getReader();
  assert.equal(String(Buffer.from((await reader.read()).value)), 'first');
  broken.done();
  again.done();
  const error = await reader.read().then(() => assert.fail('it goes on'), (thrown) => thrown);
  assert.ok(error instanceof AnswerReplaced, String(error));
  const second = await error.restart();
  assert.equal(await second.text(), 'the second');
});

test('an answer of which only what still comes is wanted has nothing once it is committed', async () => {
  const task = await handIn('/only', told('text/plain', 'over'));
  await task.result();
  assert.deepEqual(await all(task.live({ only: true })), []);
});

test('a result is waited for through a restart of the server', async () => {
  const relaisClient = client();
  const task = await relaisClient.submit({ queue: 'restart', input: 1 });
  const result = task.result();
  await server.restart();
  const hands = worker(server.base, 'restart');
  await hands.succeed(await hands.lease(), { said: 'after the restart' });
  assert.deepEqual(await (await result).json(), { said: 'after the restart' });
});

test('a task that ends without a good answer is told as fetch tells it, and thrown where bytes were wanted', async () => {
  const task = await client().submit({ queue: 'fails', input: 1 });
  const hands = worker(server.base, 'fails');
  const problem = { type: 'about:blank', title: 'no stock', status: 409, code: 'no-stock', detail: 'nothing left', retryable: false };
  await hands.fail(await hands.lease(), problem);
  const answer = await task.result();
  assert.equal(answer.ok, false);
  assert.equal((await answer.json()).code, 'no-stock');
  const error = await bytes(task.live()).catch((thrown) => thrown);
  assert.ok(error instanceof TaskFailed);
  assert.equal(error.problem.code, 'no-stock');
  assert.equal((await error.response.json()).code, 'no-stock');
});

test('what Relais refuses is thrown with its problem', async () => {
  const nowhere = client().task('task_01jdk3v5x8e2rbk0t6q9z4m7ha');
  for (const call of [() => nowhere.result(), () => nowhere.read(), () => bytes(nowhere.live()), () => all(nowhere.events())]) {
    const error = await call().then(() => assert.fail('it is there'), (thrown) => thrown);
    assert.ok(error instanceof Refused, String(error));
    assert.equal(error.problem.code, 'task-not-found');
  }
  await assert.rejects(client().submit({ queue: '!' }), (error) => error instanceof Refused && error.problem.status >= 400);
});

test('a wait ends with the signal that it was given, by its reason', async () => {
  const task = await client().submit({ queue: 'aborted', input: 1 });
  const waits = [(signal) => task.result({ signal }), (signal) => bytes(task.live({ signal })), (signal) => all(task.events({ signal }))];
  for (const wait of waits) {
    const controller = new AbortController();
    const waiting = wait(controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
  }
});

test('a server that is nowhere is given up after the patience that was asked for', async () => {
  const gone = await proxy(server.base);
  gone.stop();
  const impatient = new Relais({ url: gone.base, patience: -1, surroundings });
  await assert.rejects(impatient.submit({ queue: 'q' }), (error) => error instanceof Unreachable && error.cause !== undefined);
});
