// `<relais-tray>`: all tasks of this browser, wherever it is in the site, and a word when one is over.
import type { TaskDocument } from '../documents.js';
import { Refused } from '../errors.js';
import type { Relais } from '../relais.js';
import type { Task } from '../task.js';
import { Base, inside, make, say, webAddress } from './dom.js';
import { trayStyle } from './style.js';
import { RelaisTask, usualRelais } from './task.js';
import { stateOf } from './told.js';
import { wordsOf } from './words.js';

/** How many tasks are shown at once, and by how many more. */
const PAGE = 20;
/** How many ends are told at once: of more the list tells. */
const TOASTS_MAX = 3;
/** For how long an end is told, unless somebody is at it, milliseconds. */
const TOAST_MS = 12_000;
/** Refusals after which a task is never seen again. */
const GONE = ['task-gone', 'task-not-found', 'ticket-expired'];
/** And one more of what a ticket is for: this server signs by other keys. */
const STRANGE = 'unauthorized';

/**
 * A button in the corner that opens the list of what this browser has handed in, and tells when something is over:
 * once in all pages, in one that is looked at. What the client keeps (`relais.tasks()`) is in it; `relais` may be set.
 *
 * The events of its tasks come out of it, as `<relais-task>` has them.
 */
export class RelaisTray extends Base {
  /** The client whose tasks these are. */
  declare relais: Relais | undefined;
  /** What is in the list, each beside a button that takes it out. */
  readonly #rows = new Map<string, RelaisTask>();
  #most = PAGE;
  #stop = () => {};
  #isSyncing: Promise<void> = Promise.resolve();

  readonly #label = make('span');
  readonly #count = make('span', 'count');
  readonly #head = make('h2');
  readonly #list = make('ul');
  readonly #older = make('button', 'older', { onclick: () => this.#more() });
  readonly #removeAll = make('button', 'remove', { onclick: () => this.#forgetAll() });
  readonly #panel = make(
    'section', 'panel', { popover: 'auto', ontoggle: () => this.#toggled() },
    this.#head, this.#list, make('div', 'rest', {}, this.#removeAll, this.#older),
  );
  readonly #toggle = make('button', 'toggle', { hidden: true, popoverTargetElement: this.#panel }, this.#label, this.#count);
  readonly #toasts = make('div', 'toasts', { role: 'status' });

  constructor() {
    super();
    inside(this, trayStyle, this.#toggle, this.#panel, this.#toasts);
    this.#list.addEventListener('relais-change', () => this.#show());
  }

  connectedCallback(): void {
    const sync = () => this.#sync();
    const look = () => this.#rows.forEach((row) => void this.#tellEnd(row));
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
      for (const [id, row] of this.#rows) {
        if (kept.has(id)) continue;
        this.#remove(row.parentElement as HTMLElement);
        this.#rows.delete(id);
      }
      // Read is what is shown, and what is still to be told of.
      const shown = this.isOpen ? this.#most : 0;
      let below: Element | null = null;
      for (let place = tasks.length; place--; ) {
        const task = tasks[place] as Task;
        const isUntold = untold.has(task.id);
        let row = this.#rows.get(task.id);
        // Another page has begun another run of it.
        if (isUntold && row?.document?.terminal) row.task = task;
        if (isUntold || place < shown) row ??= this.#add(task, below);
        below = row?.parentElement ?? below;
      }
      this.#toggle.hidden = tasks.length === 0;
      if (tasks.length === 0 && this.isOpen) this.#panel.hidePopover();
      this.#older.hidden = tasks.length <= this.#most;
      this.#show();
    });
  }

  /** Takes a row out. Whoever was in it is in the next one, or where the list was opened. */
  #remove(line: HTMLElement): void {
    const isIn = line.matches(':focus-within');
    const next = line.nextElementSibling ?? line.previousElementSibling;
    line.remove();
    if (isIn) ((next?.lastElementChild ?? this.#toggle) as HTMLElement).focus();
  }

  #add(task: Task, below: Element | null): RelaisTask {
    const forget = () => void this.#client.forget(task);
    const row = make('relais-task', '', { task });
    this.#rows.set(task.id, row);
    row.addEventListener('relais-end', () => void this.#tellEnd(row));
    row.addEventListener('relais-error', ({ detail }: CustomEventInit<unknown>) => {
      const code = (detail instanceof Refused && detail.problem.code) || '';
      if (GONE.includes(code) || (code === STRANGE && row.task?.ticket)) forget();
    });
    this.#list.insertBefore(make('li', '', {}, row, make('button', 'remove', { onclick: forget })), below);
    return row;
  }

  /** Tells that a task is over, in the page that is looked at. */
  async #tellEnd({ task, document: now, label }: RelaisTask): Promise<void> {
    if (!task || !now?.terminal || document.visibilityState !== 'visible' || !(await this.#client.claimEnd(task))) return;
    if (!this.isOpen && this.#toasts.childElementCount < TOASTS_MAX) this.#toast(now, label);
  }

  #toast(task: TaskDocument, title: string): void {
    const words = wordsOf(this);
    const text = make('p', '', {}, make('strong', '', {}, words[stateOf(task)[0]]), make('br'), title);
    const href = webAddress(task.resourceLocation);
    if (href) text.append(make('a', 'result', { href }, words[task.problem ? 'seeAnswer' : 'open']));
    const toast = make('div', 'toast', {}, text);
    toast.append(make('button', 'close', { ariaLabel: words.close, onclick: () => toast.remove() }, '×'));
    this.#toasts.append(toast);
    const leaving = setInterval(() => {
      if (toast.matches(':hover, :focus-within')) return;
      toast.remove();
      clearInterval(leaving);
    }, TOAST_MS);
  }

  async #forgetAll(): Promise<void> {
    for (const task of await this.#client.tasks()) await this.#client.forget(task);
  }

  #show(): void {
    const words = wordsOf(this);
    const rows = [...this.#rows.values()];
    const open = rows.filter((row) => row.document?.terminal === false).length;
    this.#label.textContent = this.#head.textContent = this.#panel.ariaLabel = words.list;
    say(this.#count, open ? String(open) : '');
    this.#removeAll.textContent = words.removeAll;
    this.#older.textContent = words.older;
    for (const row of rows) {
      const remove = row.nextElementSibling as HTMLElement;
      remove.textContent = words.remove;
      remove.ariaLabel = `${words.remove} ${row.label}`;
    }
  }
}
