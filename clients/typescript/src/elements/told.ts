// What is told of a task, from its document alone: nothing here knows the names of statuses.
import type { Progress, TaskDocument } from '../documents.js';
import { fill, type Words } from './words.js';

/** The longest path in a title, characters; of a longer one the end is told. */
const TITLE_MAX = 80;
/** What cannot be seen, or turns the direction of writing: a path with it is told as it came. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\u115f\u1160\u3164]/u;

/** How a task stands: its word, and how that is marked. */
export function stateOf(task: TaskDocument): [word: keyof Words, tone: string] {
  if (task.terminal) {
    if (task.problem) return ['failed', 'bad'];
    return task.resourceLocation ? ['succeeded', 'good'] : ['canceled', 'off'];
  }
  // Only what waits for its turn has a moment from which on it may start.
  if (!task.run_at) return ['running', 'busy'];
  if (task.run_at <= task.updated_at) return ['queued', 'idle'];
  return [task.last_failure ? 'backoff' : 'scheduled', 'idle'];
}

/** What was asked, in words that a person reads. */
export function titleOf({ request }: TaskDocument, words: Words): string {
  if (!request) return words.yourRequest;
  const path = readable(request.path);
  const told = path.length > TITLE_MAX ? `…${path.slice(1 - TITLE_MAX)}` : path;
  if (/^(GET|HEAD|QUERY|OPTIONS)$/.test(request.method)) return fill(words.read, told);
  if (/^P(UT|ATCH)$/.test(request.method)) return fill(words.changed, told);
  return fill(request.method === 'DELETE' ? words.removed : words.handedIn, told);
}

function readable(path: string): string {
  try {
    const text = decodeURIComponent(path);
    if (!UNSEEN.test(text)) return text;
  } catch {
    // It is told as it came.
  }
  return path;
}

/** A text in several languages, in this one, else in English, else in whatever there is. */
export function inLanguage(texts: Readonly<Record<string, string>> | undefined, language: string): string {
  return texts?.[language] ?? texts?.['en'] ?? Object.values(texts ?? {})[0] ?? '';
}

/** How far it is, from 0 to 1; `undefined` where nobody knows. */
export function shareOf(progress: Progress | undefined): number | undefined {
  const { percent, done, total } = progress ?? {};
  const share = percent ?? (100 * Number(done)) / Number(total);
  return isFinite(share) ? Math.floor(Math.min(100, Math.max(0, share))) / 100 : undefined;
}
