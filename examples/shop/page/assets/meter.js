// Counts what one way costs, and notes when what happened: `requests`, `bytes` (of answers, without heads), `marks` for its
// line ([kind, from, to]: `open`, `news`, `away`), `percent`, `after` (the number of the last event), and in the end `seen`
// (when), with `answer` or `problem`.
import { now } from './run.js';

// More could not be told from each other.
const MARKS_MAX = 600;

export class Meter {
  constructor(record, signal, changed) {
    this.record = record;
    this.signal = signal;
    this.changed = changed;
  }

  // Says how the way stands: a name of `js.state.…`, and its values.
  stands(state, ...values) {
    this.state = [state, ...values];
    this.changed();
  }

  // A request goes out, and stays open until what this answers is called.
  opened() {
    const mark = ['open', now(), undefined];
    this.record.requests += 1;
    this.note(mark);
    return () => {
      mark[2] ??= now();
      this.changed();
    };
  }

  // News have come over something that stays open.
  news(bytes) {
    this.record.bytes += bytes;
    this.note(['news', now(), now()]);
  }

  progress(percent) {
    this.record.percent = percent ?? this.record.percent;
    this.changed();
  }

  note(mark) {
    const { marks } = this.record;
    if (marks.length < MARKS_MAX) marks.push(mark);
    this.changed();
  }

  // Asks, and reads the whole answer. One that broke off has the status 0. Without `no-store` Chromium lets a question wait
  // for another one with the same address, which may be a long-poll.
  async ask(url, init) {
    const close = this.opened();
    try {
      const answer = await fetch(url, { cache: 'no-store', ...init, signal: this.signal });
      const text = await answer.text();
      this.record.bytes += new TextEncoder().encode(text).length;
      return { status: answer.status, headers: answer.headers, document: documentIn(text) };
    } catch (error) {
      this.signal.throwIfAborted();
      return { status: 0, document: { detail: error.message } };
    } finally {
      close();
    }
  }
}

function documentIn(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { detail: text.slice(0, 200) };
  }
}

// Whether an answer says that the same question is to be asked again: nobody answered, not yet, not now.
export function isAskedAgain({ status, headers }) {
  return status === 0 || status === 202 || (status === 503 && headers.has('Retry-After'));
}

export function pause(ms, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      fail(signal.reason);
    }, { once: true });
  });
}
