// What a page has in place of a connection of its own.
import type { Reference } from '../caller.js';
import type { Followers, Listener } from '../events/followers.js';
import { errorOf, type FromPage, type ToPage } from './messages.js';

/** Follows by whoever holds the connection for all pages. */
export class Remote implements Followers {
  private static last = 0;
  private readonly listeners = new Map<number, Listener>();

  constructor(private readonly send: (message: FromPage) => void) {}

  follow(reference: Reference, after: number, listener: Listener): () => void {
    const key = (Remote.last += 1);
    this.listeners.set(key, listener);
    this.send({ op: 'follow', key, reference, after });
    return () => {
      if (this.listeners.delete(key)) this.send({ op: 'leave', key });
    };
  }

  /** Something is told to this page. */
  receive(message: ToPage): void {
    const listener = this.listeners.get(message.key);
    if (message.op === 'event') return listener?.event(message.event);
    this.listeners.delete(message.key);
    if (message.op === 'over') listener?.over();
    else listener?.failed(errorOf(message.failure));
  }
}
