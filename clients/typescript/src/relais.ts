// The client: hands tasks in, and finds those that were handed in before.
import { Caller, isPassing, refusalOf, type Reference, type Settings } from './caller.js';
import type { AcceptedDocument, SubmitRequest } from './documents.js';
import type { Followers } from './events/followers.js';
import { fetchWith, type RelaisFetch } from './fetch.js';
import { servedBy } from './home.js';
import { hubs, type TransportName } from './hubs.js';
import { Keep, storeOf, type Kept } from './keep/keep.js';
import { referenceOf, taskOf } from './links.js';
import { Patience, PATIENCE_MS } from './patience.js';
import { sharedByPages } from './shared/page.js';
import { itsOwn, type Surroundings } from './surroundings.js';
import { Task, type Stoppable } from './task.js';

/** How a client is made. */
export interface RelaisOptions {
  /**
   * Where Relais is, with its `api_prefix` if it has one. Unless said: where this script comes from, if it is
   * `/v1/client.js`; else where the page comes from.
   */
  readonly url?: string | URL;
  /** An API key, sent to addresses below `url` alone. Not for pages: whoever sees the page has it. */
  readonly apiKey?: string;
  /** What makes the calls; `fetch` unless said. */
  readonly fetch?: typeof fetch;
  /** For how many milliseconds nobody may answer before the client gives up; ten minutes unless said. */
  readonly patience?: number;
  /**
   * Whether all pages of this browser follow by one connection; in a page they do, unless said, and unless one
   * of the other settings is the page's own (`apiKey`, `fetch`, `patience`, `transports`, `onTransport`, `surroundings`).
   */
  readonly shared?: boolean;
  /** The transports to use, the best first: `websocket`, `sse`, `long-poll`, `poll`. All of them unless said. */
  readonly transports?: readonly TransportName[];
  /** Is told by which transport events come, each time that one begins to be used. */
  readonly onTransport?: (name: string) => void;
  /** Time, chance and the state of a page; a test gives its own. */
  readonly surroundings?: Surroundings;
}

/** A Relais, as a program sees it. */
export class Relais {
  /** `fetch`, but what becomes a task is followed to its answer, and an answer that is cut off is read on. */
  readonly fetch: RelaisFetch;
  private readonly caller: Caller;
  private readonly keep: Keep;
  private readonly followersAt: (base: string) => Followers;

  constructor(options: RelaisOptions = {}) {
    const settings = settingsOf(options);
    this.caller = new Caller(settings);
    this.keep = new Keep(storeOf());
    this.fetch = fetchWith(settings, (reference) => this.keep.put({ ...reference, at: Date.now() }));
    this.followersAt = followersOf(options, this.caller);
  }

  /**
   * Hands a task in, and is there once it is durable.
   *
   * It may be said again after a lost answer without making two tasks: it has an `Idempotency-Key`, of its
   * own or the one that is given. Throws `Refused` where Relais does not take it. A browser keeps it, by `name`
   * if it has one: see `tasks`.
   */
  async submit(request: SubmitRequest, options: SubmitOptions = {}): Promise<Task> {
    const { base, surroundings, patience } = this.caller.settings;
    const fields = { 'idempotency-key': JSON.stringify(options.idempotencyKey ?? freshKey()) };
    const call = { method: 'POST', fields, body: JSON.stringify(request), signal: options.signal };
    const tries = new Patience(surroundings, patience);
    const answer = await this.caller.persist(`${base}/v1/tasks`, undefined, tries, call, isWorthRepeating);
    const found = taskOf(answer);
    if (!found) throw await refusalOf(answer);
    // What was handed in before may be answered with its result.
    const accepted = answer.status === 202 ? ((await answer.json()) as AcceptedDocument) : undefined;
    await answer.body?.cancel().catch(() => {});
    const ticket = accepted?.ticket ?? found.ticket;
    const reference = { id: found.id, base, ...(ticket && { ticket }) };
    await this.keep.put({ ...reference, at: Date.now(), ...(options.name && { name: options.name }) });
    return this.of(reference);
  }

  /**
   * The tasks that this browser has handed in, by whatever page of this origin, the newest first; with `name`
   * those that were given it. Up to a hundred are kept, with their tickets. In Node they last as long as the client.
   */
  async tasks(name?: string): Promise<Task[]> {
    const kept = await this.keep.all();
    return kept.filter((one) => name === undefined || one.name === name).map((one) => this.of(referenceIn(one)));
  }

  /** Those of them whose end no page of this browser has told its reader. */
  async untold(): Promise<Task[]> {
    const kept = await this.keep.all();
    return kept.filter((one) => !one.isTold).map((one) => this.of(referenceIn(one)));
  }

  /**
   * Whether this page is to tell its reader that a task of this browser is over: the first that asks is, of all
   * pages, now and later.
   */
  claimEnd(task: Task): Promise<boolean> {
    return this.keep.claim(task.id);
  }

  /** Keeps a task that came by a link, as those that are handed in are kept. */
  async remember(task: Task, name?: string): Promise<void> {
    await this.keep.put({ ...task.reference, at: Date.now(), ...(name && { name }) });
  }

  /** Keeps a task no longer. The task itself goes on. */
  async forget(task: Task): Promise<void> {
    await this.keep.remove(task.id);
  }

  /** Calls `changed` when `tasks` has changed, by whatever page, until what is returned is called. */
  onTasks(changed: () => void): () => void {
    return this.keep.watch(changed);
  }

  /** A task that was handed in before: by its id, with its ticket if that gives the right, or by its link. */
  task(idOrLink: string, ticket?: string): Task {
    const { base } = this.caller.settings;
    const linked = idOrLink.includes('/') ? referenceOf(idOrLink, base) : undefined;
    const reference: Reference = linked ?? { id: idOrLink, base };
    return this.of(ticket ? { ...reference, ticket } : reference);
  }

  private of(reference: Reference): Task {
    return new Task(this.caller, this.followersAt(reference.base), reference, (renewed) => this.keep.renew(renewed));
  }
}

/** How a task is handed in. */
export interface SubmitOptions extends Stoppable {
  /** Requests with the same one are one task. */
  readonly idempotencyKey?: string;
  /** By what the page finds it again after a reload. */
  readonly name?: string;
}

function referenceIn({ name, at, isTold, ...reference }: Kept): Reference {
  return reference;
}

/** By which connection the client follows. */
function followersOf(options: RelaisOptions, caller: Caller): (base: string) => Followers {
  const { transports, onTransport } = options;
  const isOwn = Object.keys(options).some((name) => !['url', 'shared'].includes(name));
  if (!(options.shared ?? !isOwn) || typeof document === 'undefined') return hubs(caller, transports, onTransport);
  pages ??= sharedByPages((surroundings) => hubs(new Caller({ ...caller.settings, surroundings })));
  const shared = pages;
  return () => shared;
}

/** All clients of a page share what all pages share. */
let pages: Followers | undefined;

/**
 * `fetch`, for services behind Relais: what becomes a task is followed to its answer, and an answer that is
 * cut off in the middle is read on. Everything else is as `fetch` has it.
 */
export const relaisFetch: RelaisFetch = (input, init) => {
  simplest ??= new Relais();
  return simplest.fetch(input, init);
};

let simplest: Relais | undefined;

function settingsOf(options: RelaisOptions): Settings {
  const url = options.url ?? servedBy ?? globalThis.location?.origin ?? 'http://127.0.0.1:8080';
  return {
    base: String(url).replace(/\/+$/, ''),
    ...(options.apiKey && { apiKey: options.apiKey }),
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    surroundings: options.surroundings ?? itsOwn(),
    patience: options.patience ?? PATIENCE_MS,
  };
}

/** Where there is no room, whoever hands in is told so at once: it may know better than to wait. */
function isWorthRepeating(answer: Response): boolean {
  return isPassing(answer) && answer.status !== 429;
}

/** So long that nobody guesses it. */
function freshKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join('-');
}
