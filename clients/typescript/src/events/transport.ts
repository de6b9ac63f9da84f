// What all ways of learning what happens to tasks have in common.
import type { Caller, Reference } from '../caller.js';
import { refusalOf } from '../caller.js';
import type { EventPage, TaskEvent } from '../documents.js';
import type { Refused } from '../errors.js';
import { addressOf } from '../links.js';

/** A task that is followed, and the `seq` behind which its events are wanted. */
export interface Watched {
  readonly reference: Reference;
  readonly after: number;
}

/** What a transport has to say. */
export type Told =
  /** The connection stands, and the server speaks on it. */
  | { readonly kind: 'open' }
  /** Something happened. Events of one task come in their order; one may come twice. */
  | { readonly kind: 'event'; readonly event: TaskEvent }
  /** The log of a task is over, and all of it was told. */
  | { readonly kind: 'over'; readonly task: string }
  /** A task cannot be followed, or not by this right. */
  | { readonly kind: 'refused'; readonly reference: Reference; readonly error: Refused }
  /** The server asks not to come back sooner. */
  | { readonly kind: 'busy'; readonly milliseconds: number };

/** One way of learning what happens: an encoding of the one log. */
export interface Transport {
  readonly name: string;
  /**
   * Tells what happens to these tasks, until the connection ends.
   *
   * Throws `Unfit` where it learns that this way does not lead through; whatever else it throws is a
   * failure that may pass.
   */
  follow(watched: readonly Watched[], signal: AbortSignal): AsyncIterable<Told>;
}

/** This way does not lead through, whereas another may: no error for anybody to see. */
export class Unfit extends Error {}

/**
 * Events that another one follows in any case. Only spares a question: after any other event the server
 * is asked whether the log is over, so that a name that is not here is no mistake.
 */
const NOT_THE_LAST = ['accepted', 'started', 'progressed', 'output', 'deferred', 'attempt_failed', 'requeued'];

/** Whether an event may be the last of its log. */
export function mayBeLast(event: TaskEvent): boolean {
  return !NOT_THE_LAST.includes(event.type);
}

/** The refusals that are about a task or the right to it, and will not pass. */
export const FOR_GOOD = [400, 401, 403, 404, 410];

/**
 * What it means that a way breaks: where plain calls come back it is `Unfit`, else it is no more than a failure,
 * as of a network that is away for a moment.
 */
export async function judged(caller: Caller, probe: Watched, error: unknown, signal: AbortSignal): Promise<unknown> {
  return readPage(caller, probe, signal).then(() => new Unfit(String(error)), () => error);
}

/** A page of a task's log, or why it is refused. `wait`: for how many seconds an empty one is held back. */
export async function readPage(
  caller: Caller,
  { reference, after }: Watched,
  signal: AbortSignal,
  wait?: number,
): Promise<{ page?: EventPage; refused?: Refused; answer: Response }> {
  const call = { signal, ...(wait && { held: wait }) };
  const answer = await caller.once(addressOf(reference, `/events?after=${after}`), reference, call);
  if (answer.ok) return { page: (await answer.json()) as EventPage, answer };
  return { refused: await refusedFor(answer), answer };
}

/** Why a task is refused for good; what may pass is thrown. */
export async function refusedFor(answer: Response): Promise<Refused> {
  const refused = await refusalOf(answer);
  if (!FOR_GOOD.includes(answer.status)) throw refused;
  return refused;
}

/** All that has happened to a task so far, behind `watched.after`. */
export async function* catchUp(caller: Caller, watched: Watched, signal: AbortSignal): AsyncGenerator<Told, number> {
  let { after } = watched;
  for (;;) {
    const { page, refused } = await readPage(caller, { ...watched, after }, signal);
    if (!page) {
      yield { kind: 'refused', reference: watched.reference, error: refused as Refused };
      return after;
    }
    for (const event of page.events) yield { kind: 'event', event };
    after = page.next;
    if (page.terminal) yield { kind: 'over', task: watched.reference.id };
    if (page.terminal || page.events.length === 0) return after;
  }
}
