// What `@relais/client` offers.
export type {
  AcceptedDocument, EventPage, Problem, Progress, RetryFrom, SubmitRequest, TaskDocument, TaskEvent,
} from './documents.js';
export { AnswerReplaced, Refused, TaskFailed, Unreachable } from './errors.js';
export { Relais, relaisFetch, type RelaisOptions, type TransportName } from './relais.js';
export type { Surroundings } from './surroundings.js';
export { Task, type Stoppable } from './task.js';
