// The transport that is held back: one call after the other, each answered once something has happened.
import { retryAfterOf, type Caller } from '../caller.js';
import { Refused } from '../errors.js';
import { scopeOf } from '../scope.js';
import { pause } from '../surroundings.js';
import { merge } from './merge.js';
import { readPage, Unfit, type Told, type Transport, type Watched } from './transport.js';

/** Calls that are held back at once: browsers allow six connections a host, and the page needs some. */
const AT_ONCE = 3;
/** For how long a call is held back for one task, seconds; several that share a call share it. */
const HELD_S = 25;
/** Empty answers that came at once, in a row: nobody holds anything back here. */
const EMPTY_MAX = 3;
const AT_ONCE_MS = 500;
/** What proxies say when a call was held back for too long. */
const CUT_OFF = [408, 502, 504];

/** Long-polling of each task's log. */
export class LongPoll implements Transport {
  readonly name = 'long-poll';
  private held = HELD_S;
  private empty = 0;

  constructor(private readonly caller: Caller) {}

  async *follow(watched: readonly Watched[], outer: AbortSignal): AsyncGenerator<Told> {
    const scope = scopeOf(outer);
    const turns: Watched[][] = Array.from({ length: Math.min(AT_ONCE, watched.length) }, () => []);
    watched.forEach((one, index) => turns[index % turns.length]?.push(one));
    try {
      yield* merge(turns.map((tasks) => this.inTurns(tasks, scope.signal)));
    } finally {
      scope.end();
    }
  }

  private async *inTurns(tasks: Watched[], signal: AbortSignal): AsyncGenerator<Told> {
    const open = new Map(tasks.map((one) => [one.reference.id, one]));
    while (open.size > 0) {
      for (const [task, one] of open) {
        const { page, refused } = await this.read(one, Math.ceil(this.held / open.size), signal);
        yield { kind: 'open' };
        for (const event of page?.events ?? []) yield { kind: 'event', event };
        if (refused) yield { kind: 'refused', reference: one.reference, error: refused };
        if (page?.terminal) yield { kind: 'over', task };
        if (refused || page?.terminal) open.delete(task);
        else open.set(task, { ...one, after: page?.next ?? one.after });
      }
    }
  }

  private async read(one: Watched, wait: number, signal: AbortSignal): ReturnType<typeof readPage> {
    const { surroundings } = this.caller.settings;
    const began = surroundings.now();
    try {
      const read = await readPage(this.caller, one, signal, wait);
      const isEmpty = read.page?.events.length === 0 && !read.page.terminal;
      this.empty = isEmpty && surroundings.now() - began < AT_ONCE_MS ? this.empty + 1 : 0;
      if (this.empty >= EMPTY_MAX) throw new Unfit('calls are not held back');
      if (this.empty > 0) await pause(retryAfterOf(read.answer) ?? AT_ONCE_MS, surroundings, signal);
      return read;
    } catch (error) {
      if (error instanceof Refused && CUT_OFF.includes(error.problem.status) && surroundings.now() - began > AT_ONCE_MS) {
        this.held = Math.floor(this.held / 2);
        if (this.held < 1) throw new Unfit('calls are cut off');
      }
      throw error;
    }
  }
}
