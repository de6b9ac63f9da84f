// Tasks in the browser's database.
import type { Kept, Store } from './keep.js';

const DATABASE = 'relais';
const TASKS = 'tasks';

/** The store of this origin; opened when it is first asked for. */
export function inBrowser(): Store {
  let opened: Promise<IDBDatabase> | undefined;
  const run = async <T>(mode: IDBTransactionMode, make: (tasks: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    opened ??= open();
    const database = await opened;
    return ended(make(database.transaction(TASKS, mode).objectStore(TASKS)));
  };
  return {
    all: () => run<Kept[]>('readonly', (tasks) => tasks.getAll()),
    put: async (kept) => void (await run('readwrite', (tasks) => tasks.put(kept))),
    remove: async (id) => void (await run('readwrite', (tasks) => tasks.delete(id))),
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
