// What surrounds the client: time, chance, whether there is a network, whether anybody looks. A test gives its own.

/** Time and chance, and what a browser knows of its network and of who looks at it. */
export interface Surroundings {
  /** Whether there may be a network. Only a "no" means something. */
  isOnline(): boolean;
  /** Whether nobody sees the page, so that slower is good enough. */
  isHidden(): boolean;
  /** Calls `changed` when one of the two changes, until what is returned is called. */
  watch(changed: () => void): () => void;
  /** A number from 0 to below 1. */
  chance(): number;
  /** Milliseconds since some moment, for measuring. */
  now(): number;
}

/** Those of a page, of a worker, or of Node. */
export function itsOwn(): Surroundings {
  const page = typeof document === 'undefined' ? undefined : document;
  return {
    isOnline: () => globalThis.navigator?.onLine !== false,
    isHidden: () => page?.visibilityState === 'hidden',
    watch(changed) {
      const browser = typeof addEventListener === 'function' ? globalThis : undefined;
      const told: [EventTarget | undefined, string][] = [
        [browser, 'online'],
        [browser, 'offline'],
        [page, 'visibilitychange'],
      ];
      for (const [target, name] of told) target?.addEventListener(name, changed);
      return () => {
        for (const [target, name] of told) target?.removeEventListener(name, changed);
      };
    },
    chance: () => Math.random(),
    now: () => performance.now(),
  };
}

/**
 * Calls `back` when the network is there again, until what is returned is called. Connections of the network
 * before are dead then, and nobody says so.
 */
export function onBack(surroundings: Surroundings, back: () => void): () => void {
  let wasOnline = surroundings.isOnline();
  return surroundings.watch(() => {
    const isBack = !wasOnline && surroundings.isOnline();
    wasOnline = surroundings.isOnline();
    if (isBack) back();
  });
}

/**
 * Waits for so many milliseconds, or less where `isEnough` says so when the surroundings change.
 *
 * Throws the signal's reason once it is aborted.
 */
export function pause(
  milliseconds: number,
  surroundings: Surroundings,
  signal: AbortSignal | undefined,
  isEnough: () => boolean = () => false,
): Promise<void> {
  return new Promise((done, fail) => {
    if (signal?.aborted) return fail(signal.reason);
    const end = (ended: () => void) => {
      clearTimeout(timer);
      unwatch();
      signal?.removeEventListener('abort', abort);
      ended();
    };
    const abort = () => end(() => fail(signal?.reason));
    const timer = setTimeout(() => end(done), milliseconds);
    const unwatch = surroundings.watch(() => isEnough() && end(done));
    signal?.addEventListener('abort', abort);
  });
}
