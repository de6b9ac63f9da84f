// What a page and the one who holds the connection for all pages say to each other.
import type { Reference } from '../caller.js';
import type { Problem, TaskEvent } from '../documents.js';
import { Refused, Unreachable } from '../errors.js';

/** What all who say these to each other go by. Its number is another one when they are: releases that do not understand each other never meet. */
export const GROUP = 'relais.1';

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

/** An error that can be sent: a refusal, or else that nobody answered. */
export interface Failure {
  readonly message: string;
  readonly problem: Problem | undefined;
  readonly retryAfter: number | undefined;
}

/** What of an error is sent. */
export function failureOf(error: unknown): Failure {
  const { message, problem, retryAfter } = error as Error & Partial<Refused>;
  return { message, problem, retryAfter };
}

/** The error that was sent. */
export function errorOf({ message, problem, retryAfter }: Failure): Error {
  return problem ? new Refused(problem, retryAfter) : new Unreachable(message);
}
