// One connection on which events come. After a cut the browser comes back by itself, with the number of the last event.
import { isAskedAgain, pause } from './meter.js';

const NEWS = ['accepted', 'started', 'progressed', 'deferred', 'attempt_failed', 'requeued'];
const ENDS = ['succeeded', 'failed', 'canceled'];

// Resolves to the event that ends the task, or to the answer that says why there is none.
export async function sse(task, meter) {
  for (;;) {
    const end = await listen(task, meter);
    if (end) return end;
    // The browser has given up, and does not say why: Firefox does so where the server was not there at first.
    meter.stands('again');
    const answer = await meter.ask(task.links.self);
    if (answer.status !== 200 && !isAskedAgain(answer)) return answer;
    // It is over, and its last event was seen before the page was left: nothing more comes.
    if (answer.document.terminal) return meter.ask(task.links.result);
    await pause(1000 + 1000 * Math.random(), meter.signal);
  }
}

function listen(task, meter) {
  const address = new URL(task.links.events);
  address.searchParams.set('after', meter.record.after ?? 0);
  const source = new EventSource(address);
  let close = () => {};
  return new Promise((done, fail) => {
    const over = (end) => {
      source.close();
      close();
      done(end);
    };
    meter.signal.addEventListener('abort', () => {
      over();
      fail(meter.signal.reason);
    }, { once: true });
    const hear = (message) => {
      meter.news(written(message));
      const event = JSON.parse(message.data);
      meter.record.after = event.seq;
      meter.progress(event.data.percent);
      return event;
    };
    for (const type of NEWS) source.addEventListener(type, hear);
    for (const type of ENDS) source.addEventListener(type, (message) => over(hear(message)));
    source.onopen = () => {
      close = meter.opened();
      meter.stands('listens');
    };
    source.onerror = () => {
      close();
      if (source.readyState === EventSource.CLOSED) over();
      else meter.stands('again');
    };
  });
}

// The bytes of an event as it came: a browser does not tell them.
function written({ type, data, lastEventId }) {
  return new TextEncoder().encode(`id: ${lastEventId}\nevent: ${type}\ndata: ${data}\n\n`).length;
}
