// Answers as `fetch` gives them, whose body goes on after a cut.
import type { Reading } from './reading.js';

/** An answer with the head of `first` and the bytes that `reading` gives. `url` is what was asked for, unless that led elsewhere. */
export function responseOf(reading: Reading, first: Response, url: string, withBody = true): Response {
  const status = Number(first.headers.get('relais-upstream-status') ?? first.status);
  // Such answers take none, though Chromium gives a 204 that it has read an empty one.
  const hasBody = withBody && first.body && ![204, 205, 304].includes(status);
  if (!hasBody) {
    reading.stop();
    first.body?.cancel().catch(() => {});
  }
  const body = hasBody ? streamOf(reading, first) : null;
  const response = new Response(body, { status, statusText: first.statusText, headers: first.headers });
  Object.defineProperty(response, 'url', { value: reading.isElsewhere(first) ? first.url : url });
  return response;
}

function streamOf(reading: Reading, first: Response): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pieces = reading.pieces(first, true);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel() {
      reading.stop();
      pieces.return().catch(() => {});
    },
  });
}
