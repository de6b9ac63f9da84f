// The documents that Relais answers with, by the names that this package gives them. They are
// generated from its OpenAPI description; members that are not named there may come, too.
import type { components } from './generated/openapi.js';

type Schemas = components['schemas'];

/** A task as Relais tells it. Rely on `terminal`, not on the names of statuses. */
export type TaskDocument = Schemas['Task'];

/** The body of a 202: the task, and the ticket that lets its bearer follow it. */
export type AcceptedDocument = Schemas['Accepted'];

/** One entry of a task's log. `seq` rises, and may leave numbers out. */
export type TaskEvent = Schemas['Event'];

/** Some entries of a task's log, and whether it is over. */
export type EventPage = Schemas['EventPage'];

/** How far an attempt has come, as whoever runs it says. */
export type Progress = Schemas['Progress'];

/** An error as a document (RFC 9457), with a stable `code`. */
export type Problem = Schemas['Problem'];

/** What is handed in. */
export type SubmitRequest = Schemas['SubmitRequest'];

/** Where a retry by hand begins: at the checkpoint, or at the start. */
export type RetryFrom = Schemas['RetryFrom'];
