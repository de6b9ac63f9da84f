// The transport of the guide for chats of the AI SDK, in Node: `useChat({ resume: true })` with Relais and nothing else. In browsers it
// is tried by chat.test.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { useChat } from '@ai-sdk/react';
import { createElement } from 'react';
import { create } from 'react-test-renderer';
import { files } from './guide.mjs';
import { gate, proxy, relais, upstream } from './support.mjs';

const WORDS = ['Un ', 'point ', 'relais ', 'garde ', 'le ', 'colis.'];
let server, service, front, chatTransport;
let calls = 0;
let gates;

before(async () => {
  // What a browser keeps when a page is left.
  const kept = new Map();
  globalThis.localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  service = await upstream(async (request, body, response) => {
    calls += 1;
    const mine = gates;
    await mine.head.promise;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-vercel-ai-ui-message-stream': 'v1' });
    const say = (chunk) => response.write(`data: ${typeof chunk === 'string' ? chunk : JSON.stringify(chunk)}\n\n`);
    say({ type: 'start', messageId: 'answer' });
    say({ type: 'text-start', id: 'text' });
    for (const [number, delta] of WORDS.entries()) {
      if (number === 2) await mine.half.promise;
      say({ type: 'text-delta', id: 'text', delta });
    }
    say({ type: 'text-end', id: 'text' });
    say({ type: 'finish' });
    say('[DONE]');
    response.end();
  });
  server = await relais({ config: `[queue."*"]
[[route]]
path = "/slow/chat"
upstream = "${service.url}"
mode = "async"
[[route]]
path = "/chat"
upstream = "${service.url}"
` });
  front = await proxy(server.base);
  // Beside the tests, so that its packages are found.
  const file = new URL(`recipe-${process.pid}.mjs`, import.meta.url);
  fs.writeFileSync(file, files['chat-transport.js']);
  ({ chatTransport } = await import(file).finally(() => fs.unlinkSync(file)));
});
after(async () => {
  await server.stop();
  service.stop();
  front.stop();
});

// A page with a chat, which is shown by React.
function page(path, options) {
  const shown = {};
  let wake = () => {};
  const transport = chatTransport(front.base + path, () => {});
  const Chat = () => {
    Object.assign(shown, useChat({ transport, ...options }));
    queueMicrotask(() => wake());
    return null;
  };
  const root = create(createElement(Chat));
  const text = () => shown.messages.filter(({ role }) => role === 'assistant').flatMap(({ parts }) => parts.map((part) => part.text)).join('');
  const until = async (holds) => {
    while (!shown.messages || !holds(shown)) await new Promise((done) => { wake = done; });
  };
  return { shown, text, until, leave: () => root.unmount() };
}

const asked = [{ id: 'question', role: 'user', parts: [{ type: 'text', text: 'What is a point relais?' }] }];

const comes = 'while the answer comes';
for (const [path, moment] of [['/chat', comes], ['/slow/chat', comes], ['/slow/chat', 'before it has begun']]) {
  test(`a chat whose page is loaded again ${moment} goes on, and the service is called once (${path})`, async () => {
    calls = 0;
    gates = { head: gate(), half: gate() };
    const id = `chat ${path} ${moment}`;
    if (moment === comes) gates.head.done();
    const first = page(path, { id });
    await first.until(() => true);
    void first.shown.sendMessage({ text: 'What is a point relais?' });
    if (moment === comes) await first.until(() => first.text() === 'Un point ');
    else while (!localStorage.getItem(`relais.chat.${id}`)) await new Promise((done) => setImmediate(done));
    first.leave();

    const second = page(path, { id, messages: asked, resume: true });
    gates.head.done();
    await second.until(() => second.text() === 'Un point ');
    // Its connection breaks, and useChat does not notice.
    front.cutAll();
    gates.half.done();
    await second.until(({ status }) => status === 'ready' && second.text() === WORDS.join(''));
    assert.equal(second.shown.error, undefined);
    assert.equal(second.shown.messages.length, 2);
    second.leave();

    // It is committed: there is nothing to go on with.
    const third = page(path, { id, messages: second.shown.messages, resume: true });
    await third.until(({ status }) => status === 'ready');
    assert.equal(third.text(), WORDS.join(''));
    assert.equal(third.shown.error, undefined);
    third.leave();
    assert.equal(calls, 1);
  });
}

test('a chat that was never begun here has nothing to go on with', async () => {
  const chat = page('/chat', { id: 'new', resume: true });
  await chat.until(({ status }) => status === 'ready');
  assert.deepEqual(chat.shown.messages, []);
  assert.equal(chat.shown.error, undefined);
  chat.leave();
});
