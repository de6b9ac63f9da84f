// Aborting several things at once, without what only the newest browsers have.

/** Something that ends with a signal, or by itself. Nothing of it stays behind on the signal. */
export interface Scope {
  readonly signal: AbortSignal;
  /** Ends it; safe to call again. */
  end(reason?: unknown): void;
  /** What was begun within it goes on, whatever becomes of the outer signal. */
  leave(): void;
}

/** Opens a scope within another signal. */
export function scopeOf(outer: AbortSignal | undefined): Scope {
  const controller = new AbortController();
  const follow = () => end(outer?.reason);
  const leave = () => outer?.removeEventListener('abort', follow);
  const end = (reason?: unknown) => {
    leave();
    if (!controller.signal.aborted) controller.abort(reason);
  };
  if (outer?.aborted) end(outer.reason);
  else outer?.addEventListener('abort', follow);
  return { signal: controller.signal, end, leave };
}
