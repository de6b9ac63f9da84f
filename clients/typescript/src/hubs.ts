// One connection for each Relais that is followed.
import type { Caller } from './caller.js';
import type { Followers } from './events/followers.js';
import { Hub } from './events/hub.js';
import { LongPoll } from './events/long-poll.js';
import { Poll } from './events/poll.js';
import { Sse } from './events/sse.js';
import { WebSockets } from './events/websocket.js';

const TRANSPORTS = { websocket: WebSockets, sse: Sse, 'long-poll': LongPoll, poll: Poll } as const;

/** A way of learning what happens. */
export type TransportName = keyof typeof TRANSPORTS;

/** The hub of each base, made when it is asked for. Transports are those that are named, the best first. */
export function hubs(
  caller: Caller,
  names: readonly TransportName[] = all(),
  onTransport?: (name: string) => void,
): (base: string) => Followers {
  const known = new Map<string, Followers>();
  return (base) => {
    const hub = known.get(base) ?? new Hub(caller, names.map((name) => new TRANSPORTS[name](caller)), onTransport);
    known.set(base, hub);
    return hub;
  };
}

/** All that there are here: Node has had WebSockets since 22. */
function all(): TransportName[] {
  const names = Object.keys(TRANSPORTS) as TransportName[];
  return names.filter((name) => name !== 'websocket' || typeof WebSocket !== 'undefined');
}
