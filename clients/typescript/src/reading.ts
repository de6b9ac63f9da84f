// Reading one answer of a task to its end, through cuts.
import { isOutcome, isPassing, problemOf, refusalOf, retryAfterOf, type Caller, type Reference } from './caller.js';
import { Connection } from './connection.js';
import { AnswerReplaced, TaskFailed } from './errors.js';
import { addressOf, referenceOf } from './links.js';
import { pace, Patience } from './patience.js';
import { scopeOf, type Scope } from './scope.js';
import { Signs } from './signs.js';
import { pause } from './surroundings.js';

/** How long Relais is asked to hold a call back for an answer, seconds; below what proxies wait for. */
const HELD_S = 50;
/** A call that was answered sooner was not held back. */
const AT_ONCE_MS = 1_000;
/** Asks for a sign of life after 15 seconds in which an event stream is silent. */
const SIGNS = 'keepalive=15';

/** What is wanted, as the query says it: the answer once it is committed, while it comes, or only if it still comes. */
export type Wish = '' | 'live' | 'live=only';

/** One reader of one task's answer. */
export class Reading {
  private readonly scope: Scope;
  private readonly patience: Patience;
  /** The answers that this has asked for itself. */
  private readonly asked = new WeakSet<Response>();

  /** `restart` reads again what took the place of the answer that was begun. */
  constructor(
    private readonly caller: Caller,
    private readonly reference: Reference,
    private readonly wish: Wish,
    signal: AbortSignal | undefined,
    private readonly restart: () => unknown,
  ) {
    this.scope = scopeOf(signal);
    this.patience = new Patience(caller.settings.surroundings, caller.settings.patience);
  }

  /** Stops reading. The task goes on. */
  stop(): void {
    this.scope.end();
  }

  /**
   * The head of the answer, once it stands; of a task that is over its outcome, whatever its status.
   *
   * Where only an answer that still comes is wanted, and it is committed, this is a 204.
   */
  async open(): Promise<Response> {
    try {
      const answer = await this.ask(this.wish && `?${this.wish}&${SIGNS}`);
      if (this.isAnswer(answer) || answer.status === 204) return answer;
      throw await refusalOf(answer);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** Whether an answer is that of where the task's own has led to: there is no more of it than came. */
  isElsewhere(answer: Response): boolean {
    return answer.redirected && referenceOf(answer.url)?.id !== this.reference.id;
  }

  private isAnswer(answer: Response): boolean {
    return this.isElsewhere(answer) || isOutcome(answer);
  }

  /**
   * The bytes of the answer that `first` began, each once.
   *
   * After a cut it is read on behind the bytes that were given. One with a content coding, whose stored
   * bytes nobody sees here, is read again from its start, and what was given of it is dropped.
   */
  async *pieces(first: Response, isHeadShown: boolean): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const isElsewhere = this.isElsewhere(first);
    const version = isElsewhere ? null : first.headers.get('relais-result-version');
    const isWhole = !version || isCoded(first);
    const signs = isWhole || !isEventStream(first) ? undefined : new Signs();
    let given = 0;
    let connection: Response | undefined = first;
    try {
      while (connection) {
        const reader = new Connection(connection, this.caller.settings.surroundings, this.scope.signal);
        const before = given;
        let [read, dropped] = [0, isWhole ? given : 0];
        try {
          for (let piece = await reader.read(); piece; piece = await reader.read()) {
            const all = signs ? signs.pass(piece) : piece;
            // Of one that was streamed through nobody asked for signs of life.
            reader.owesSigns = !!signs?.isDue && this.asked.has(connection);
            const fresh = all.subarray(Math.min(dropped, all.length));
            read += all.length;
            dropped -= all.length - fresh.length;
            if (fresh.length === 0) continue;
            given += fresh.length;
            this.patience.gotOn();
            yield fresh;
          }
        } finally {
          reader.close();
        }
        if (reader.failure) {
          if (isElsewhere) throw reader.failure;
          signs?.cut();
          await this.patience.afterFailure(reader.failure, undefined, this.scope.signal);
        } else {
          const rest = signs?.rest();
          if (rest?.length) yield rest;
          const isTwice = connection !== first && given === before;
          if (!isWhole || isTwice || isElsewhere || isEndSure(connection, read)) return;
        }
        connection = await this.again(version, isWhole ? 0 : given);
      }
      yield* this.another(first, given > 0, isHeadShown);
    } finally {
      this.stop();
    }
  }

  /** The rest of the answer of this version; `undefined` where it is not there any more. */
  private async again(version: string | null, after: number): Promise<Response | undefined> {
    const answer = await this.ask(version ? `?live&${SIGNS}&after=${after}&attempt=${version}` : '');
    if (answer.status === 412) return void (await answer.body?.cancel());
    if (!isOutcome(answer)) throw await refusalOf(answer);
    if (answer.headers.get('relais-result-version') === version) return answer;
    // What broke off will never be whole: the task has another end.
    throw new TaskFailed(this.reference.id, answer, await problemOf(answer));
  }

  /** Begins anew by itself where nothing was shown of the answer before. */
  private async *another(first: Response, isBegun: boolean, isHeadShown: boolean) {
    const replaced = () => new AnswerReplaced(this.reference.id, this.restart);
    if (isBegun) throw replaced();
    const next = await this.open();
    const isAsShown = (name: string) => next.headers.get(name) === first.headers.get(name);
    const isSame = next.status === first.status && isAsShown('content-type') && isAsShown('content-length');
    if (isHeadShown && !isSame) throw replaced();
    yield* this.pieces(next, isHeadShown);
  }

  /** Asks for the result until it is there. */
  private async ask(query: string): Promise<Response> {
    const { surroundings } = this.caller.settings;
    const { signal } = this.scope;
    const call = { held: HELD_S, signal, isResult: true, isStream: true };
    const isLater = (answer: Response) => !this.isElsewhere(answer) && isPassing(answer);
    for (;;) {
      const began = surroundings.now();
      const url = addressOf(this.reference, `/result${query}`);
      const answer = await this.caller.persist(url, this.reference, this.patience, call, isLater);
      this.asked.add(answer);
      if (answer.status !== 202 || this.isAnswer(answer)) return answer;
      this.patience.gotOn();
      await answer.body?.cancel();
      // A server that stops, or a proxy that takes the preference away, holds nothing back.
      const wasHeld = surroundings.now() - began >= AT_ONCE_MS;
      if (!wasHeld) await pause(pace(retryAfterOf(answer) ?? AT_ONCE_MS, surroundings), surroundings, signal);
    }
  }
}

/** A page of another origin sees the coding wherever it sees the version: Relais lets it read both, or neither. */
function isCoded(answer: Response): boolean {
  return answer.headers.has('content-encoding');
}

/**
 * Whether a coded answer that ended in order is whole. Firefox (153) takes one with a length for whole though its
 * connection was closed in the middle; the length counts coded bytes, which a page is not told. There it is read
 * once more, unless its bytes are as many, so that it was not coded.
 */
function isEndSure(answer: Response, read: number): boolean {
  const length = answer.headers.get('content-length');
  return length === null || Number(length) === read || !/\bFirefox\//.test(globalThis.navigator?.userAgent ?? '');
}

function isEventStream(answer: Response): boolean {
  return /^text\/event-stream\s*(;|$)/i.test(answer.headers.get('content-type') ?? '') && !answer.headers.has('content-length');
}
