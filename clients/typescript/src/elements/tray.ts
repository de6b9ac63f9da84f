// `<relais-tray>`: all tasks of this browser, wherever it is in the site, and a word when one is over.
import type { TaskDocument } from '../documents.js';
import { Refused } from '../errors.js';
import type { Relais } from '../relais.js';
import type { Task } from '../task.js';
import { Base, inside, make, say } from './dom.js';
import { trayStyle } from './style.js';
import { RelaisTask, usualRelais } from './task.js';
import { stateOf } from './told.js';
import { wordsAt } from './words.js';

/** How many tasks are shown at once, and by how many more. */
const PAGE = 20;
/** How many ends are told at once: of more the list tells. */
const TOASTS_MAX = 3;
/** For how long an end is told, unless somebody is at it, milliseconds. */
const TOAST_MS = 12_000;
/** Refusals after which a task is never seen again. */
const GONE = ['task-gone', 'task-not-found', 'ticket-expired'];

/** A task of the list. */
interface Row {
  readonly item: HTMLLIElement;
  readonly shown: RelaisTask;
  readonly remove: HTMLButtonElement;
}

/**
 * A button in the corner that opens the list of what this browser has handed in, and tells when something is over:
 * once in all pages, in one that is looked at. What the client keeps (`relais.tasks()`) is in it; `relais` may be set.
 *
 * The events of its tasks come out of it, as `<relais-task>` has them.
 */
export class RelaisTray extends Base {
  /** The client whose tasks these are. */
  declare relais: Relais | undefined;
  readonly #rows = new Map<string, Row>();
  #most = PAGE;
  #stop = () => {};
  #isSyncing: Promise<void> = Promise.resolve();

  readonly #label = make('span');
  readonly #count = make('span', { part: 'count', class: 'count' });
  readonly #toggle = make('button', { part: 'toggle', class: 'toggle', popovertarget: 'panel' }, this.#label, this.#count);
  readonly #head = make('h2', { id: 'head' });
  readonly #list = make('ul');
  readonly #older = make('button', { onclick: () => this.#more() });
  readonly #removeAll = make('button', { part: 'button', onclick: () => this.#forgetAll() });
  readonly #panel = make(
    'section',
    { part: 'panel', class: 'panel', id: 'panel', popover: '', 'aria-labelledby': 'head', ontoggle: () => this.#toggled() },
    this.#head,
    this.#list,
    make('div', { class: 'rest' }, this.#removeAll, this.#older),
  );
  readonly #toasts = make('div', { part: 'toasts', class: 'toasts', role: 'status' });

  constructor() {
    super();
    this.#toggle.hidden = true;
    inside(this, trayStyle, this.#toggle, this.#panel, this.#toasts);
    this.#list.addEventListener('relais-change', () => this.#show());
  }

  connectedCallback(): void {
    const sync = () => this.#sync();
    const look = () => document.visibilityState === 'visible' && this.#tellEnds();
    const unwatch = this.#client.onTasks(sync);
    document.addEventListener('visibilitychange', look);
    this.#stop = () => {
      unwatch();
      document.removeEventListener('visibilitychange', look);
    };
    sync();
  }

  disconnectedCallback(): void {
    this.#stop();
  }

  /** Whether the list is seen: the browser opens and closes it, also by Escape, and by a press elsewhere. */
  get isOpen(): boolean {
    return this.#panel.matches(':popover-open');
  }

  #toggled(): void {
    this.#toasts.replaceChildren();
    this.#most = PAGE;
    this.#sync();
  }

  get #client(): Relais {
    return this.relais ?? usualRelais();
  }

  #more(): void {
    this.#most += PAGE;
    this.#sync();
  }

  /** Brings the list up to what is kept, one time after the other. */
  #sync(): void {
    this.#isSyncing = this.#isSyncing.then(async () => {
      const tasks = await this.#client.tasks();
      const untold = new Set((await this.#client.untold()).map(({ id }) => id));
      const kept = new Set(tasks.map(({ id }) => id));
      for (const [id, { item }] of this.#rows) {
        if (kept.has(id)) continue;
        item.remove();
        this.#rows.delete(id);
      }
      // Read is what is shown, and what is still to be told of.
      const { isOpen } = this;
      const wanted = tasks.filter(({ id }, place) => untold.has(id) || (isOpen && place < this.#most));
      for (const task of wanted.reverse()) {
        const row = this.#rows.get(task.id);
        if (!row) this.#add(task);
        // Another page has begun another run of it.
        else if (untold.has(task.id) && row.shown.document?.terminal) row.shown.task = task;
      }
      this.#toggle.hidden = tasks.length === 0;
      if (tasks.length === 0) this.#panel.hidePopover();
      this.#older.hidden = tasks.length <= this.#most;
      this.#show();
    });
  }

  #add(task: Task): void {
    const shown = document.createElement('relais-task') as RelaisTask;
    const remove = make('button', { part: 'button', onclick: () => void this.#client.forget(task) });
    const row = { shown, remove, item: make('li', {}, shown, remove) };
    this.#rows.set(task.id, row);
    shown.addEventListener('relais-end', () => void this.#tellEnd(row));
    shown.addEventListener('relais-error', ({ detail }: CustomEventInit<unknown>) => {
      if (detail instanceof Refused && GONE.includes(detail.problem.code ?? '')) void this.#client.forget(task);
    });
    shown.task = task;
    this.#list.prepend(row.item);
  }

  #tellEnds(): void {
    for (const row of this.#rows.values()) if (row.shown.document?.terminal) void this.#tellEnd(row);
  }

  /** Tells that a task is over, in the page that is looked at. */
  async #tellEnd({ shown }: Row): Promise<void> {
    const { task, document: now } = shown;
    if (document.visibilityState !== 'visible' || !task || !now || !(await this.#client.claimEnd(task))) return;
    if (!this.isOpen && this.#toasts.childElementCount < TOASTS_MAX) this.#toast(now, shown.label);
  }

  #toast(task: TaskDocument, title: string): void {
    const words = wordsAt(this);
    const what = make('strong', {}, words[stateOf(task)[0]]);
    const text = make('p', {}, what, make('br'), title);
    if (task.resourceLocation) text.append(make('a', { href: task.resourceLocation }, words[task.problem ? 'seeAnswer' : 'open']));
    const toast = make('div', { part: 'toast', class: 'toast' }, text);
    toast.append(make('button', { 'aria-label': words.close, onclick: () => toast.remove() }, '×'));
    this.#toasts.append(toast);
    const leave = () => {
      if (toast.matches(':hover, :focus-within')) setTimeout(leave, TOAST_MS);
      else toast.remove();
    };
    setTimeout(leave, TOAST_MS);
  }

  async #forgetAll(): Promise<void> {
    for (const task of await this.#client.tasks()) await this.#client.forget(task);
  }

  #show(): void {
    const words = wordsAt(this);
    const rows = [...this.#rows.values()];
    const open = rows.filter(({ shown }) => shown.document && !shown.document.terminal).length;
    say(this.#label, words.list);
    say(this.#count, open ? String(open) : '');
    say(this.#head, words.list);
    say(this.#removeAll, words.removeAll);
    this.#older.textContent = words.older;
    for (const { shown, remove } of rows) {
      say(remove, words.remove);
      remove.ariaLabel = `${words.remove}: ${shown.label}`;
    }
  }
}
