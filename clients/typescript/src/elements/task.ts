// `<relais-task href="…">`: how one task stands, and what may be done about it.
import type { TaskDocument } from '../documents.js';
import { Refused, Unreachable } from '../errors.js';
import { Relais } from '../relais.js';
import { itsOwn, pause } from '../surroundings.js';
import type { Task } from '../task.js';
import { Base, inside, make, say, tell, webAddress } from './dom.js';
import { taskStyle } from './style.js';
import { inLanguage, shareOf, stateOf, titleOf } from './told.js';
import { fill, languageAt, wordsOf } from './words.js';

/** When to look again for a task that could not be reached for long, milliseconds; sooner where the network or the page is back. */
const AGAIN_MS = 30_000;

let usual: Relais | undefined;

/** The client that elements have which are given no other. */
export function usualRelais(): Relais {
  return (usual ??= new Relais());
}

/**
 * Shows one task, live, until it is over. `href` is its link (`task.link`, `links.self`, the `Location` of a 202); a
 * program may set `task` instead, and `relais`, the client that finds it. `label` says what it is, in the page's words.
 *
 * It tells the page by events that bubble: `relais-change` each time that something happened, `relais-end` once it
 * is over (both with the document of the task as `detail`), `relais-error` where it cannot be followed (the error).
 */
export class RelaisTask extends Base {
  static readonly observedAttributes = ['href', 'label'];

  /** The client that finds the task of `href`. */
  declare relais: Relais | undefined;
  #task: Task | undefined;
  #document: TaskDocument | undefined;
  #following: AbortController | undefined;

  readonly #state = make('p', 'state', { role: 'status' });
  readonly #title = make('p', 'title', { tabIndex: -1 });
  readonly #message = make('p', 'message');
  readonly #detail = make('p', 'trouble');
  readonly #bar = make('progress', 'bar');
  readonly #told = make('span');
  readonly #share = make('span');
  readonly #progress = make('div', '', {}, this.#bar, make('p', 'figures', {}, this.#told, this.#share));
  readonly #retry = make('button', 'retry main', { onclick: () => this.#act('retry') });
  readonly #result = make('a', 'result main');
  readonly #asks = make('summary', 'asks');
  readonly #means = make('p');
  readonly #cancel = make('button', 'cancel', { onclick: () => this.#act('cancel') });
  readonly #question = make('details', '', {}, this.#asks, this.#means, this.#cancel);
  readonly #actions = make('div', 'actions', {}, this.#retry, this.#result, this.#question);
  readonly #refused = make('p', 'refused trouble', { role: 'alert' });
  readonly #all = make(
    'div', 'task', { role: 'group', hidden: true },
    this.#state, this.#title, this.#message, this.#progress, this.#detail,
    this.#actions, this.#refused,
  );

  constructor() {
    super();
    inside(this, taskStyle, this.#all);
  }

  /** What is shown. */
  get task(): Task | undefined {
    return this.#task;
  }

  set task(task: Task | undefined) {
    // Of another task nothing is shown that was read of this one; of another run, until it was read, nothing is known.
    if (task?.id !== this.#task?.id) for (const part of [this.#all, ...this.#all.children]) (part as HTMLElement).hidden = true;
    this.#document = undefined;
    this.#task = task;
    this.#begin();
  }

  /** The task as it is shown; nothing until it was read. */
  get document(): TaskDocument | undefined {
    return this.#document;
  }

  /** What it is called. */
  get label(): string {
    return this.#title.textContent ?? '';
  }

  set label(label: string) {
    this.setAttribute('label', label);
  }

  connectedCallback(): void {
    // What a page has set before the element was known hides what sets it now.
    if (Object.hasOwn(this, 'task')) {
      const { task } = this;
      delete (this as { task?: Task | undefined }).task;
      this.task = task;
    } else if (!this.#following) this.#begin();
  }

  disconnectedCallback(): void {
    this.#following?.abort();
    this.#following = undefined;
  }

  attributeChangedCallback(name: string, _: string | null, now: string | null): void {
    if (name === 'label') return this.#show();
    this.task = now ? (this.relais ?? usualRelais()).task(now) : undefined;
  }

  #begin(): void {
    this.#following?.abort();
    if (!this.isConnected || !this.#task) return;
    this.#following = new AbortController();
    void this.#follow(this.#task, this.#following.signal);
  }

  async #follow(task: Task, signal: AbortSignal): Promise<void> {
    try {
      for await (const now of task.follow({ signal })) {
        if (signal.aborted) return;
        this.#document = now;
        this.#refuse();
        this.#show();
        tell(this, 'relais-change', now);
        if (now.terminal) tell(this, 'relais-end', now);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#refuse(error);
      tell(this, 'relais-error', error);
      if (error instanceof Unreachable) pause(AGAIN_MS, itsOwn(), signal, () => true).then(() => this.#begin(), () => {});
    }
  }

  /** Does what a button is for, and follows what comes of it. */
  async #act(action: 'cancel' | 'retry'): Promise<void> {
    // Whoever pressed a button that goes away is told what comes of it.
    this.#title.focus();
    this.#retry.disabled = this.#cancel.disabled = true;
    try {
      await this.#task?.[action]();
      this.#question.open = false;
      this.#begin();
    } catch (error) {
      this.#refuse(error);
    }
    this.#retry.disabled = this.#cancel.disabled = false;
  }

  /** Tells why something does not work, or that it does. */
  #refuse(error?: unknown): void {
    if (error) this.#all.hidden = false;
    say(this.#refused, error instanceof Refused ? error.message : error ? wordsOf(this).lost : '');
  }

  #show(): void {
    const task = this.#document;
    if (!task) return;
    const language = languageAt(this);
    const words = wordsOf(this);
    const { terminal, progress, problem, last_failure: last, links, resourceLocation } = task;
    const [word, tone] = stateOf(task);
    this.#state.className = `state ${tone}`;
    say(this.#state, words[word]);
    say(this.#title, this.getAttribute('label') ?? titleOf(task, words));

    const message = inLanguage(task.message, language);
    say(this.#message, message);
    const detail = [problem?.title, problem?.detail].filter((text) => text && text !== message).join(' – ');
    say(this.#detail, detail || (last && !terminal ? fill(words.tried, last.problem.detail ?? last.problem.title) : ''));

    // A bar that moves says that something is done: not of what waits for its moment.
    this.#progress.hidden = terminal || tone === 'idle';
    this.#bar.ariaLabel = words.progress;
    const share = shareOf(progress);
    if (share === undefined) this.#bar.removeAttribute('value');
    else this.#bar.value = share;
    say(this.#told, progress?.message ?? '');
    say(this.#share, share?.toLocaleString(language, { style: 'percent' }) ?? '');

    const address = webAddress(resourceLocation);
    say(this.#retry, terminal && links.retry ? words.retry : '');
    say(this.#result, terminal && address ? words[problem ? 'seeAnswer' : 'open'] : '');
    this.#result.classList.toggle('main', !problem);
    this.#result.href = address;
    this.#question.hidden = terminal || !links.cancel;
    say(this.#asks, words.cancel);
    say(this.#means, words.cancelMeans);
    say(this.#cancel, words.cancelNow);
    this.#all.ariaLabel = this.label;
    this.#all.hidden = this.#actions.hidden = false;
  }
}
