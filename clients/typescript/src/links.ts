// Where the task of an answer is: the links that Relais puts beside it.
import type { Reference } from './caller.js';

/** What comes before the id of a task in its address. */
const TASKS = '/v1/tasks/';

/** The address of a task, without what gives the right to it. */
export function addressOf(reference: Reference, more = ''): string {
  return `${reference.base}${TASKS}${reference.id}${more}`;
}

/** The address of a task with its ticket: whoever has it may follow the task. */
export function linkOf(reference: Reference): string {
  return addressOf(reference) + (reference.ticket ? `?ticket=${reference.ticket}` : '');
}

/** What an address of a task says, or anything below it; `undefined` where it is none. */
export function referenceOf(address: string, base?: string): Reference | undefined {
  let url: URL;
  try {
    url = new URL(address, base);
  } catch {
    return undefined;
  }
  const at = url.pathname.lastIndexOf(TASKS);
  const id = at < 0 ? '' : url.pathname.slice(at + TASKS.length).split('/', 1)[0];
  if (!id) return undefined;
  const ticket = url.searchParams.get('ticket');
  return { id, base: url.origin + url.pathname.slice(0, at), ...(ticket && { ticket }) };
}

/**
 * The task that an answer belongs to. Relais names it in `Relais-Task`, and its address in `Link`,
 * behind the links of the service, and in `Operation-Location`, unless the service has one of its own.
 */
export function taskOf(answer: Response): Reference | undefined {
  const id = answer.headers.get('relais-task');
  if (!id) return undefined;
  const monitors = [...links(answer.headers.get('link') ?? '')].reverse();
  const said = [...monitors, answer.headers.get('operation-location') ?? '', answer.headers.get('location') ?? ''];
  const base = answer.url || undefined;
  return said.map((address) => referenceOf(address, base)).find((found) => found?.id === id);
}

/** The targets of `rel="monitor"` in a `Link` field (RFC 8288), in their order. */
function* links(field: string): Generator<string> {
  for (const [, target, parameters] of field.matchAll(/<([^>]*)>((?:[^,"]|"(?:[^"\\]|\\.)*")*)/g)) {
    if (/;\s*rel\s*=\s*(?:"(?:[^"]*\s)?monitor(?:\s[^"]*)?"|monitor\b)/i.test(parameters ?? '')) yield target ?? '';
  }
}
