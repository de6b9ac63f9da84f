// What this package throws. Aborting throws the signal's own reason.
import type { Problem } from './documents.js';

/** Relais refused a call: no such task, no right to it, a mistake in what was sent, no room. */
export class Refused extends Error {
  override readonly name: string = 'Refused';

  constructor(
    /** What Relais said. Its `code` is stable. */
    readonly problem: Problem,
    /** How long to wait before asking again, in milliseconds, if Relais said so. */
    readonly retryAfter?: number,
  ) {
    super(problem.detail ?? problem.title);
  }
}

/** The task is over, and has no answer that could be read as one: it failed, or was canceled. */
export class TaskFailed extends Error {
  override readonly name: string = 'TaskFailed';

  constructor(
    /** The id of the task. */
    readonly task: string,
    /** Its outcome: the answer of the service, or a problem of Relais' own. Its body was not read yet. */
    readonly response: Response,
    /** Why, where Relais itself says why. */
    readonly problem?: Problem,
  ) {
    super(problem?.detail ?? problem?.title ?? `the task ended with ${response.status}`);
  }
}

/**
 * The answer that was being read is not there any more: another attempt gives another one. What was
 * read so far is to be thrown away.
 */
export class AnswerReplaced<Again = unknown> extends Error {
  override readonly name: string = 'AnswerReplaced';

  constructor(
    /** The id of the task. */
    readonly task: string,
    /** Reads the answer that took its place, from its first byte. */
    readonly restart: () => Again,
  ) {
    super('another attempt gives another answer: restart');
  }
}

/** Nobody answered for a long time: no network, or no server. The task goes on without its reader. */
export class Unreachable extends Error {
  override readonly name: string = 'Unreachable';

  constructor(cause: unknown) {
    super('Relais could not be reached for a long time', { cause });
  }
}
