// What a page and the one who holds the connection for all pages say to each other.
import type { Reference } from '../caller.js';
import type { Problem, TaskEvent } from '../documents.js';
import { Refused, Unreachable } from '../errors.js';

/** What a page says. `key` is its own name for what it follows. */
export type FromPage =
  | { readonly op: 'follow'; readonly key: number; readonly reference: Reference; readonly after: number }
  | { readonly op: 'leave'; readonly key: number }
  | { readonly op: 'seen'; readonly isHidden: boolean }
  | { readonly op: 'bye' };

/** What a page is told. */
export type ToPage =
  | { readonly op: 'event'; readonly key: number; readonly event: TaskEvent }
  | { readonly op: 'over'; readonly key: number }
  | { readonly op: 'failed'; readonly key: number; readonly failure: Failure };

/** An error that can be sent. */
export interface Failure {
  readonly message: string;
  readonly problem?: Problem;
  readonly retryAfter?: number;
  readonly isUnreachable?: boolean;
}

/** What of an error is sent. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Refused) {
    const { message, problem, retryAfter } = error;
    return { message, problem, ...(retryAfter !== undefined && { retryAfter }) };
  }
  return { message: String(error), isUnreachable: error instanceof Unreachable };
}

/** The error that was sent. */
export function errorOf({ message, problem, retryAfter, isUnreachable }: Failure): Error {
  if (problem) return new Refused(problem, retryAfter);
  return isUnreachable ? new Unreachable(message) : new Error(message);
}
