// One stream of Server-Sent Events, over `fetch`: unlike an `EventSource` it may send fields, sees why it was
// refused, and comes back after an error.
import { refusalOf, type Caller } from '../caller.js';
import { Connection } from '../connection.js';
import { Refused } from '../errors.js';
import { addressOf } from '../links.js';
import { scopeOf, type Scope } from '../scope.js';
import { SseParser, type Block } from './sse-parser.js';
import { FOR_GOOD, judged, Unfit, type Watched } from './transport.js';

/** Relais says `relais.open` at once. Where it has not come by then, somebody on the way collects it. */
const FIRST_MS = 2_500;
/** How often in a row it may break before it says anything. */
const BROKEN_MAX = 2;

/** A stream that has begun to speak, or why there is none. */
export interface Opened {
  /** There was nothing to tell any more: the log is over and read. */
  readonly isOver: boolean;
  readonly refused?: Refused;
  readonly blocks: AsyncIterable<Block>;
}

/** Opens streams, and learns whether they lead through. */
export class Streams {
  /** What the server asked for last before coming back, in milliseconds. */
  retry: number | undefined;
  private broken = 0;

  constructor(private readonly caller: Caller) {}

  /** The events of one task. */
  ofOne(watched: Watched, signal: AbortSignal): Promise<Opened> {
    const url = addressOf(watched.reference, `/events?after=${watched.after}`);
    return this.open(url, watched, watched, signal);
  }

  /** The events of several, from a position of the whole store on. */
  ofMany(watched: readonly Watched[], position: string, signal: AbortSignal): Promise<Opened> {
    const query = new URLSearchParams();
    for (const { reference } of watched) {
      if (reference.ticket) query.append('ticket', reference.ticket);
      else query.append('task', reference.id);
    }
    query.set('after', position);
    const first = watched[0] as Watched;
    return this.open(`${first.reference.base}/v1/events?${query}`, undefined, first, signal);
  }

  /** `probe`: what to ask for in another way, to see whether the server is there at all. */
  private async open(url: string, by: Watched | undefined, probe: Watched, outer: AbortSignal): Promise<Opened> {
    const scope = scopeOf(outer);
    const late = new Error('nothing came for too long');
    const timer = setTimeout(() => scope.end(late), FIRST_MS);
    try {
      const call = { fields: { accept: 'text/event-stream' }, signal: scope.signal, isStream: true };
      const answer = await this.caller.once(url, by?.reference, call);
      if (answer.status === 204) return { isOver: true, blocks: nothing() };
      if (!answer.ok) return { isOver: false, refused: await refusedBy(answer), blocks: nothing() };
      const type = answer.headers.get('content-type') ?? '';
      if (!type.startsWith('text/event-stream') || !answer.body) throw new Unfit(`this is no stream: ${type}`);
      const connection = new Connection(answer, this.caller.settings.surroundings, scope.signal);
      connection.owesSigns = true;
      const first = await connection.read();
      if (connection.failure) throw connection.failure;
      this.broken = 0;
      return { isOver: false, blocks: this.blocks(connection, first, scope) };
    } catch (error) {
      const isAnswer = error instanceof Unfit || error instanceof Refused;
      if (outer.aborted || isAnswer) throw error;
      this.broken += 1;
      // Where it breaks again and again it may be the stream that somebody does not like.
      const isOdd = this.broken >= BROKEN_MAX || scope.signal.reason === late;
      throw isOdd ? await judged(this.caller, probe, error, outer) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  private async *blocks(connection: Connection, first: Uint8Array | undefined, scope: Scope): AsyncGenerator<Block> {
    const parser = new SseParser();
    try {
      for (let piece = first; piece; piece = await connection.read()) {
        for (const block of parser.read(piece)) {
          this.retry = parser.retry;
          yield block;
        }
      }
      if (connection.failure) throw connection.failure;
    } finally {
      connection.close();
      scope.end();
    }
  }
}

/** A refusal that will not pass; others are thrown. */
async function refusedBy(answer: Response): Promise<Refused> {
  const refused = await refusalOf(answer);
  if (FOR_GOOD.includes(answer.status)) return refused;
  // What is neither for good nor for now says that this way of asking is not known there.
  throw refused.problem.retryable || answer.status >= 500 || answer.status === 429 ? refused : new Unfit(refused.message);
}

async function* nothing(): AsyncGenerator<Block> {}
