// `fetch` for services behind Relais: what becomes a task is followed to its answer.
import { Caller, isOutcome, type Reference, type Settings } from './caller.js';
import { Refused } from './errors.js';
import { addressOf, linkOf, taskOf, withTicket } from './links.js';
import { Reading, type Wish } from './reading.js';
import { responseOf } from './response.js';

/** Fields that say something of one request, and nothing of who asks. */
const OF_ONE_REQUEST = /^(content-|if-|relais-(?!api-key)|accept|prefer$|range$|idempotency-key$|te$)/;

/** What a `fetch` of Relais may be told beside what every `fetch` is told. */
export interface RelaisRequestInit extends RequestInit {
  /**
   * Is told the link of the task as soon as there is one, long before its answer if that takes long. By the link
   * whoever has it may follow the task (`relais.task(link)`), after a reload, or elsewhere.
   */
  readonly onTask?: (link: string) => void;
}

/** `fetch` as Relais has it. */
export type RelaisFetch = (input: RequestInfo | URL, init?: RelaisRequestInit) => Promise<Response>;

/** A `fetch` with these settings. `keep` is told each task that takes longer than a request. */
export function fetchWith(settings: Settings, keep: (reference: Reference) => Promise<void>): RelaisFetch {
  return async function relaisFetch(input, given): Promise<Response> {
    const { onTask, ...init } = given ?? {};
    const asked = input instanceof Request ? input : undefined;
    const signal = init.signal ?? asked?.signal;
    const credentials = init.credentials ?? asked?.credentials ?? 'same-origin';
    const isHead = (init.method ?? asked?.method ?? 'GET').toUpperCase() === 'HEAD';
    // Cookies go along as they did with the request.
    const caller = new Caller({ ...settings, fetch: (url, more) => settings.fetch(url, { ...more, credentials }) });
    return followed(await settings.fetch(input, init));

    async function followed(answer: Response): Promise<Response> {
      const found = taskOf(answer);
      if (!found || (answer.status !== 202 && !answer.body)) return answer;
      const reference = withRight(found, answer, new Headers(init.headers ?? asked?.headers));
      const live = withTicket(addressOf(reference, '/result?live'), reference.ticket);
      const again = () => relaisFetch(live, { headers: { ...reference.fields }, credentials, signal: signal ?? null });
      const reading = new Reading(caller, reference, wishOf(answer), signal, again);
      const url = answer.url;
      // Before anybody is told of it: who keeps it under a name does so after that.
      if (!isOutcome(answer) && reference.ticket && wishOf(answer) === 'live') void keep(reference);
      onTask?.(linkOf(found));
      if (isOutcome(answer)) return responseOf(reading, answer, url, !isHead);
      try {
        const first = await reading.open();
        answer.body?.cancel().catch(() => {});
        // Where it leads, there may be a task, too.
        if (reading.isElsewhere(first) && taskOf(first)) return followed(first);
        return responseOf(reading, first, url, !isHead);
      } catch (error) {
        // Whoever may not follow the task is told of it as Relais told it.
        if (error instanceof Refused && [401, 403].includes(error.problem.status)) return answer;
        throw error;
      }
    }
  };
}

/**
 * A task is followed by its ticket; one without is bound to its caller, by fields that only its own origin sees.
 * Whoever was led there by another is not taken for it: the browser has kept some of them back.
 */
function withRight(reference: Reference, answer: Response, fields: Headers): Reference {
  const isOwn = answer.url && !answer.redirected && new URL(answer.url).origin === new URL(reference.base).origin;
  if (reference.ticket || !isOwn) return reference;
  const kept = [...fields].filter(([name]) => !OF_ONE_REQUEST.test(name));
  return { ...reference, fields: Object.fromEntries(kept) };
}

/** Whoever asked for a live answer by its own address goes on asking for that. */
function wishOf(answer: Response): Wish {
  return /\/v1\/tasks\/[^/?]+\/result\?(.*&)?live=only\b/.test(answer.url) ? 'live=only' : 'live';
}
