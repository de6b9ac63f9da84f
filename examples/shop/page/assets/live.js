// Reads an answer while it comes: after a cut behind the bytes that were read, after a reload from its start.
import { reason } from './words.js';

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// Yields { bytes } as they come, { isCut } when the connection broke, { isNew } when another answer begins in its place.
// `first` is the answer of the request that asked, if it is that which is read.
export async function* read(link, { first, signal, asked }) {
  let answer = first;
  let after = 0;
  let attempt;
  for (;;) {
    try {
      if (!answer) {
        asked();
        answer = await fetch(address(link, after, attempt), { headers: { Prefer: 'wait=55' }, signal });
      }
      if (answer.status === 412) {
        yield { isNew: true };
        [after, attempt] = [0, undefined];
      } else if (answer.status === 416) {
        return;
      } else if (answer.status === 202 || answer.status === 503) {
        await pause(1000);
      } else {
        if (!answer.ok) throw await refusal(answer);
        attempt = answer.headers.get('Relais-Result-Version');
        for (const reader = answer.body.getReader(); ;) {
          const { value, done } = await reader.read();
          if (done) return;
          after += value.length;
          yield { bytes: value };
        }
      }
    } catch (error) {
      if (signal.aborted || error.problem) throw error;
      yield { isCut: true };
      await pause(1000);
    }
    answer = undefined;
  }
}

function address(link, after, attempt) {
  const url = new URL(link);
  url.pathname += '/result';
  url.searchParams.set('live', '');
  if (attempt) {
    url.searchParams.set('after', after);
    url.searchParams.set('attempt', attempt);
  }
  return url;
}

async function refusal(answer) {
  const document = await answer.json().catch(() => undefined);
  const problem = reason({ status: answer.status, document });
  return Object.assign(new Error(problem), { problem });
}
