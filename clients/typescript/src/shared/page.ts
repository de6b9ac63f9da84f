// Who holds the connection for this page: a worker that all pages of the browser share, else one of the pages,
// else this page itself.
import { servedBy } from '../home.js';
import { itsOwn, type Surroundings } from '../surroundings.js';
import { Host } from './host.js';
import { GROUP, type FromPage, type ToPage } from './messages.js';
import { Remote } from './remote.js';
import { Switch, type Way } from './switch.js';

/** Who has not said by then that it holds the connection does not. */
const ANSWER_MS = 2_000;
/** The page that holds this lock holds the connection; the next in line takes it over when that one goes. */
const LEADER = `${GROUP}.leader`;

/** What pages say to all others: who they are, or that one of them holds the connection. */
type Said =
  | { readonly from: string; readonly message?: FromPage }
  | { readonly to: string; readonly message: ToPage }
  | { readonly leader: string };

/** Makes what follows for a page by itself, in surroundings that know of all pages. */
export type MakeOwn = (surroundings: Surroundings) => Way;

/** Follows by one connection for all pages of this browser. */
export function sharedByPages(makeOwn: MakeOwn): Switch {
  const way = new Switch();
  const page = `${GROUP}.page.${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
  // Whoever waits for this lock learns that the page is gone, however it went.
  const held = new Promise<void>((done, fail) => {
    navigator.locks.request(page, () => {
      done();
      return new Promise(() => {});
    }).catch(fail);
  });
  const byItself = () => way.use(makeOwn(itsOwn()));
  held.catch(() => {})
    .then(() => byWorker(page, way))
    .catch(() => byLeader(page, way, makeOwn, byItself))
    .catch(byItself);
  return way;
}

/** Throws where there are no shared workers, or none that may be had here. */
function byWorker(page: string, way: Switch): Promise<void> {
  return new Promise((done, fail) => {
    // Spelled so that bundlers see it. One of another origin cannot be had: this throws, or `onerror` is told.
    const worker = servedBy === undefined
      ? new SharedWorker(new URL('./worker.js', import.meta.url), { type: 'module', name: GROUP })
      : new SharedWorker(import.meta.url, { type: 'module', name: GROUP });
    const { port } = worker;
    const timer = setTimeout(() => {
      // Nor is it heard later, beside whoever is asked instead.
      port.close();
      fail();
    }, ANSWER_MS);
    worker.onerror = fail;
    const send = (message: FromPage) => port.postMessage(message);
    const remote = new Remote(send);
    port.onmessage = ({ data }: MessageEvent<ToPage | 'ready'>) => {
      if (data !== 'ready') return remote.receive(data);
      clearTimeout(timer);
      tellWhoLooks(send, way, () => remote);
      done();
    };
    port.postMessage({ from: page } satisfies Said);
  });
}

/** Throws where pages cannot agree on one of them. */
async function byLeader(page: string, way: Switch, makeOwn: MakeOwn, byItself: () => void): Promise<void> {
  const channel = new BroadcastChannel(GROUP);
  const say = (said: Said) => channel.postMessage(said);
  const send = (message: FromPage) => say({ from: page, message });
  let remote = new Remote(send);
  let host: Host | undefined;
  navigator.locks.request(LEADER, () => {
    clearTimeout(alone);
    const own = itsOwn();
    const others = new Host((base) => followersAt(base));
    const followersAt = makeOwn({ ...own, isHidden: () => own.isHidden() && !others.isSeen });
    host = others;
    way.use(followersAt);
    say({ leader: page });
    return new Promise(() => {});
  }).catch(byItself);
  const alone = setTimeout(byItself, ANSWER_MS);
  const tell = tellWhoLooks(send, undefined, () => remote);

  channel.onmessage = ({ data }: MessageEvent<Said>) => {
    if ('leader' in data && !host) {
      clearTimeout(alone);
      remote = new Remote(send);
      way.use(() => remote);
      tell();
    } else if ('to' in data && data.to === page) {
      remote.receive(data.message);
    } else if ('from' in data && host) {
      if (data.message) host.receive(data.from, data.message, (message) => say({ to: data.from, message }));
      else host.welcome(data.from, () => say({ leader: page }));
    }
  };
  say({ from: page });
}

/** Tells whether somebody looks at this page; one that is put away follows nothing, and comes back. */
function tellWhoLooks(send: (message: FromPage) => void, way: Switch | undefined, remote: () => Remote): () => void {
  const tell = () => send({ op: 'seen', isHidden: itsOwn().isHidden() });
  document.addEventListener('visibilitychange', tell);
  addEventListener('pagehide', () => send({ op: 'bye' }));
  addEventListener('pageshow', ({ persisted }) => {
    if (!persisted) return;
    way?.use(remote);
    tell();
  });
  way?.use(remote);
  tell();
  return tell;
}
