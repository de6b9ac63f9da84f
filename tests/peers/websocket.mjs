// The WebSocket by `ws` of npm, as it is; and the AsyncAPI document: it is one (by AsyncAPI's own schema), and each frame
// that comes keeps to it (by ajv).
import fs from 'node:fs';
import path from 'node:path';
import { check, relais, require, upstream, verdict } from './peer.mjs';

const { WebSocket } = require('ws');
const Ajv = require('ajv/dist/2020').default;
const Draft7 = require('ajv').default;
const addFormats = require('ajv-formats').default ?? require('ajv-formats');
const specs = require('@asyncapi/specs');

const file = path.join(import.meta.dirname, '../../crates/api/asyncapi.json');
const description = JSON.parse(fs.readFileSync(file));

// The schemas of AsyncAPI are of draft 7, which they have inside.
const draft7 = new Draft7({ strict: false, allErrors: true, meta: false, validateSchema: false });
addFormats(draft7);
const isDescription = draft7.compile(specs.schemas['3.0.0']);
check(isDescription(description), `it is an AsyncAPI document: ${JSON.stringify(isDescription.errors?.slice(0, 3))}`);

const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema({ $id: 'relais', components: description.components });
const schemaOf = (name) => ajv.compile({ $ref: `relais#/components/messages/${name}/payload` });
const frames = Object.fromEntries(Object.keys(description.components.messages).map((name) => [name, schemaOf(name)]));
for (const [name, { examples }] of Object.entries(description.components.messages)) {
  check(frames[name](examples[0].payload), `the example of ${name}: ${JSON.stringify(frames[name].errors)}`);
}
const heard = new Set();

// Opens a connection; `next()` is the next frame, `closed` resolves with the code of its end.
function open(url, { protocols = ['relais.v1.json'], ...more } = {}) {
  const socket = new WebSocket(url, protocols, more);
  // What is refused is told by its status below.
  socket.on('error', () => {});
  const came = [];
  const waiting = [];
  socket.on('message', (data) => {
    const frame = JSON.parse(data);
    const name = frame.op ?? 'event';
    heard.add(name);
    check(frames[name]?.(frame), `${data}: ${JSON.stringify(frames[name]?.errors)}`);
    if (waiting.length) waiting.shift()(frame);
    else came.push(frame);
  });
  return {
    socket,
    next: () => (came.length ? Promise.resolve(came.shift()) : new Promise((seen) => waiting.push(seen))),
    say(frame) {
      check(frames[frame.op]?.(frame), `we say ${JSON.stringify(frame)}`);
      socket.send(JSON.stringify(frame));
    },
    closed: new Promise((seen) => socket.on('close', seen)),
    refused: new Promise((seen) => socket.on('unexpected-response', (_, answer) => { seen(answer.statusCode); socket.terminate(); })),
  };
}

const service = await upstream(() => ({ fields: { 'content-type': 'text/plain' }, body: 'done' }));
const config = `[queue."*"]\n[[route]]\npath = "/{*rest}"\nmode = "async"\nupstream = "${service.url}"\n`;
const server = await relais({ config });
const url = `${server.base.replace('http', 'ws')}/v1/ws`;

const answer = await fetch(`${server.base}/work`, { method: 'POST', body: 'x' });
const task = await answer.json();
for (const protocols of [['relais.v1.json'], ['relais.v1.json', `relais.bearer.${task.ticket}`]]) {
  const ws = open(url, { protocols });
  check((await ws.next()).op === 'ready', 'who asks is known');
  check(ws.socket.protocol === 'relais.v1.json' && ws.socket.extensions === '', 'one subprotocol, and no compression');
  ws.say({ op: 'watch', watch: 'w', task: task.id });
  const kinds = [];
  let frame = await ws.next();
  for (; frame.op !== 'end'; frame = await ws.next()) if (frame.event) kinds.push(frame.event.type);
  check(kinds.join() === 'accepted,started,succeeded' && frame.reason === 'over', `the log: ${kinds} ${frame.reason}`);
  ws.socket.close(1000);
  check(await ws.closed === 1000, 'a close is answered');
}

const ws = open(url);
await ws.next();
ws.say({ op: 'auth', token: task.ticket });
check((await ws.next()).op === 'ready', 'a ticket is brought later');
ws.say({ op: 'submit', id: '1', key: 'k', task: { queue: 'q', input: { n: 1 }, labels: { a: 'b' } } });
const { task: made, status } = await ws.next();
check(status === 202 && made.ticket.startsWith('rt_'), 'a task is handed in');
ws.say({ op: 'watch', watch: 'l', label: 'a=b' });
check((await ws.next()).version === 0 && (await ws.next()).event.task === made.id, 'a label is watched');
ws.say({ op: 'watch', watch: 'n', label: 'a=b', after: 'now' });
check((await ws.next()).pos > 0, 'a watch begins now, and says where that is');
ws.say({ op: 'unwatch', watch: 'n' });
check((await ws.next()).reason === 'unwatched', 'nothing that was before is told');
ws.say({ op: 'watch', watch: 't', task: made.id, after: 99 });
for (const op of ['open', 'reset', undefined, 'estimate']) check((await ws.next()).op === op, `then comes ${op}`);
ws.say({ op: 'unwatch', watch: 't' });
check((await ws.next()).reason === 'unwatched', 'a watch is ended');
ws.say({ op: 'cancel', id: '2', task: made.id });
const said = [await ws.next(), await ws.next()];
check(said.some(({ status }) => status === 200) && said.some(({ event }) => event?.type === 'canceled'), 'it is canceled');
ws.say({ op: 'retry', id: '3', task: made.id });
const retried = [await ws.next(), await ws.next()];
check(retried.some(({ status }) => status === 202), `it is run again: ${JSON.stringify(retried)}`);
check(!frames.submit({ op: 'submit', id: '4', task: { queue: 'NO' } }), 'the description knows what is not valid');
ws.socket.send('{"op": "submit", "id": "4", "task": {"queue": "NO"}}');
check((await ws.next()).problem.code === 'invalid-field', 'what is not valid is a problem');
ws.say({ op: 'watch', watch: 'x', task: 'task_0' });
check((await ws.next()).reason === 'refused', 'what is not there is refused');
ws.say({ op: 'ping' });
check((await ws.next()).op === 'pong', 'a ping is answered');
ws.socket.send(Buffer.from([1, 2, 3]));
check(await ws.closed === 1003, 'a binary frame closes');

check(await open(url, { origin: 'https://evil.example' }).refused === 403, 'a page of another origin opens none');
check(await open(`${url}?ticket=${task.ticket}`).refused === 400, 'no ticket is read of the address');
check(await open(url, { protocols: ['chat'] }).refused === 400, 'another subprotocol is none');
for (const name of ['ready', 'event', 'open', 'reset', 'estimate', 'end', 'reply', 'pong']) check(heard.has(name), `${name} was heard`);
verdict();
