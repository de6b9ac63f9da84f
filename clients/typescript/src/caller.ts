// One call to Relais: its credentials, what came of it, and asking again.
import type { Problem } from './documents.js';
import { Refused } from './errors.js';
import { withTicket } from './links.js';
import type { Patience } from './patience.js';
import { scopeOf } from './scope.js';
import { onBack, type Surroundings } from './surroundings.js';

/** Where a task is, and by what right. */
export interface Reference {
  /** The public id of the task. */
  readonly id: string;
  /** What comes before `/v1/…` in its addresses, without a slash at the end. */
  readonly base: string;
  /** Its ticket; without one the client's key counts, or what the browser sends by itself. */
  readonly ticket?: string;
  /** Fields that a task demands which is bound to its caller. */
  readonly fields?: Readonly<Record<string, string>>;
}

/** What all calls of one client share. */
export interface Settings {
  /** Where Relais is, without a slash at the end. */
  readonly base: string;
  readonly apiKey?: string;
  readonly fetch: typeof fetch;
  readonly surroundings: Surroundings;
  /** For how many milliseconds nobody may answer. */
  readonly patience: number;
}

/** What differs from a plain GET. */
export interface Call {
  readonly method?: string;
  readonly fields?: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
  /** For how many seconds it may be held back for news. */
  readonly held?: number;
  /** Whether its answer is that of a service, which may lead elsewhere: no ticket and no key goes along. */
  readonly isResult?: boolean;
  /** Whether a good answer is read bit by bit, by whoever calls. What is not has come whole when the call is over. */
  readonly isStream?: boolean;
  /** Is asked before it is said again: an answer that makes that needless. */
  readonly instead?: () => Promise<Response | undefined>;
}

/** A call that is not answered so long after it was to is lost, as where the network has changed. */
const ANSWER_MS = 30_000;

const JSON_TYPE = 'application/json';

/** What may pass by itself: the load of a server, one that is starting anew, a proxy that finds nobody. */
const LATER = [408, 425, 429, 500, 502, 503, 504];

/** Makes calls with a client's credentials. */
export class Caller {
  constructor(readonly settings: Settings) {}

  /** The API key, for addresses of the Relais that it is of, and for nobody else. */
  keyFor(url: string): string | undefined {
    const { base, apiKey } = this.settings;
    return url.startsWith(`${base}/`) ? apiKey : undefined;
  }

  /** Calls once. Whatever the status, the answer is returned; what is thrown is that there is none. */
  async once(url: string, reference: Reference | undefined, call: Call = {}): Promise<Response> {
    const { method = 'GET', body, held = 0, isResult } = call;
    const ticket = reference?.ticket;
    const key = isResult && ticket ? undefined : this.keyFor(url);
    // A result is told in what its maker has it.
    const headers: Record<string, string> = { accept: isResult ? '*/*' : JSON_TYPE, ...reference?.fields, ...call.fields };
    if (body) headers['content-type'] = JSON_TYPE;
    if (held) headers['prefer'] = `wait=${held}`;
    if (key) headers['relais-api-key'] = key;
    if (ticket && !isResult) headers['authorization'] = `Bearer ${ticket}`;
    const scope = scopeOf(call.signal);
    const lost = () => scope.end(new Error('nothing came for too long'));
    const timer = setTimeout(lost, held * 1_000 + ANSWER_MS);
    const unwatch = onBack(this.settings.surroundings, lost);
    try {
      const redirect = isResult && key ? 'manual' : 'follow';
      const init: RequestInit = { method, headers, cache: 'no-store', redirect, signal: scope.signal, ...(body && { body }) };
      const answer = await this.settings.fetch(isResult ? withTicket(url, ticket) : url, init);
      if (isOutcome(answer) || (call.isStream && answer.ok)) return answer;
      const whole = answer.clone();
      await answer.arrayBuffer();
      return whole;
    } finally {
      clearTimeout(timer);
      unwatch();
      scope.leave();
    }
  }

  /**
   * Calls until something comes that is no passing failure. For calls that may be repeated.
   *
   * What a task itself was answered with, whatever its status, is no failure of the call.
   */
  async persist(
    url: string,
    reference: Reference | undefined,
    patience: Patience,
    call: Call = {},
    isLater: (answer: Response) => boolean = isPassing,
  ): Promise<Response> {
    // Throws where nobody can call: by a wrong address, or a field that is none.
    new Request(url, { headers: { ...call.fields } });
    for (let isFirst = true; ; isFirst = false) {
      let failure: unknown;
      let asked: number | undefined;
      try {
        const answer = (!isFirst && (await call.instead?.())) || (await this.once(url, reference, call));
        if (!isLater(answer)) return answer;
        failure = await refusalOf(answer);
        asked = retryAfterOf(answer);
      } catch (error) {
        if (call.signal?.aborted) throw error;
        failure = error;
      }
      await patience.afterFailure(failure, asked, call.signal);
    }
  }

  /** The JSON of an answer that must be a success. */
  async document<Document>(answer: Response): Promise<Document> {
    if (!answer.ok) throw await refusalOf(answer);
    return (await answer.json()) as Document;
  }
}

/** Whether an answer says of the call that it may succeed later. */
export function isPassing(answer: Response): boolean {
  return LATER.includes(answer.status) && !isOutcome(answer);
}

/** Whether an answer is that of a task itself, and not one about the call, of Relais or of a proxy. */
export function isOutcome(answer: Response): boolean {
  return answer.headers.has('relais-task') && (answer.status !== 202 || answer.headers.has('relais-result-version'));
}

/** What `Retry-After` says, in milliseconds. */
export function retryAfterOf(answer: Response): number | undefined {
  const said = answer.headers.get('retry-after');
  if (!said) return undefined;
  const seconds = Number(said);
  const milliseconds = Number.isNaN(seconds) ? Date.parse(said) - Date.now() : seconds * 1_000;
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}

/** A refusal as an error; also one by a proxy, which is no document. */
export async function refusalOf(answer: Response): Promise<Refused> {
  return new Refused((await problemOf(answer)) ?? withoutMore(answer), retryAfterOf(answer));
}

/** The problem document that an answer is, if it is one. Reads the body of a copy. */
export async function problemOf(answer: Response): Promise<Problem | undefined> {
  if (!answer.headers.get('content-type')?.startsWith('application/problem+json')) return undefined;
  return { ...withoutMore(answer), ...(await answer.clone().json().catch(() => undefined)) };
}

/** What the head of a refusal says. */
function withoutMore(answer: Response): Problem {
  const { status } = answer;
  return { type: 'about:blank', title: answer.statusText || `HTTP ${status}`, status, retryable: isPassing(answer) };
}
