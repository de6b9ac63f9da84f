// Tasks in the browser's database.
import type { Kept, Store } from './keep.js';

const DATABASE = 'relais';
const TASKS = 'tasks';

/**
 * Opens the store of this origin. Throws where there is none, or none that may be used. `onClosed` is called once it
 * is of no use any more: the browser has closed it, or a later release wants it to be made anew.
 */
export async function inBrowser(onClosed: () => void): Promise<Store> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(TASKS, { keyPath: 'id' });
  const database = await ended(request);
  database.onclose = database.onversionchange = () => {
    database.close();
    onClosed();
  };
  const tasks = (mode: IDBTransactionMode) => database.transaction(TASKS, mode).objectStore(TASKS);
  return {
    all: () => ended<Kept[]>(tasks('readonly').getAll()),
    put: (kept) => ended(tasks('readwrite').put(kept)),
    async update(id, change) {
      // One transaction, so that of all pages that change one each sees what the other has made.
      const store = tasks('readwrite');
      const old = await ended<Kept | undefined>(store.get(id));
      const next = old && change(old);
      if (next) await ended(store.put(next));
      return !!next;
    },
    remove: (id) => ended(tasks('readwrite').delete(id)),
  };
}

function ended<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}
