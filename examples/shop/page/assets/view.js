// Shows how an import stands: its four steps, and of each way its line, its bar and its figures.
import { Lane } from './lane.js';
import { delayOf, now } from './run.js';
import { number, size, time, words } from './words.js';

const rows = [...document.querySelectorAll('.way[data-way]')].map((row) => ({
  row,
  name: row.dataset.way,
  lane: new Lane(row.querySelector('.lane')),
  bar: row.querySelector('progress'),
  state: row.querySelector('.state'),
  figure: (name) => row.querySelector(`[data-figure="${name}"]`),
}));
let drawn;

// Shows it with the next picture, however often it is called before. Where no pictures are made, nobody looks.
export function show(follow) {
  if (drawn) return;
  drawn = requestAnimationFrame(() => {
    drawn = undefined;
    draw(follow);
  });
}

function draw(follow) {
  const { run, meters } = follow;
  steps(run);
  const end = run.settled && run.settled - run.skew;
  const records = Object.values(run.ways);
  const isOver = records.every((record) => record.seen);
  const until = isOver ? Math.max(...records.map((record) => record.seen)) : now();
  const whole = Math.max(2000, (until - run.begun) * 1.02);
  const at = (moment) => Math.min(1, Math.max(0, (moment - run.begun) / whole));
  for (const one of rows) {
    const record = run.ways[one.name];
    // The call that waits is an import of its own, whose end is its answer.
    one.lane.draw(record, { at, end: one.name === 'sync' ? undefined : end, until });
    figures(one, run, record);
    stands(one, record, meters[one.name].state);
  }
  // The axis goes on, also where nothing happens.
  if (!isOver && run.task) show(follow);
}

function steps({ begun, feedback, ticket, settled, skew, refused, ways }) {
  const percent = Math.max(0, ...Object.values(ways).map((record) => record.percent ?? 0));
  const moved = percent ? words('works', number(percent)) : words('waits');
  step('clicked', Boolean(begun), true, feedback ? words('first', time(feedback)) : words('handing'));
  step('ticket', Boolean(begun), Boolean(ticket), ticket ? words('ticket', time(ticket - begun)) : '', refused);
  step('works', Boolean(ticket), Boolean(settled), settled ? words('works', number(100)) : ticket ? moved : '');
  step('done', Boolean(settled), Boolean(settled), settled ? words('took', time(settled - skew - begun)) : '');
}

function step(name, isBegun, isDone, said, isBad) {
  const line = document.querySelector(`[data-step="${name}"]`);
  line.className = isBad ? 'bad' : isDone ? 'done' : isBegun ? 'now' : '';
  line.querySelector('[data-said]').textContent = said;
}

function figures({ name, figure }, run, record) {
  figure('requests').textContent = number(record.requests);
  figure('bytes').textContent = size(record.bytes);
  figure('delay').textContent = delay(name, run, record);
}

function delay(name, run, record) {
  if (name === 'sync') {
    const [asked] = record.marks;
    return asked ? time((record.seen ?? now()) - asked[1]) : '–';
  }
  if (!record.seen || !run.settled) return '–';
  const { isBack, ms } = delayOf(run, record);
  return isBack ? words('delay.back', time(ms)) : time(ms);
}

function stands({ bar, state }, record, told) {
  const { seen, answer, problem, isLost, percent } = record;
  let [name, ...values] = told ?? ['wait'];
  if (isLost) name = 'lost';
  else if (problem) name = 'failed';
  else if (answer) [name, ...values] = ['seen', number(answer.imported), number(answer.rejected)];
  state.textContent = words(`state.${name}`, ...values);
  state.dataset.state = name;
  if (isLost || problem) bar.value = 0;
  else if (seen) bar.value = 100;
  else if (percent) bar.value = percent;
  else bar.removeAttribute('value');
}
