// `relaisFetch`: old code with one word changed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Relais, relaisFetch } from '@relais/client';
import { gate, proxy, relais, surroundings, upstream } from './support.mjs';

const SECRET = 'rk_0123456789012345678901';
let server, service, front, fetched;
let slow = gate();
let authorized;

// A service that answers by its path.
async function answer(request, body, response) {
  const { pathname } = new URL(request.url, 'http://service');
  if (pathname.startsWith('/slow')) await slow.promise;
  if (pathname.endsWith('/led')) return { status: 303, fields: { location: '/plain/created' } };
  if (pathname.endsWith('/created')) authorized = request.headers.authorization;
  if (pathname.endsWith('/created')) return { status: 201, fields: { 'content-type': 'text/plain', 'x-shop': 'one' }, body: `made of ${body}` };
  if (pathname.endsWith('/refused')) return { status: 422, fields: { 'content-type': 'application/json' }, body: '{"error":"no"}' };
  if (pathname.endsWith('/accepted')) return { status: 202, body: 'later, says the service' };
  if (pathname.endsWith('/nothing')) return { status: 204 };
  if (pathname.endsWith('/linked')) {
    return { fields: { link: '<https://elsewhere.example/v1/tasks/task_0>; rel="monitor"', 'operation-location': '/own' }, body: 'linked' };
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const word of ['one', 'two', 'three']) {
    response.write(`data: ${word}\n\n`);
    await new Promise((done) => setImmediate(done));
  }
  response.end();
  return undefined;
}
const STREAM = 'data: one\n\ndata: two\n\ndata: three\n\n';

before(async () => {
  process.env.FETCH_KEY = SECRET;
  service = await upstream(answer);
  server = await relais({ config: `[queue."*"]
[[key]]
name = "shop"
secret_env = "FETCH_KEY"
tenant = "default"
scopes = ["submit", "read"]
[[route]]
path = "/slow/bound/{*rest}"
upstream = "${service.url}"
mode = "async"
access = "caller:header:authorization"
[[route]]
path = "/slow/{*rest}"
upstream = "${service.url}"
mode = "async"
[[route]]
path = "/plain/{*rest}"
upstream = "${service.url}"
mode = "sync"
[[route]]
path = "/{*rest}"
upstream = "${service.url}"
` });
  front = await proxy(server.base);
  fetched = new Relais({ url: front.base, surroundings }).fetch;
});
after(async () => {
  await server.stop();
  service.stop();
  front.stop();
});

const post = (path, init = {}) => fetched(front.base + path, { method: 'POST', body: 'x', ...init });

test('what becomes a task is followed to its answer, which is told as the service gave it', async () => {
  const waiting = post('/slow/created');
  slow.done();
  const made = await waiting;
  assert.equal(made.status, 201);
  assert.equal(made.headers.get('x-shop'), 'one');
  assert.equal(made.url, `${front.base}/slow/created`);
  assert.equal(await made.text(), 'made of x');
  const refused = await post('/slow/refused');
  assert.deepEqual([refused.status, refused.ok, await refused.json()], [422, false, { error: 'no' }]);
  assert.equal((await post('/slow/nothing')).status, 204);
});

test('what becomes a task and is answered with a redirect is followed to where that leads, without its ticket', async () => {
  slow.done();
  const led = await post('/slow/led');
  assert.deepEqual([led.status, led.url, await led.text()], [201, `${front.base}/plain/created`, 'made of ']);
  assert.equal(authorized, undefined);
});

test('a 202 of the service itself stays one, whether it was waited for or not', async () => {
  for (const path of ['/accepted', '/slow/accepted', '/plain/accepted']) {
    const said = await post(path);
    assert.deepEqual([said.status, await said.text()], [202, 'later, says the service'], path);
  }
});

test('what is no task is as fetch has it', async () => {
  const plain = await post('/plain/created');
  assert.deepEqual([plain.status, await plain.text()], [201, 'made of x']);
  const head = await fetched(`${front.base}/plain/created`, { method: 'HEAD' });
  assert.equal(head.status, 201);
  await assert.rejects(fetched('http://127.0.0.1:1/'), TypeError);
});

test('the link of the task is told from those of the service', async () => {
  const cutting = await proxy(server.base, {
    seen: (text, cut) => text.includes('\r\nlinked') && cut(text.indexOf('\r\nlinked') + 4),
  });
  const said = await fetched(`${cutting.base}/linked`, { method: 'POST', body: 'x' });
  assert.equal(said.headers.get('operation-location'), '/own');
  assert.equal(await said.text(), 'linked');
  assert.equal(cutting.connections(), 2);
  cutting.stop();
});

for (const [path, step] of [['/chat', 1], ['/slow/chat', 7]]) {
  test(`an answer comes whole though its connection breaks after any byte (${path})`, async () => {
    slow.done();
    let first = 0;
    for (let after = 300; ; after += step) {
      const cutting = await proxy(server.base, { plan: (number) => (number === 0 ? { after, how: 'close' } : undefined) });
      const said = await fetched(cutting.base + path, { method: 'POST', body: 'x' }).catch((error) => error);
      // Nothing is known yet of what was asked: only its maker knows whether it may be asked again.
      if (said instanceof Error) {
        assert.equal(first, 0, `${said} after ${after} bytes`);
        cutting.stop();
        continue;
      }
      first ||= after;
      assert.equal(await said.text(), STREAM, `after ${after} bytes`);
      cutting.stop();
      if (cutting.broken() === 0) break;
    }
    assert.ok(first > 300);
  });
}

test('a task that is bound to its caller is followed by the same field, and by nobody else', async () => {
  const mine = await post('/slow/bound/created', { headers: { authorization: 'Bearer of-the-shop' } });
  assert.deepEqual([mine.status, await mine.text()], [201, 'made of x']);
});

test('a task is followed by a key', async () => {
  const mine = await post('/slow/created', { headers: { 'relais-api-key': SECRET } });
  assert.deepEqual([mine.status, await mine.text()], [201, 'made of x']);
});

test('a 202 that gives no right to its answer is handed on as it came', async () => {
  const said = async () => post('/slow/created', { headers: { 'idempotency-key': '"short"' } });
  assert.equal((await said()).status, 201);
  const strangers = await said();
  assert.equal(strangers.status, 202);
  assert.ok((await strangers.json()).no_ticket);
});

test('a request whose answer is not wanted any more ends at once', async () => {
  slow = gate();
  const controller = new AbortController();
  const waiting = fetched(new Request(`${front.base}/slow/created`, { method: 'POST', body: 'x', signal: controller.signal }));
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  slow.done();
});

test('a body that is not wanted any more is let go of', async () => {
  const said = await post('/chat');
  await said.body.cancel();
  assert.equal(said.body.locked, false);
});

test('relaisFetch needs no client', async () => {
  const said = await relaisFetch(`${front.base}/slow/created`, { method: 'POST', body: 'y' });
  assert.equal(await said.text(), 'made of y');
});
