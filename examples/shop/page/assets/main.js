// The page: a button that hands an import in, and what it left the last time.
import './chat.js';
import './copy.js';
import { Follow, WAYS } from './follow.js';
import { begin, keep, load, now, store, stored, takeUp } from './run.js';
import { bring, element } from './tray.js';
import { show } from './view.js';
import { number, reason, time, words } from './words.js';

const start = document.querySelector('#start');
const told = document.querySelector('#told');
const slider = document.querySelector('#interval');
let follow;

if (start) open();

function open() {
  slider.value = stored('shop.interval') ?? slider.value;
  slider.addEventListener('input', sayInterval);
  sayInterval();
  // Fetched beforehand, so that a click is one request.
  const file = fetch('samples/products.csv').then((answer) => answer.blob());
  start.addEventListener('click', (event) => handIn(file, event.timeStamp));
  start.disabled = false;
  addEventListener('pagehide', () => follow && keep(follow.run));
  setInterval(() => follow?.isGoing && keep(follow.run), 1000);
  const run = load();
  if (run?.task) goOn(run);
}

function sayInterval() {
  document.querySelector('#interval-said').textContent = time(interval());
  store('shop.interval', slider.value);
}

function interval() {
  return Number(slider.value) * 1000;
}

async function handIn(file, clicked) {
  follow?.end();
  const run = begin(['sync', ...Object.keys(WAYS)]);
  const mine = new Follow(run, interval, show);
  follow = mine;
  start.disabled = true;
  told.textContent = words('handing');
  show(mine);
  // First it is seen that the click does something, then it does it.
  await seen();
  run.feedback = performance.now() - clicked;
  const body = await file;
  const isIn = await submit(run, body);
  start.disabled = false;
  start.textContent = words('again');
  if (!isIn) {
    mine.end();
    show(mine);
    return;
  }
  told.textContent = words('told.handed');
  // Only now, so that two uploads do not hold each other up: the clocks are set off by how long this one took.
  await toTheEnd(mine, mine.wait(body));
}

// Resolves once the next picture has been made.
function seen() {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    requestAnimationFrame(() => port2.postMessage(undefined));
  });
}

// Hands the file in; the 202 is durable, and all that follows needs no more than what stands in it.
async function submit(run, file) {
  const sent = now();
  const answer = await fetch('imports', { method: 'POST', headers: { 'Content-Type': 'text/csv' }, body: file }).catch(() => undefined);
  const document = await answer?.json().catch(() => undefined);
  run.ticket = now();
  if (answer?.status !== 202) {
    run.refused = true;
    told.textContent = words('told.refused', reason({ status: answer?.status ?? '–', document }));
    return false;
  }
  const { id, ticket, links, created_at: created } = document;
  run.task = { id, ticket, links };
  // The task was made between request and answer: this is as exact as half of the time that they took.
  run.skew = Date.parse(created) - (sent + run.ticket) / 2;
  keep(run);
  bring(run.task);
  return true;
}

// What was left goes on: each way where it was, and only the call that waited has lost its answer.
async function goOn(run) {
  takeUp(run);
  const { sync } = run.ways;
  if (!sync.seen) Object.assign(sync, { seen: run.kept, isLost: true });
  const mine = new Follow(run, interval, show);
  follow = mine;
  start.textContent = words('again');
  told.textContent = words('told.back');
  show(mine);
  element(run.task);
  await toTheEnd(mine);
}

async function toTheEnd(mine, waiting) {
  mine.isGoing = true;
  await Promise.all([waiting, mine.follow()]);
  mine.isGoing = false;
  if (follow !== mine) return;
  keep(mine.run);
  show(mine);
  told.textContent = verdict(mine.run.ways);
}

function verdict(ways) {
  const records = Object.keys(WAYS).map((name) => ways[name]);
  const good = records.filter((record) => record.answer);
  if (!good.length) return words('told.failed', records[0].problem);
  const { imported, rejected } = good[0].answer;
  return words('told.done', number(imported), number(rejected), number(good.length), number(records.length));
}
