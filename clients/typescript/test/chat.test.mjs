// The recipe of the guide for chats of the AI SDK, in both browsers: `useChat({ resume: true })` as it is, behind Relais and
// nothing else. With SHOTS=docs/guide/img it takes the picture of the page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { bundle, routes, shot } from './guide.mjs';
import { gate } from './support.mjs';
import { site } from './site.mjs';

// A page with the chat of the guide, for the messages that the application has stored.
const MAIN = `import { createRoot } from 'react-dom/client';
import { Chat } from './chat.jsx';
const id = location.pathname.slice(1);
const load = async () => (await fetch('/api/messages/' + id)).json();
const stored = await load();
// A test may have something happen between.
if (location.search) await new Promise((done) => { window.goOn = done; });
createRoot(document.querySelector('main')).render(<Chat id={id} stored={stored} load={load} />);`;
const PAGE = `<!doctype html><meta charset="utf-8"><title>chat</title><main></main><script type="module" src="/chat.js"></script>`;
const WORDS = ['Un ', 'point ', 'relais ', 'garde ', 'le ', 'colis.'];
const ANSWER = WORDS.join('');

// A site with a chat endpoint that speaks the protocol of the AI SDK, stores messages as its own documentation does, and knows
// nothing of Relais, nor of streams that go on.
async function chat(context) {
  const script = await bundle('main.jsx', { 'main.jsx': MAIN });
  const state = { calls: 0, half: gate(), stored: {} };
  const answer = async ({ id, messages }, response) => {
    state.stored[id] = messages;
    const number = (state.calls += 1);
    const { half } = state;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-vercel-ai-ui-message-stream': 'v1' });
    const say = (chunk) => response.write(`data: ${typeof chunk === 'string' ? chunk : JSON.stringify(chunk)}\n\n`);
    say({ type: 'start', messageId: `answer-${number}` });
    say({ type: 'text-start', id: 'text' });
    for (const [index, delta] of WORDS.entries()) {
      if (index === 2) await half.promise;
      say({ type: 'text-delta', id: 'text', delta });
    }
    say({ type: 'text-end', id: 'text' });
    state.stored[id] = [...messages, { id: `answer-${number}`, role: 'assistant', parts: [{ type: 'text', text: ANSWER }] }];
    say({ type: 'finish' });
    say('[DONE]');
    response.end();
  };
  const made = await site({
    config: routes,
    answer({ url }, body, response) {
      if (url === '/chat.js') return { fields: { 'content-type': 'text/javascript' }, body: script };
      if (url === '/api/chat') return void answer(JSON.parse(body), response);
      const [, id] = /^\/api\/messages\/(.+)/.exec(url) ?? [];
      if (id) return { body: JSON.stringify(state.stored[id] ?? []) };
      return { fields: { 'content-type': 'text/html' }, body: PAGE };
    },
  });
  context.after(made.stop);
  const begin = () => Object.assign(state, { calls: 0, half: gate() });
  return { ...made, state, begin };
}

// What is shown, in its order.
const shown = (page) => page.run(() => [...document.querySelectorAll('.user, .assistant, .error')].map((one) => `${one.className}: ${one.textContent}`));
const shows = (page, text, count = 1) => page.until(([wanted, all]) => {
  const answers = document.querySelectorAll('.assistant');
  return answers.length === all && answers[all - 1].textContent === wanted;
}, [text, count]);
const ready = (page) => page.until(() => document.querySelector('button.send:not(:disabled)') !== null);
const QUESTION = 'What is a point relais?';
const WHOLE = [`user: ${QUESTION}`, `assistant: ${ANSWER}`];

async function ask(page) {
  await page.fill('input', QUESTION);
  await page.click('button.send');
}

test('a chat goes on after a reload in the middle, a cut, on another device, and is whole after its end', async (context) => {
  const { base, front, state, begin } = await chat(context);
  await eachBrowser(async (page, { name, device }) => {
    begin();
    await page.go(`${base}/chat-${name}`);
    await ask(page);
    await shows(page, 'Un point ');
    await page.reload();
    await shows(page, 'Un point ');
    await shot(page, 'client-chat', name);
    // Another device, which has nothing of this browser, by the link that its reader copies.
    const link = await page.run(() => document.querySelector('a.elsewhere').href);
    const other = await device();
    await other.go(link);
    await shows(other, 'Un point ');
    assert.deepEqual(await shown(other), await shown(page), name);
    assert.ok(!(await other.address()).includes('ticket'), 'the ticket does not stay in the address');
    // A link that leads elsewhere is none.
    const foreign = await device();
    await foreign.go(`${base}/foreign-${name}#${encodeURIComponent('https://evil.example/v1/tasks/task_0')}`);
    await ready(foreign);
    assert.deepEqual(await foreign.run(() => [location.hash, localStorage.length]), ['', 0], name);
    // The connections break, and useChat does not notice.
    front.cutAll();
    state.half.done();
    for (const one of [page, other]) {
      await shows(one, ANSWER);
      await ready(one);
      assert.deepEqual(await shown(one), WHOLE, name);
    }
    // After its end it is among the messages that were stored, and nothing comes twice.
    await page.reload();
    await ready(page);
    assert.deepEqual(await shown(page), WHOLE, name);
    assert.equal(state.calls, 1, name);
    // The same chat goes on with the next question.
    state.half = gate();
    await ask(page);
    await shows(page, 'Un point ', 2);
    await page.reload();
    await shows(page, 'Un point ', 2);
    state.half.done();
    await shows(page, ANSWER, 2);
    await ready(page);
    assert.deepEqual(await shown(page), [...WHOLE, ...WHOLE], name);
    assert.equal(state.calls, 2, name);
  }, { width: 560, height: 200 });
});

test('a chat whose answer ends while its page is loaded shows that answer', async (context) => {
  const { base, server, state, begin } = await chat(context);
  await eachBrowser(async (page, { name }) => {
    begin();
    await page.go(`${base}/late-${name}`);
    await ask(page);
    await shows(page, 'Un point ');
    const link = await page.run((id) => localStorage.getItem(`relais.chat.${id}`), `late-${name}`);
    await page.go(`${base}/late-${name}?slowly`);
    await page.until(() => window.goOn !== undefined);
    state.half.done();
    const task = new URL(link);
    assert.equal((await fetch(`${server.base}${task.pathname}/result${task.search}`, { headers: { prefer: 'wait=20' } })).status, 200);
    await page.run(() => window.goOn());
    await shows(page, ANSWER);
    await ready(page);
    assert.deepEqual(await shown(page), WHOLE, name);
  });
});

test('a chat whose Relais is killed in the middle of the answer shows one whole answer', async (context) => {
  const { base, server, state, begin } = await chat(context);
  await eachBrowser(async (page, { name }) => {
    begin();
    await page.go(`${base}/killed-${name}`);
    await ask(page);
    await shows(page, 'Un point ');
    await server.restart();
    state.half.done();
    await shows(page, ANSWER);
    await ready(page);
    assert.deepEqual(await shown(page), WHOLE, name);
    assert.equal(state.calls, 2, 'the answer that was lost is asked for again');
  });
});
