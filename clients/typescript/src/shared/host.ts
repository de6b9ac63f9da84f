// The one who holds the connection for all pages of a browser: a worker that they share, or one of them.
import type { Followers } from '../events/followers.js';
import { failureOf, type FromPage, type ToPage } from './messages.js';

/** Follows tasks for pages, which come and go. */
export class Host {
  private readonly pages = new Map<string, Map<number, () => void>>();
  private readonly hidden = new Set<string>();

  constructor(
    private readonly followersAt: (base: string) => Followers,
    /** Is told when somebody looks at a page, or nobody at any more. */
    private readonly onSeen: () => void = () => {},
  ) {}

  /** Whether somebody looks at one of them. */
  get isSeen(): boolean {
    return [...this.pages.keys()].some((page) => !this.hidden.has(page));
  }

  /** A page has come: `answer` tells it that this is the host. When it goes, however it does, it is let go of. */
  welcome(page: string, answer: () => void): void {
    navigator.locks?.request(page, () => this.gone(page)).catch(() => {});
    answer();
  }

  /** A page says something; `reply` tells it something. */
  receive(page: string, message: FromPage, reply: (message: ToPage) => void): void {
    const follows = this.pages.get(page) ?? new Map<number, () => void>();
    this.pages.set(page, follows);
    if (message.op === 'bye') return this.gone(page);
    if (message.op === 'seen') {
      this.hidden[message.isHidden ? 'add' : 'delete'](page);
      return this.onSeen();
    }
    const { key } = message;
    if (message.op === 'leave') {
      follows.get(key)?.();
      follows.delete(key);
      return;
    }
    const stop = this.followersAt(message.reference.base).follow(message.reference, message.after, {
      event: (event) => reply({ op: 'event', key, event }),
      over: () => {
        follows.delete(key);
        reply({ op: 'over', key });
      },
      failed: (error) => {
        follows.delete(key);
        reply({ op: 'failed', key, failure: failureOf(error) });
      },
    });
    follows.set(key, stop);
  }

  /** A page is not there any more. */
  gone(page: string): void {
    this.pages.get(page)?.forEach((stop) => stop());
    this.pages.delete(page);
    this.hidden.delete(page);
    this.onSeen();
  }
}
