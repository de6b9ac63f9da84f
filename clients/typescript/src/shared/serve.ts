// What the worker does that all pages of a browser share: it holds the one connection.
import { Caller } from '../caller.js';
import { hubs } from '../hubs.js';
import { PATIENCE_MS } from '../patience.js';
import { itsOwn } from '../surroundings.js';
import { Host } from './host.js';
import type { FromPage } from './messages.js';

/** Follows for each page that begins this script as its shared worker. */
export function serve(): void {
  const own = itsOwn();
  const watchers = new Set<() => void>();
  const host: Host = new Host(
    (base) => followersAt(base),
    () => watchers.forEach((changed) => changed()),
  );
  const surroundings = {
    ...own,
    isHidden: () => !host.isSeen,
    watch: (changed: () => void) => {
      const unwatch = own.watch(changed);
      watchers.add(changed);
      return () => {
        unwatch();
        watchers.delete(changed);
      };
    },
  };
  const followersAt = hubs(
    new Caller({ base: '', fetch: (input, init) => fetch(input, init), surroundings, patience: PATIENCE_MS }),
  );

  addEventListener('connect', (event) => {
    const port = (event as MessageEvent).ports[0] as MessagePort;
    let page = '';
    port.onmessage = ({ data }: MessageEvent<{ from: string } | FromPage>) => {
      if ('op' in data) return host.receive(page, data, (message) => port.postMessage(message));
      page = data.from;
      host.welcome(page, () => port.postMessage('ready'));
    };
  });
}
