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
  return withTicket(addressOf(reference), reference.ticket);
}

/** An address with what gives the right to it, where that is a ticket. */
export function withTicket(address: string, ticket: string | undefined): string {
  return ticket ? `${address}${address.includes('?') ? '&' : '?'}ticket=${ticket}` : address;
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
  const { headers, url } = answer;
  const id = headers.get('relais-task');
  if (!id) return undefined;
  const links = [...(headers.get('link') ?? '').matchAll(/<([^<>]*)>/g)].map(([, target]) => target).reverse();
  const said = [...links, headers.get('operation-location'), headers.get('location')];
  return said.map((address) => referenceOf(address ?? '', url || undefined)).find((found) => found?.id === id);
}
