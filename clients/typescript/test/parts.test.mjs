// The parts that decide, each by itself: no server, no time, no chance.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Caller, isOutcome, retryAfterOf } from '../dist/caller.js';
import { Connection } from '../dist/connection.js';
import { Choice } from '../dist/events/choice.js';
import { Hub } from '../dist/events/hub.js';
import { Unfit } from '../dist/events/transport.js';
import { Sse } from '../dist/events/sse.js';
import { SseParser } from '../dist/events/sse-parser.js';
import { Keep, storeOf } from '../dist/keep/keep.js';
import { referenceOf, taskOf } from '../dist/links.js';
import { Unreachable } from '../dist/errors.js';
import { pace, Patience } from '../dist/patience.js';
import { Reading } from '../dist/reading.js';
import { Signs } from '../dist/signs.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

// What a parser reads of a stream that comes in pieces of so many bytes.
function read(stream, size = Infinity) {
  const parser = new SseParser();
  const bytes = encoder.encode(stream);
  const blocks = [];
  for (let at = 0; at < bytes.length; at += size) blocks.push(...parser.read(bytes.subarray(at, at + size)));
  return { blocks, retry: parser.retry };
}

test('an event stream is read as the standard says, whatever pieces it comes in', () => {
  const event = (data, id = '', event = 'message') => ({ id, event, data });
  const streams = [
    ['data: a\n\n', [event('a')]],
    ['data:a\r\n\r\ndata: b\r\rdata:  c\n\n', [event('a'), event('b'), event(' c')]],
    ['\ufeffdata: one\ndata: two\ndata\n\n', [event('one\ntwo\n')]],
    [':comment\n:\n\nevent: x\ndata: é€😀\nid: 7\n\ndata: on\n\n', [event('é€😀', '7', 'x'), event('on', '7')]],
    ['id: 7\ndata: a\n\nid\ndata: b\n\nid: no\0ne\ndata: c\n\n', [event('a', '7'), event('b'), event('c')]],
    ['event: x\n\ndata: a\n\n', [event('a')]],
    ['unknown: x\ndata: a: b\n\ndata: not ended\n', [event('a: b')]],
    ['data: never ended', []],
  ];
  for (const [stream, expected] of streams) {
    for (let size = 1; size <= 8; size += 1) assert.deepEqual(read(stream, size).blocks, expected, JSON.stringify([stream, size]));
    assert.deepEqual(read(stream).blocks, expected, stream);
  }
  assert.equal(read('retry: 12\nretry: 1x\n\n').retry, 12);
});

test('signs of life are taken out between events and nowhere else, whatever pieces they come in', () => {
  const sign = ':relais\n\n';
  const streams = [
    [`data: a\n\n${sign}data: b\n\n`, 'data: a\n\ndata: b\n\n'],
    [`data: a\r\n\r\n${sign}${sign}data: b\r\n\r\n`, 'data: a\r\n\r\ndata: b\r\n\r\n'],
    [`data: a\r\r${sign}\ndata: b\r\r`, 'data: a\r\r\ndata: b\r\r'],
    [`data: a\n${sign}data: b\n\n`, `data: a\n${sign}data: b\n\n`],
    [`${sign}data: b\n\n`, `${sign}data: b\n\n`],
    ['data: a\n\n:rel\n\n:relaisdata\n\n:relais\ndata: b\n\n', 'data: a\n\n:rel\n\n:relaisdata\n\n:relais\ndata: b\n\n'],
    ['data: a\n\n:rel', 'data: a\n\n:rel'],
  ];
  for (const [stream, expected] of streams) {
    for (let size = 1; size <= stream.length; size += 1) {
      const signs = new Signs();
      let kept = '';
      for (let at = 0; at < stream.length; at += size) kept += decoder.decode(signs.pass(encoder.encode(stream.slice(at, at + size))));
      assert.equal(kept + decoder.decode(signs.rest()), expected, JSON.stringify([stream, size]));
    }
  }
});

test('what was held back of a sign of life is not counted when the connection is cut', () => {
  const signs = new Signs();
  assert.equal(decoder.decode(signs.pass(encoder.encode('data: a\n\n:rel'))), 'data: a\n\n');
  signs.cut();
  assert.equal(decoder.decode(signs.pass(encoder.encode(':relish\n\n'))), ':relish\n\n');
});

const answer = (headers, status = 200) => new Response(status === 204 ? null : '', { status, headers });

test('the task of an answer is the one that Relais names, wherever the links of the service lead', () => {
  const own = 'https://api.example.com/_relais/v1/tasks/task_1?ticket=rt_a';
  const found = { id: 'task_1', base: 'https://api.example.com/_relais', ticket: 'rt_a' };
  const named = { 'relais-task': 'task_1' };
  assert.deepEqual(taskOf(answer({ ...named, link: `<${own}>; rel="monitor"` })), found);
  assert.deepEqual(taskOf(answer({ ...named, link: `</a,b>; title="a, <b>; rel=monitor"; rel="next last", <x>; rel=monitor, <${own}>; rel="monitor"` })), found);
  assert.deepEqual(taskOf(answer({ ...named, 'operation-location': own })), found);
  assert.deepEqual(taskOf(answer({ ...named, location: own.replace('?', '/result?') })), found);
  assert.equal(taskOf(answer({ link: `<${own}>; rel="monitor"` })), undefined);
  assert.equal(taskOf(answer({ ...named, link: '<https://api.example.com/v1/tasks/task_2>; rel="monitor"' })), undefined);
  assert.equal(taskOf(answer({ ...named, link: '<::>; rel="monitor"', location: '/elsewhere' })), undefined);
  assert.equal(referenceOf('https://api.example.com/v1/tasks/'), undefined);
});

test('a 202 is an answer only where it has a version', () => {
  assert.equal(isOutcome(answer({ 'relais-task': 'task_1' }, 202)), false);
  assert.equal(isOutcome(answer({ 'relais-task': 'task_1', 'relais-result-version': '1.1' }, 202)), true);
  assert.equal(isOutcome(answer({ 'relais-task': 'task_1' }, 503)), true);
  assert.equal(isOutcome(answer({}, 200)), false);
});

test('a Retry-After is seconds or a date', () => {
  assert.equal(retryAfterOf(answer({ 'retry-after': '2' })), 2_000);
  const at = retryAfterOf(answer({ 'retry-after': new Date(Date.now() + 5_000).toUTCString() }));
  assert.ok(at > 3_000 && at <= 5_000);
  assert.equal(retryAfterOf(answer({ 'retry-after': 'soon' })), undefined);
  assert.equal(retryAfterOf(answer({})), undefined);
});

// Surroundings that a test changes.
function changing() {
  const watchers = new Set();
  const state = { online: true, hidden: false, chance: 1, time: 0 };
  return {
    state,
    change: (next) => { Object.assign(state, next); [...watchers].forEach((told) => told()); },
    isOnline: () => state.online,
    isHidden: () => state.hidden,
    watch: (told) => { watchers.add(told); return () => watchers.delete(told); },
    chance: () => state.chance,
    now: () => state.time,
    watchers,
  };
}

// Lets everything run that waits for nothing but the clock, and moves that.
async function passes(context, surroundings, milliseconds) {
  await new Promise((done) => setImmediate(done));
  surroundings.state.time += milliseconds;
  context.mock.timers.tick(milliseconds);
  await new Promise((done) => setImmediate(done));
}

// Whether a pause has ended.
function pausing(promise) {
  const pause = { isOver: false };
  promise.then(() => { pause.isOver = true; });
  return pause;
}

test('pauses double up to half a minute, are drawn from all of that, and begin anew once something came', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  const patience = new Patience(surroundings, Infinity);
  for (const bound of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const pause = pausing(patience.afterFailure(new Error('no'), undefined, undefined));
    await passes(context, surroundings, bound - 1);
    assert.equal(pause.isOver, false, `${bound}`);
    await passes(context, surroundings, 1);
    assert.equal(pause.isOver, true, `${bound}`);
  }
  patience.gotOn();
  surroundings.state.chance = 0.5;
  const pause = pausing(patience.afterFailure(new Error('no'), 5_000, undefined));
  await passes(context, surroundings, 5_499);
  assert.equal(pause.isOver, false, 'a Retry-After is never undercut');
  await passes(context, surroundings, 1);
  assert.equal(pause.isOver, true);
  assert.equal(surroundings.watchers.size, 0, 'nothing is left behind');
});

test('without a network nothing is tried until there is one', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  surroundings.state.chance = 0;
  surroundings.change({ online: false });
  const pause = pausing(new Patience(surroundings, Infinity).afterFailure(new Error('no'), undefined, undefined));
  await passes(context, surroundings, 30_000);
  assert.equal(pause.isOver, false);
  surroundings.change({ online: true });
  await passes(context, surroundings, 0);
  await passes(context, surroundings, 0);
  assert.equal(pause.isOver, true);
});

test('who is not looked at is slower, and as fast as before once somebody looks', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  surroundings.change({ hidden: true });
  assert.ok(pace(2_000, surroundings) >= 15_000);
  const pause = pausing(new Patience(surroundings, Infinity).afterFailure(new Error('no'), undefined, undefined));
  await passes(context, surroundings, 3_999);
  assert.equal(pause.isOver, false);
  surroundings.change({ hidden: false });
  await passes(context, surroundings, 0);
  assert.equal(pause.isOver, true);
  assert.ok(pace(2_000, surroundings) <= 2_200);
});

test('nobody is given up sooner because nobody looks', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  surroundings.change({ hidden: true });
  const patience = new Patience(surroundings, 1_000);
  for (const milliseconds of [4_000, 8_000]) {
    const pause = pausing(patience.afterFailure(new Error('no'), undefined, undefined));
    await passes(context, surroundings, milliseconds);
    assert.equal(pause.isOver, true);
  }
  await assert.rejects(patience.afterFailure(new Error('no'), undefined, undefined), Unreachable);
});

// Follows one task; resolves to the error that it ends with.
const followed = (hub, id = 'a') => new Promise((failed) => hub.follow({ id, base: '' }, 0, { event() {}, over: failed, failed }));

test('who follows after others have given up has all of the patience again', async () => {
  const surroundings = { ...changing(), chance: () => 0.001 };
  let tries = 0;
  const transport = { name: 'one', async *follow() { tries += 1; throw new Error('nobody is there'); } };
  const hub = new Hub({ settings: { surroundings, patience: 2 } }, [transport]);
  for (const sum of [3, 6, 9]) {
    assert.ok((await followed(hub)) instanceof Unreachable);
    assert.equal(tries, sum);
  }
});

test('a server that asks to be left alone is, whoever joins and leaves, and then told of all who joined', async () => {
  const surroundings = { ...changing(), chance: () => 0, now: () => performance.now() };
  const asked = [];
  let again;
  const isAsked = new Promise((done) => { again = done; });
  const transport = {
    name: 'one',
    async *follow(watched, signal) {
      asked.push({ tasks: watched.map(({ reference }) => reference.id).join(), at: performance.now() });
      if (asked.length === 1) return yield { kind: 'busy', milliseconds: 500 };
      again();
      await new Promise((done) => signal.addEventListener('abort', done));
    },
  };
  const hub = new Hub({ settings: { surroundings, patience: Infinity } }, [transport]);
  const join = (id) => hub.follow({ id, base: '' }, 0, {});
  const soon = () => new Promise((done) => setTimeout(done, 5));
  let leave = join('a');
  while (asked.length === 0) await soon();
  for (const id of ['b', 'c', 'd', 'e']) {
    await soon();
    leave();
    // For a moment there is nobody, as where the one page that there is is loaded again.
    await soon();
    leave = join(id);
    await soon();
    join(`${id}2`)();
  }
  const other = join('f');
  await isAsked;
  assert.deepEqual(asked.map(({ tasks }) => tasks), ['a', 'e,f']);
  assert.ok(asked[1].at - asked[0].at >= 490, `${asked[1].at - asked[0].at} ms`);
  leave();
  other();
});

test('a better transport is tried again, later each time that it does not lead through', () => {
  const surroundings = changing();
  const [sse, poll] = [{ name: 'sse' }, { name: 'poll' }];
  const choice = new Choice([sse, poll], surroundings);
  assert.equal(choice.untilBetter, undefined);
  for (const pause of [60_000, 120_000, 240_000]) {
    assert.equal(choice.current, sse);
    assert.equal(choice.down(), true);
    assert.equal(choice.current, poll);
    assert.equal(choice.down(), false, 'there is nothing below');
    assert.equal(choice.untilBetter, pause);
    surroundings.state.time += pause;
  }
  assert.equal(choice.current, sse);
});

test('one bad moment after good hours does not cost the better transport more than the first did', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  surroundings.state.chance = 0;
  const used = [];
  let isBad = true;
  const sse = {
    name: 'sse',
    async *follow(_, signal) {
      if (isBad) throw new Unfit('a bad moment');
      yield { kind: 'open' };
      await new Promise((done) => signal.addEventListener('abort', done));
    },
  };
  const poll = { name: 'poll', async *follow(_, signal) { await new Promise((done) => signal.addEventListener('abort', done)); } };
  const hub = new Hub({ settings: { surroundings, patience: Infinity } }, [sse, poll], (name) => used.push(name));
  const stay = hub.follow({ id: 'a', base: '' }, 0, {});
  const settle = async () => { for (let turn = 0; turn < 6; turn += 1) await passes(context, surroundings, 0); };
  for (let moment = 0; moment < 4; moment += 1) {
    isBad = true;
    // Somebody joins: the next connection finds that the stream does not come through.
    hub.follow({ id: `b${moment}`, base: '' }, 0, {});
    await settle();
    assert.equal(used.at(-1), 'poll');
    isBad = false;
    await passes(context, surroundings, 60_000);
    await settle();
    assert.equal(used.at(-1), 'sse', `after a minute, moment ${moment}`);
    await passes(context, surroundings, 3_600_000);
  }
  stay();
});

test('who joins while a connection tells something is told it in its turn, by the next one', async () => {
  const surroundings = changing();
  const told = [];
  let tell;
  // Its first connection tells what the test says; the next one all from where it is asked to.
  const transport = {
    name: 'one',
    connections: 0,
    async *follow([watched], signal) {
      this.connections += 1;
      if (this.connections === 1) {
        yield { kind: 'open' };
        yield await new Promise((done) => { tell = done; });
        await new Promise((done) => signal.addEventListener('abort', done));
      } else {
        for (let seq = watched.after + 1; seq <= 3; seq += 1) yield { kind: 'event', event: { task: 'a', seq } };
        yield { kind: 'over', task: 'a' };
      }
    },
  };
  const hub = new Hub({ settings: { surroundings, patience: 0 } }, [transport]);
  const follow = (name, after) => new Promise((over) => {
    hub.follow({ id: 'a', base: '' }, after, { event: ({ seq }) => told.push([name, seq]), over, failed: over });
  });
  const first = follow('first', 1);
  while (!tell) await new Promise((done) => setImmediate(done));
  const second = follow('second', 0);
  tell({ kind: 'event', event: { task: 'a', seq: 2 } });
  await Promise.all([first, second]);
  assert.deepEqual(told.filter(([name]) => name === 'first').map(([, seq]) => seq), [2, 3]);
  assert.deepEqual(told.filter(([name]) => name === 'second').map(([, seq]) => seq), [1, 2, 3]);
});

test('a connection that owes signs of life and is silent is taken for dead, and so is one of the network before', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  const hanging = () => new Connection(new Response(new ReadableStream()), surroundings, new AbortController().signal);
  const silent = hanging();
  silent.owesSigns = true;
  const read = silent.read();
  await passes(context, surroundings, 44_999);
  assert.equal(silent.failure, undefined);
  await passes(context, surroundings, 1);
  assert.equal(await read, undefined);
  assert.match(String(silent.failure), /too long/);
  const before = hanging();
  const waiting = before.read();
  surroundings.change({ online: false });
  surroundings.change({ online: true });
  assert.equal(await waiting, undefined);
  assert.match(String(before.failure), /network/);
});

test('a sign of life is owed by a live answer that has given one, between two events', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const surroundings = changing();
  let [calls, stream] = [0, undefined];
  const persist = async () => {
    calls += 1;
    const headers = { 'content-type': 'text/event-stream', 'relais-task': 'task_1', 'relais-result-version': '1.1' };
    return new Response(new ReadableStream({ start(controller) { stream = controller; } }), { headers });
  };
  const reading = new Reading({ settings: { surroundings, patience: 600_000 }, persist }, { id: 'task_1', base: 'http://a' }, 'live');
  const pieces = reading.pieces(await reading.open(), false);
  const told = async (text) => {
    const next = pieces.next();
    await passes(context, surroundings, 300_000);
    stream.enqueue(encoder.encode(text));
    return decoder.decode((await next).value);
  };
  assert.equal(await told('data: 1\n'), 'data: 1\n');
  assert.equal(await told('\n'), '\n');
  assert.equal(calls, 1);
  stream.enqueue(encoder.encode(':relais\n\ndata'));
  assert.equal(await told(': 2\n\n'), 'data');
  assert.equal(await told(''), ': 2\n\n');
  assert.equal(calls, 1, 'in the middle of an event none is owed');
  stream.enqueue(encoder.encode(':relais\n\n'));
  const last = pieces.next();
  await passes(context, surroundings, 45_000);
  await passes(context, surroundings, 1_000);
  assert.equal(calls, 2);
  stream.enqueue(encoder.encode('data: 3\n\n'));
  assert.equal(decoder.decode((await last).value), 'data: 3\n\n');
  await pieces.return();
});

test('a task is kept in the page where a browser lets nothing be kept, and where it has none of all that', async (context) => {
  const { BroadcastChannel } = globalThis;
  context.after(() => { globalThis.BroadcastChannel = BroadcastChannel; });
  const kept = { id: 'a', base: '', name: 'one', at: 1 };
  for (const forbidden of [{ open() { throw new DOMException('no', 'SecurityError'); } }, undefined]) {
    globalThis.BroadcastChannel = class { constructor() { throw new DOMException('no', 'SecurityError'); } };
    globalThis.indexedDB = forbidden;
    const keep = new Keep(storeOf());
    await keep.put(kept);
    assert.deepEqual(await keep.all(), [kept]);
    assert.equal(await keep.claim('a'), true);
    assert.equal(await keep.claim('a'), false);
    await keep.remove('a');
    assert.deepEqual(await keep.all(), []);
    delete globalThis.indexedDB;
  }
});

test('a stream that says nothing is no bad way where nothing else comes back either', async () => {
  const surroundings = { ...changing(), chance: () => 0 };
  const used = [];
  let isAway = true;
  const fetch = async (url, init) => {
    if (!isAway) return new Response(null, { status: 204 });
    if (init.headers.accept === 'text/event-stream') return new Promise((_, fail) => init.signal.addEventListener('abort', () => fail(init.signal.reason)));
    isAway = false;
    throw new TypeError('no network');
  };
  const caller = new Caller({ base: 'http://relais', fetch, surroundings, patience: Infinity });
  const hub = new Hub(caller, [new Sse(caller), { name: 'poll', async *follow() {} }], (name) => used.push(name));
  await followed(hub);
  assert.deepEqual(used, ['sse', 'sse']);
});
