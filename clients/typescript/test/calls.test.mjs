// Calls against a server that is made up: where they go, by what right, and how often something is done.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import http from 'node:http';
import { after, test } from 'node:test';
import { Refused, Relais } from '@relais/client';
import { all, surroundings } from './support.mjs';

const ID = 'task_01jdk3v5x8e2rbk0t6q9z4m7ha';
const TICKET = 'rt_of_the_task';
const servers = [];
after(() => servers.forEach((server) => server.closeAllConnections() ?? server.close()));

// A server that answers by `act(request, response, body)`, and knows what it was asked for.
async function made(act) {
  const asked = [];
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    asked.push({ method: request.method, url: request.url, ...request.headers });
    await act(request, response, body);
  });
  servers.push(server);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { base: `http://127.0.0.1:${server.address().port}`, asked };
}

const path = ({ url }) => url.split('?')[0];
const client = (base, more = {}) => new Relais({ url: base, surroundings, ...more });
const accepted = (response, base, ticket = `?ticket=${TICKET}`) => response
  .writeHead(202, { 'content-type': 'application/json', 'relais-task': ID, location: `${base}/v1/tasks/${ID}${ticket}` })
  .end(JSON.stringify({ id: ID, ticket: TICKET }));
const json = (response, document, status = 200) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(document));

// A shop whose orders are tasks, and end with a redirect to `to()`.
const orders = (status, to) => async (request, response) => {
  if (request.method === 'POST') accepted(response, `http://${request.headers.host}`);
  else if (path(request).endsWith('/result')) {
    response.writeHead(status, { location: to(), 'relais-task': ID, 'relais-result-version': '1.1' }).end();
  } else response.end('order 7');
};

for (const status of [302, 303, 307]) {
  test(`a request whose answer leads elsewhere (${status}) is answered from there, which sees no ticket`, async () => {
    const shop = await made(orders(status, () => '/orders/7'));
    const answer = await client(shop.base).fetch(`${shop.base}/orders`, { method: 'POST', body: 'x', headers: { 'x-shop': 'one' } });
    assert.deepEqual([answer.status, answer.url, await answer.text()], [200, `${shop.base}/orders/7`, 'order 7']);
    const last = shop.asked.at(-1);
    assert.deepEqual([last.url, last.authorization], ['/orders/7', undefined]);
  });

  test(`an answer that leads to another origin (${status}) takes neither ticket nor key there`, async () => {
    const other = await made((request, response) => response.end('there'));
    const shop = await made(orders(status, () => `${other.base}/there`));
    const relais = client(shop.base, { apiKey: 'rk_secret' });
    const answer = await (await relais.submit({ queue: 'q' })).result();
    assert.deepEqual([answer.status, await answer.text()], [200, 'there']);
    assert.deepEqual([other.asked[0].authorization, other.asked[0]['relais-api-key']], [undefined, undefined]);
    // Who has but a key is told where it leads, and goes there by itself.
    const led = await relais.task(ID).result();
    assert.deepEqual([led.status, led.headers.get('location'), other.asked.length], [status, `${other.base}/there`, 1]);
  });
}

test('what an answer leads to is handed on as it is: a refusal, a 202, and what breaks off', async () => {
  for (const [status, length] of [[404, 4], [503, 4], [202, 4], [200, 9]]) {
    const shop = await made(async (request, response) => {
      if (path(request) !== '/there') return orders(303, () => '/there')(request, response);
      response.writeHead(status, { 'content-length': length }).write('told');
      if (length > 4) setTimeout(() => response.destroy(), 20);
    });
    const answer = await client(shop.base).fetch(`${shop.base}/orders`, { method: 'POST' });
    assert.equal(answer.status, status);
    if (length > 4) await assert.rejects(answer.text());
    else assert.equal(await answer.text(), 'told');
    assert.equal(shop.asked.filter(({ url }) => url === '/there').length, 1);
  }
});

test('where an answer leads to another task, that one is followed, too', async () => {
  const other = ID.replace('ha', 'hb');
  const shop = await made((request, response) => {
    if (request.method === 'POST' || path(request).includes(ID)) return orders(303, () => '/report')(request, response);
    const fields = { 'relais-task': other, location: `/v1/tasks/${other}?ticket=rt_other` };
    if (path(request) === '/report') return response.writeHead(202, fields).end();
    return response.writeHead(201, { ...fields, 'relais-result-version': '1.1', 'content-length': 6 }).end('report');
  });
  const answer = await client(shop.base).fetch(`${shop.base}/orders`, { method: 'POST' });
  assert.deepEqual([answer.status, await answer.text()], [201, 'report']);
});

test('an API key goes to the Relais that it is of, and to no host that a link names', async () => {
  const act = (request, response) => json(response, { id: ID, events: [], next: 0, terminal: true, version: 1 });
  const [own, other] = [await made(act), await made(act)];
  const relais = client(own.base, { apiKey: 'rk_secret', transports: ['poll'] });
  const foreign = relais.task(`${other.base}/v1/tasks/${ID}?ticket=${TICKET}`);
  await foreign.read();
  await all(foreign.events());
  assert.ok(other.asked.length >= 3);
  for (const call of other.asked) assert.equal(call['relais-api-key'], undefined, call.url);
  await relais.task(ID).read();
  assert.equal(own.asked[0]['relais-api-key'], 'rk_secret');
});

test('what was sent along to one origin is not sent along to another that it was led to', async () => {
  const other = await made((request, response) => {
    if (path(request).endsWith('/result')) return response.writeHead(200, { 'relais-task': ID, 'relais-result-version': '1.1' }).end('got');
    return accepted(response, other.base, '');
  });
  const shop = await made((request, response) => response.writeHead(307, { location: `${other.base}/orders` }).end());
  const headers = { authorization: 'Bearer of-the-shop', cookie: 'session=1', 'x-tenant': 'one' };
  await client(shop.base).fetch(`${shop.base}/orders`, { method: 'POST', headers });
  const { authorization, cookie, 'x-tenant': tenant } = other.asked.at(-1);
  assert.deepEqual([authorization, cookie, tenant], [undefined, undefined, undefined]);
});

// A task that has failed, and begins another run at each retry, whose answers are lost as `isLost` says.
async function failing(isLost) {
  let [run, retries] = [1, 0];
  const server = await made((request, response) => {
    if (request.method === 'GET') return json(response, { id: ID, run, terminal: true, version: 1 });
    retries += 1;
    if (isLost(retries) === 'before') return request.socket.destroy();
    run += 1;
    if (isLost(retries)) return request.socket.destroy();
    return json(response, { id: ID, run, ticket: 'rt_next', terminal: false, version: 1 }, 202);
  });
  return { server, run: () => run };
}

test('one retry begins one run, though its answer is lost and that run fails meanwhile', async () => {
  const { server, run } = await failing(() => 'behind');
  const task = await client(server.base).task(ID, TICKET).retry();
  assert.deepEqual([run(), task.run], [2, 2]);
});

test('a retry that never arrived is said again', async () => {
  const { server, run } = await failing((retry) => retry === 1 && 'before');
  const task = client(server.base).task(ID, TICKET);
  assert.equal((await task.retry()).run, 2);
  assert.deepEqual([run(), task.ticket], [2, 'rt_next']);
});

test('a task that was taken is one task, though the answer breaks off in its body', async () => {
  const keys = [];
  const server = await made((request, response) => {
    keys.push(request.headers['idempotency-key']);
    if (keys.length > 1) return accepted(response, server.base);
    response.writeHead(202, { 'relais-task': ID, location: `/v1/tasks/${ID}`, 'content-length': 99 }).write('{"id":');
    return setTimeout(() => response.destroy(), 20);
  });
  const task = await client(server.base).submit({ queue: 'q' });
  assert.deepEqual([task.id, task.ticket], [ID, TICKET]);
  assert.deepEqual([keys.length, keys[0]], [2, keys[1]]);
});

test('what can never be sent is an error at once', async () => {
  const relais = new Relais({ url: 'http://127.0.0.1:1', surroundings });
  await assert.rejects(relais.submit({ queue: 'q' }, { idempotencyKey: 'a€' }), TypeError);
  await assert.rejects(new Relais({ url: 'http://no host', surroundings }).submit({ queue: 'q' }), TypeError);
});

test('an answer that stops behind its head is let go of with its signal', { timeout: 5_000 }, async () => {
  const server = await made((request, response) => response.writeHead(200, { 'content-type': 'application/json' }).write('{'));
  const controller = new AbortController();
  const stopping = async (...call) => {
    const head = await fetch(...call);
    setTimeout(() => controller.abort(new Error('enough')), 20);
    return head;
  };
  const reading = client(server.base, { fetch: stopping }).task(ID).read({ signal: controller.signal });
  await assert.rejects(reading, /enough/);
});

test('a refusal leaves no connection behind, however often it is asked again', async () => {
  let open = 0;
  const server = await made((request, response) => {
    const isLast = server.asked.length > 12;
    if (isLast) return json(response, { id: ID, terminal: true });
    return response.writeHead(503, { 'content-type': 'text/html' }).end('x'.repeat(100_000));
  });
  servers.at(-1).on('connection', () => { open += 1; });
  await client(server.base).task(ID).read();
  assert.equal(open, 1);
});

test('a refused wait leaves nothing on the signal of its caller', async () => {
  const server = await made((request, response) => json(response, { title: 'none' }, 404));
  const { signal } = new AbortController();
  const task = client(server.base).task(ID);
  await assert.rejects(task.result({ signal }), Refused);
  await assert.rejects(task.live({ signal }).next(), Refused);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

for (const credentials of ['include', 'omit']) {
  test(`what follows a request sends cookies as it did (${credentials})`, async () => {
    const server = await made(orders(303, () => '/orders/7'));
    const told = [];
    const noting = (input, init) => {
      told.push(init?.credentials ?? input.credentials);
      return fetch(input, init);
    };
    const relais = client(server.base, { fetch: noting });
    await relais.fetch(`${server.base}/orders`, { method: 'POST', credentials });
    await relais.fetch(new Request(`${server.base}/orders`, { method: 'POST', credentials }));
    assert.deepEqual(told, Array(4).fill(credentials));
  });
}
