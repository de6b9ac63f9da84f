// The conversation: asks an ordinary endpoint that streams, and keeps the link that leads back to each answer.
import { read } from './live.js';
import { pause } from './meter.js';
import { store, stored } from './run.js';
import { number, reason, size, words } from './words.js';

const PLACE = 'shop.chat';
const KEPT_MAX = 20;
const form = document.querySelector('#ask');
const talk = document.querySelector('#talk');
const stop = document.querySelector('#stop');
const figures = document.querySelector('#chat-figures');
// Each: { question, lang, key, link (once the head of the answer is there), text (once it is whole), problem }.
const said = stored(PLACE) ?? [];
let leaving;

if (form) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    ask(form.question.value);
    form.reset();
  });
  for (const idea of document.querySelectorAll('[data-idea]')) idea.addEventListener('click', () => ask(idea.textContent));
  stop.addEventListener('click', () => {
    stop.disabled = true;
    leaving?.abort(words('chat.stopped'));
  });
  for (const one of said) show(one);
  const last = said.at(-1);
  if (last && isComing(last)) listen(last);
}

function isComing(one) {
  return one.text === undefined && !one.problem;
}

function keep() {
  store(PLACE, said.slice(-KEPT_MAX));
}

function ask(question) {
  if (leaving) return;
  const one = { question, lang: document.documentElement.lang, key: crypto.getRandomValues(new Uint32Array(4)).join('-') };
  said.push(one);
  show(one);
  keep();
  listen(one);
}

// With its key a question is one, also if it is asked again because the page was left before its answer had begun.
function send({ question, lang, key }, signal) {
  return fetch('assistant', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': JSON.stringify(key) },
    body: JSON.stringify({ question, lang }),
    signal,
  });
}

// Reads an answer to its end, one that has begun before by its link.
async function listen(one) {
  leaving = new AbortController();
  busy(true);
  const line = talk.lastElementChild;
  const count = { requests: 0, bytes: 0 };
  const tell = (how) => tellFigures(count, how);
  try {
    const first = one.link ? undefined : await begun(one, count, leaving.signal);
    let text = '';
    let letters = new TextDecoder();
    const steps = read(one.link, { first, signal: leaving.signal, asked: () => { count.requests += 1; } });
    for await (const { bytes, isCut, isNew } of steps) {
      if (isNew) [text, letters] = ['', new TextDecoder()];
      count.bytes += bytes?.length ?? 0;
      text += bytes ? letters.decode(bytes, { stream: true }) : '';
      line.textContent = text;
      tell(isCut ? 'cut' : 'coming');
      talk.scrollTop = talk.scrollHeight;
    }
    one.text = text;
    tell('whole');
  } catch (error) {
    one.problem = leaving.signal.aborted ? leaving.signal.reason : words('chat.failed', error.message);
    if (leaving.signal.aborted) cancel(one.link);
    line.insertAdjacentElement('afterend', paragraph('problem', one.problem));
  }
  keep();
  leaving = undefined;
  busy(false);
}

// The first answer, whose head has the link that leads back to it; where the shop took too long it is a ticket instead.
// Until then nothing breaks it off: without its link an answer that nobody wants could not be called off.
async function begun(one, count, signal) {
  const asked = new AbortController();
  let answer;
  while (!answer) {
    count.requests += 1;
    // Where nobody answers it is asked again: it may have come in, and its key makes it one.
    answer = await send(one, asked.signal).catch(() => pause(1000, signal));
  }
  if (answer.status >= 400) throw new Error(reason({ status: answer.status, document: await answer.json().catch(() => undefined) }));
  one.link = answer.headers.get('Operation-Location');
  keep();
  signal.addEventListener('abort', () => asked.abort());
  if (signal.aborted) asked.abort();
  signal.throwIfAborted();
  return answer.status === 202 ? undefined : answer;
}

// Who stops an answer does not want it any more: it is called off, and the assistant is left alone.
function cancel(link) {
  if (!link) return;
  const url = new URL(link);
  url.pathname += '/cancel';
  fetch(url, { method: 'POST' }).catch(() => {});
}

function show(one) {
  talk.querySelector('.nothing')?.remove();
  talk.append(paragraph('you', one.question), paragraph('shop', one.text ?? ''));
  if (one.problem) talk.append(paragraph('problem', one.problem));
  talk.scrollTop = talk.scrollHeight;
}

function paragraph(who, text) {
  const made = document.createElement('p');
  made.className = who;
  made.textContent = text;
  return made;
}

function busy(is) {
  document.querySelector('#send').disabled = is;
  for (const idea of document.querySelectorAll('[data-idea]')) idea.disabled = is;
  stop.hidden = !is;
  stop.disabled = false;
  talk.lastElementChild.classList.toggle('coming', is);
}

function tellFigures({ requests, bytes }, how) {
  figures.hidden = false;
  figures.textContent = words('chat.figures', number(requests), size(bytes), words(`chat.${how}`));
}
