// What the tests share: a Relais, a service behind it, a worker, and a proxy that breaks connections.
import net from 'node:net';
import { relais, upstream } from '../../../tests/peers/peer.mjs';

export { relais, upstream };

// Nothing is left to chance, so that nothing is waited for.
export const surroundings = {
  isOnline: () => true,
  isHidden: () => false,
  watch: () => () => {},
  chance: () => 0,
  now: () => performance.now(),
};

// All of something that comes bit by bit.
export async function all(source) {
  const told = [];
  for await (const one of source) told.push(one);
  return told;
}

export async function bytes(source) {
  return Buffer.concat(await all(source));
}

// Something that is waited for: `done(value)` ends the wait of whoever awaits `promise`.
export function gate() {
  let done;
  const promise = new Promise((resolve) => { done = resolve; });
  return { promise, done };
}

// A worker of one queue.
export function worker(base, queue) {
  const call = async (path, body) => {
    const answer = await fetch(base + path, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const settle = async (item) => {
    const { items } = await call('/v1/leases/settle', { items: [item] });
    if (items[0].status !== 200) throw new Error(JSON.stringify(items[0]));
  };
  return {
    lease: async () => (await call(`/v1/queues/${queue}/leases`, { wait: '20s' })).leases[0],
    report: (lease, progress) => call('/v1/leases/heartbeat', { items: [{ token: lease.token, progress }] }),
    succeed: (lease, result) => settle({ token: lease.token, outcome: 'succeed', result }),
    fail: (lease, problem) => settle({ token: lease.token, outcome: 'fail', problem, retryable: false }),
  };
}

const isSocket = (piece) => /^HTTP\/1.1 101/.test(piece);
const isStream = (piece) => /^HTTP\/1.1 200[^]*?\r\ncontent-type: text\/event-stream/.test(piece);

// A proxy before `base`.
//
// `plan(number)`: what becomes of the connection with that number (from 0): nothing, or `{ after, how }`: after so many bytes of
// answers it is broken by a reset (`how: 'reset'`) or closed as by a program that died (`'close'`); `{ hold: true }` passes
// requests on, and no byte of an event stream or a WebSocket back. `seen(text, cut, state)` is told what comes back; `cut(N, later)` closes behind N bytes of it, so many
// milliseconds later, as browsers throw away what they were not asked for yet; and `state` is the connection's own.
export async function proxy(base, { plan = () => undefined, seen = () => {} } = {}) {
  const to = new URL(base);
  const sockets = new Set();
  const streams = new Set();
  const clients = new Set();
  let [count, broken] = [0, 0];
  let isClosed = false;
  const frozen = new Set();
  const server = net.createServer((client) => {
    if (isClosed) {
      client.resetAndDestroy();
      return;
    }
    const wanted = { ...plan(count) };
    count += 1;
    const origin = net.connect(to.port, to.hostname);
    clients.add(client);
    client.on('close', () => {
      streams.delete(client);
      clients.delete(client);
    });
    let left = wanted.after ?? Infinity;
    const end = () => {
      broken += 1;
      if (wanted.how === 'close') client.destroySoon();
      else client.resetAndDestroy();
      origin.destroy();
    };
    for (const [one, other] of [[client, origin], [origin, client]]) {
      sockets.add(one);
      one.on('error', () => {}).on('close', () => { sockets.delete(one); other.destroySoon(); });
    }
    client.on('data', (piece) => frozen.has(client) || origin.write(piece));
    origin.on('data', (piece) => {
      if (frozen.has(client)) return;
      if (wanted.hold && (isStream(piece) || isSocket(piece))) return origin.pause();
      seen(piece.toString('latin1'), (bytes, later) => {
        left = bytes;
        Object.assign(wanted, { how: 'close', later });
      }, wanted);
      if (isStream(piece) || isSocket(piece)) streams.add(client);
      const some = piece.subarray(0, left);
      left -= some.length;
      if (some.length) client.write(some);
      if (left === 0 && wanted.later) setTimeout(end, wanted.later, origin.pause());
      else if (left === 0) end();
    });
    if (left === 0) end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    connections: () => count,
    broken: () => broken,
    // How many connections with an event stream, or a WebSocket, are open.
    streams: () => streams.size,
    // Nothing passes by the connections that there are, and nobody says so: the network has changed.
    freeze: () => clients.forEach((client) => frozen.add(client)),
    // Whether nobody comes through at all.
    close: (now) => {
      isClosed = now;
      if (now) sockets.forEach((socket) => socket.resetAndDestroy());
    },
    cutAll: () => sockets.forEach((socket) => socket.resetAndDestroy()),
    stop: () => { sockets.forEach((socket) => socket.destroy()); server.close(); },
  };
}
