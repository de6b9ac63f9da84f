// The tasks of this browser, kept so that a reload, another tab or tomorrow goes on.
import type { Reference } from '../caller.js';
import { inBrowser } from './indexed-db.js';

/** How many tasks are kept; a new one takes the place of the oldest. */
const KEPT_MAX = 100;

/** A task that is kept. Whoever may read this may follow it: it has the ticket. */
export interface Kept extends Reference {
  /** What the program calls it, if it does. The newest of a name counts. */
  readonly name?: string;
  /** When it was kept, in milliseconds since 1970. */
  readonly at: number;
  /** Whether a page has told its reader that it is over. */
  readonly isTold?: boolean;
}

/** Where tasks are kept. */
export interface Store {
  all(): Promise<Kept[]>;
  put(kept: Kept): Promise<unknown>;
  /** Puts what `change` makes of the one that is there, unless there is none or it makes nothing: whether it was put. */
  update(id: string, change: (kept: Kept) => Kept | undefined): Promise<boolean>;
  remove(id: string): Promise<unknown>;
}

/** In the database of the browser, or where there is none, or none that may be used, in memory. Opened when it is asked for. */
export function storeOf(): () => Promise<Store> {
  let store: Promise<Store> | undefined;
  return () => (store ??= inBrowser(() => (store = undefined)).catch(inMemory));
}

function inMemory(): Store {
  const kept = new Map<string, Kept>();
  return {
    all: async () => [...kept.values()],
    put: async (one) => kept.set(one.id, one),
    update: async (id, change) => {
      const old = kept.get(id);
      const next = old && change(old);
      if (next) kept.set(id, next);
      return !!next;
    },
    remove: async (id) => kept.delete(id),
  };
}

/** The tasks that are kept, for all pages of an origin. */
export class Keep {
  private readonly told = new Set<() => void>();
  private readonly channel = channelOf('relais.kept');

  constructor(private readonly store: () => Promise<Store>) {
    this.channel?.addEventListener('message', () => this.told.forEach((changed) => changed()));
  }

  /** The newest first. What cannot be read is as if it were not there: a browser may forbid it. */
  async all(): Promise<Kept[]> {
    const kept = await this.do((store) => store.all(), [] as Kept[]);
    return kept.sort((one, other) => other.at - one.at || (one.id < other.id ? 1 : -1));
  }

  /** Keeps a task. Where that is not possible it is followed all the same, as long as the page is there. */
  async put(kept: Kept): Promise<void> {
    await this.do((store) => store.put(kept));
    for (const { id } of (await this.all()).slice(KEPT_MAX)) await this.do((store) => store.remove(id));
    this.changed();
  }

  /** Another run of a task has begun, by this right: if it is kept, it is kept as new. */
  async renew(reference: Reference): Promise<void> {
    const renewed = (kept: Kept): Kept => ({ ...kept, ...reference, at: Date.now(), isTold: false });
    if (await this.do((store) => store.update(reference.id, renewed), false)) this.changed();
  }

  /** Whether nobody has told yet that this one is over; from now on somebody has. */
  claim(id: string): Promise<boolean> {
    return this.do((store) => store.update(id, (kept) => (kept.isTold ? undefined : { ...kept, isTold: true })), false);
  }

  async remove(id: string): Promise<void> {
    await this.do((store) => store.remove(id));
    this.changed();
  }

  /** Calls `changed` when a task is kept or removed, in whatever page, until what is returned is called. */
  watch(changed: () => void): () => void {
    this.told.add(changed);
    return () => this.told.delete(changed);
  }

  /** What a store gives, or `instead` where it does not do it: a browser may have no room, or be told to forget. */
  private do<T, Instead = undefined>(work: (store: Store) => Promise<T>, instead?: Instead): Promise<T | Instead> {
    return this.store().then(work).catch(() => instead as Instead);
  }

  private changed(): void {
    this.told.forEach((changed) => changed());
    this.channel?.postMessage('changed');
  }
}

/** A channel that keeps no program of Node from ending; none where a browser has or allows none. */
function channelOf(name: string): BroadcastChannel | undefined {
  try {
    const channel = new BroadcastChannel(name);
    (channel as { unref?: () => void }).unref?.();
    return channel;
  } catch {
    return undefined;
  }
}
