// Who follows what: all that one client follows goes over one connection.
import type { Reference } from '../caller.js';
import type { TaskEvent } from '../documents.js';

/** What a follower of one task is told. After `over` or `failed` nothing comes. */
export interface Listener {
  event(event: TaskEvent): void;
  /** The log is over, and all of it was told. */
  over(): void;
  failed(error: unknown): void;
}

/** Tells what happens to tasks. */
export interface Followers {
  /** Tells what happens to a task behind `after`, until what is returned is called. */
  follow(reference: Reference, after: number, listener: Listener): () => void;
}

/**
 * The events of one task, one after the other, from a source that does not wait.
 *
 * What is not taken yet is kept: a log has at most 10,000 events.
 */
export async function* eventsOf(
  followers: Followers,
  reference: Reference,
  after: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<TaskEvent, void, undefined> {
  const waiting: TaskEvent[] = [];
  let end: { error?: unknown } | undefined;
  let wake = () => {};
  const ended = (told: { error?: unknown }) => {
    end ??= told;
    wake();
  };
  const abort = () => ended({ error: signal?.reason });
  if (signal?.aborted) throw signal.reason;
  signal?.addEventListener('abort', abort);
  const stop = followers.follow(reference, after, {
    event: (event) => {
      waiting.push(event);
      wake();
    },
    over: () => ended({}),
    failed: (error) => ended({ error }),
  });
  try {
    for (;;) {
      const event = waiting.shift();
      if (event) yield event;
      else if (end && 'error' in end) throw end.error;
      else if (end) return;
      else await new Promise<void>((done) => (wake = done));
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    stop();
  }
}
