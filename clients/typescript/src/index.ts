// What `@relais/client` offers.
export type {
  AcceptedDocument, EventPage, Problem, Progress, RetryFrom, SubmitRequest, TaskDocument, TaskEvent,
} from './documents.js';
export { AnswerReplaced, Refused, TaskFailed, Unreachable } from './errors.js';
export type { RelaisFetch, RelaisRequestInit } from './fetch.js';
export type { TransportName } from './hubs.js';
export { Relais, relaisFetch, type RelaisOptions, type SubmitOptions } from './relais.js';
export type { Surroundings } from './surroundings.js';
export { Task, type Stoppable } from './task.js';
