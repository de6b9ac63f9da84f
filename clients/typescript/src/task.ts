// One task, as a program sees it.
import { problemOf, type Caller, type Reference } from './caller.js';
import type { AcceptedDocument, Progress, RetryFrom, TaskDocument, TaskEvent } from './documents.js';
import { TaskFailed } from './errors.js';
import { eventsOf, type Followers } from './events/followers.js';
import { addressOf, linkOf } from './links.js';
import { Patience } from './patience.js';
import { Reading, type Wish } from './reading.js';
import { responseOf } from './response.js';

/** Ends a call, or a wait, before it ends by itself. The task goes on. */
export interface Stoppable {
  readonly signal?: AbortSignal;
}

/** A task: reads it, waits for it, reads its answer, calls it off. */
export class Task {
  constructor(
    private readonly caller: Caller,
    private readonly followers: Followers,
    private current: Reference,
    /** Is told what it is followed by from now on. */
    private readonly renewed: (reference: Reference) => Promise<void>,
  ) {}

  /** Where it is, and by what right. */
  get reference(): Reference {
    return this.current;
  }

  /** The public id. It is no secret. */
  get id(): string {
    return this.reference.id;
  }

  /** The ticket by which it is followed, if it is by one. Whoever has it may follow the task. */
  get ticket(): string | undefined {
    return this.reference.ticket;
  }

  /** Its address with its ticket, to be opened elsewhere: in a browser it is the page of the task. */
  get link(): string {
    return linkOf(this.reference);
  }

  /** The task as it is now. */
  async read(options: Stoppable = {}): Promise<TaskDocument> {
    return this.call('', options);
  }

  /**
   * The answer, once it is committed: as `fetch` would give it, whatever its status. A task that has no
   * answer, because it failed or was canceled, is answered with a problem (`application/problem+json`).
   *
   * Neither lost connections nor restarts of the server end the wait, and the body is read on after a cut.
   */
  async result(options: Stoppable = {}): Promise<Response> {
    const reading = this.reading('', options.signal, () => this.result(options));
    return responseOf(reading, await reading.open(), addressOf(this.reference, '/result'));
  }

  /**
   * The bytes of the answer while they come, from the first on; each once, through cuts, reloads of the
   * server and whatever lies between. Of a task that is over they are those of its committed answer, or with
   * `only` none.
   *
   * Throws `TaskFailed` where there is no good answer, and `AnswerReplaced`, whose `restart()` reads anew,
   * where another attempt has begun after some bytes were given.
   */
  async *live(options: Stoppable & { readonly only?: boolean } = {}): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const reading = this.reading(options.only ? 'live=only' : 'live', options.signal, () => this.live(options));
    const first = await reading.open();
    if (first.ok) return yield* reading.pieces(first, false);
    const response = responseOf(reading, first, addressOf(this.reference, '/result'));
    throw new TaskFailed(this.id, response, await problemOf(response));
  }

  /** What happens to it, in its order and each once, until its log is over. `after`: the last `seq` that was seen. */
  events(options: Stoppable & { readonly after?: number } = {}): AsyncGenerator<TaskEvent, void, undefined> {
    return eventsOf(this.followers, this.reference, options.after ?? 0, options.signal);
  }

  /** The task as it is now, and anew each time that something happens to it, until it is over. */
  async *follow(options: Stoppable = {}): AsyncGenerator<TaskDocument, void, undefined> {
    let now = await this.read(options);
    yield now;
    if (now.terminal) return;
    for await (const { seq, type, data } of this.events({ ...options, after: now.version })) {
      // A document may be ahead of the events.
      if (seq <= now.version) continue;
      // Progress comes often, and all that is told of it is here.
      const isProgress = type === 'progressed';
      now = isProgress ? { ...now, version: seq, progress: (data ?? {}) as Progress } : await this.read(options);
      yield now;
      if (now.terminal) return;
    }
  }

  /** How far it has come, each time that this changes, until it is over. */
  async *progress(options: Stoppable = {}): AsyncGenerator<Progress, void, undefined> {
    for await (const { type, data } of this.events(options)) {
      if (type === 'progressed') yield (data ?? {}) as Progress;
    }
  }

  /** Calls it off. Answers with what became of it: one that is over stays as it ended. */
  async cancel(options: Stoppable = {}): Promise<TaskDocument> {
    return this.call('/cancel', { method: 'POST', signal: options.signal });
  }

  /**
   * Begins another run of a task that failed or was canceled, at its checkpoint unless `from` is `start`.
   * Then it is followed by the ticket that this hands out. It is said again only while the run is the one before: a
   * call whose answer was lost may have begun another, which may be over by now.
   */
  async retry(options: Stoppable & { readonly from?: RetryFrom } = {}): Promise<TaskDocument> {
    const { from, signal } = options;
    const { run } = await this.read(options);
    const instead = async () => {
      const now = await this.caller.once(addressOf(this.reference), this.reference, { signal });
      return now.ok && (await this.caller.document<TaskDocument>(now.clone())).run === run ? undefined : now;
    };
    const call = { method: 'POST', body: JSON.stringify({ from }), signal, instead };
    const task = await this.call<AcceptedDocument>('/retry', call);
    if (task.ticket) this.current = { ...this.reference, ticket: task.ticket };
    await this.renewed(this.reference);
    return task;
  }

  private reading(wish: Wish, signal: AbortSignal | undefined, restart: () => unknown): Reading {
    return new Reading(this.caller, this.reference, wish, signal, restart);
  }

  private async call<Document = TaskDocument>(more: string, call: Parameters<Caller['persist']>[3]): Promise<Document> {
    const { surroundings, patience } = this.caller.settings;
    const url = addressOf(this.reference, more);
    const answer = await this.caller.persist(url, this.reference, new Patience(surroundings, patience), call);
    return this.caller.document(answer);
  }
}
