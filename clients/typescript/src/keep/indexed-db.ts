// Tasks in the browser's database.
import type { Kept, Store } from './keep.js';

const DATABASE = 'relais';
const TASKS = 'tasks';

/** The store of this origin; opened when it is first asked for. */
export function inBrowser(): Store {
  let opened: Promise<IDBDatabase> | undefined;
  const tasks = async (mode: IDBTransactionMode) => {
    opened ??= open();
    return (await opened).transaction(TASKS, mode).objectStore(TASKS);
  };
  return {
    all: async () => ended<Kept[]>((await tasks('readonly')).getAll()),
    put: async (kept) => void (await ended((await tasks('readwrite')).put(kept))),
    async update(id, change) {
      // One transaction, so that of all pages that change one each sees what the other has made.
      const store = await tasks('readwrite');
      const old = await ended<Kept | undefined>(store.get(id));
      const next = old && change(old);
      if (next) await ended(store.put(next));
      return !!next;
    },
    remove: async (id) => void (await ended((await tasks('readwrite')).delete(id))),
  };
}

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(TASKS, { keyPath: 'id' });
  return ended(request);
}

function ended<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}
