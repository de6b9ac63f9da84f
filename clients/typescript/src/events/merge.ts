// Several sources told as one.

/** What all sources tell, as it comes. Ends with the last of them, and throws with the first that does. */
export async function* merge<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<T, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const next = (index: number) =>
    (iterators[index] as AsyncIterator<T>).next().then((result) => ({ index, result }));
  const pending = new Map(iterators.map((_, index) => [index, next(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(index);
        continue;
      }
      yield result.value;
      pending.set(index, next(index));
    }
  } finally {
    // What they still wait for is ended by whoever has their signal.
    for (const [index, waiting] of pending) {
      waiting.catch(() => {});
      iterators[index]?.return?.()?.catch(() => {});
    }
  }
}
