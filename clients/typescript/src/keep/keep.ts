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
  put(kept: Kept): Promise<void>;
  /** Puts what `change` makes of the one that is there, unless there is none or it makes nothing: whether it was put. */
  update(id: string, change: (kept: Kept) => Kept | undefined): Promise<boolean>;
  remove(id: string): Promise<void>;
}

/** In the database of the browser, or where there is none in memory. */
export function storeOf(): Store {
  return typeof indexedDB === 'undefined' ? inMemory() : inBrowser();
}

function inMemory(): Store {
  const kept = new Map<string, Kept>();
  return {
    all: async () => [...kept.values()],
    put: async (one) => void kept.set(one.id, one),
    update: async (id, change) => {
      const old = kept.get(id);
      const next = old && change(old);
      if (next) kept.set(id, next);
      return !!next;
    },
    remove: async (id) => void kept.delete(id),
  };
}

/** The tasks that are kept, for all pages of an origin. */
export class Keep {
  private readonly told = new Set<() => void>();
  private readonly channel = typeof BroadcastChannel === 'undefined' ? undefined : channelOf('relais.kept');

  constructor(private readonly store: Store) {
    this.channel?.addEventListener('message', () => this.told.forEach((changed) => changed()));
  }

  /** The newest first. What cannot be read is as if it were not there: a browser may forbid it. */
  async all(): Promise<Kept[]> {
    const kept = await this.store.all().catch(() => []);
    return kept.sort((one, other) => other.at - one.at || (one.id < other.id ? 1 : -1));
  }

  /** Keeps a task. Where that is not possible it is followed all the same, as long as the page is there. */
  async put(kept: Kept): Promise<void> {
    try {
      await this.store.put(kept);
      const rest = (await this.all()).slice(KEPT_MAX);
      await Promise.all(rest.map(({ id }) => this.store.remove(id)));
    } catch {
      return;
    }
    this.changed();
  }

  /** Another run of a task has begun, by this right: if it is kept, it is kept as new. */
  async renew(reference: Reference): Promise<void> {
    const renewed = (kept: Kept): Kept => ({ ...kept, ...reference, at: Date.now(), isTold: false });
    if (await this.store.update(reference.id, renewed).catch(() => false)) this.changed();
  }

  /** Whether nobody has told yet that this one is over; from now on somebody has. */
  claim(id: string): Promise<boolean> {
    return this.store.update(id, (kept) => (kept.isTold ? undefined : { ...kept, isTold: true })).catch(() => false);
  }

  async remove(id: string): Promise<void> {
    await this.store.remove(id).catch(() => {});
    this.changed();
  }

  /** Calls `changed` when a task is kept or removed, in whatever page, until what is returned is called. */
  watch(changed: () => void): () => void {
    this.told.add(changed);
    return () => this.told.delete(changed);
  }

  private changed(): void {
    this.told.forEach((changed) => changed());
    this.channel?.postMessage('changed');
  }
}

/** A channel that keeps no program of Node from ending. */
function channelOf(name: string): BroadcastChannel {
  const channel = new BroadcastChannel(name);
  (channel as { unref?: () => void }).unref?.();
  return channel;
}
