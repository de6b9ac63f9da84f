// One connection for both directions: the page says what it watches, and each event is a frame.
import { pause } from './meter.js';

const ENDS = ['succeeded', 'failed', 'canceled'];

// Resolves to the event that ends the task, or, where that was seen before the page was left, to its answer.
export async function websocket(task, meter) {
  for (;;) {
    const { end, reason, code } = await connect(task, meter);
    if (end) return end;
    if (reason === 'over' || reason === 'gone') return meter.ask(task.links.result);
    // 40xx: not like this. 42xx: at once. All else: later.
    if (code >= 4000 && code < 4100) throw new Error(`the WebSocket was closed with ${code}`);
    meter.stands('again');
    if (!(code >= 4200)) await pause(1000 + 1000 * Math.random(), meter.signal);
  }
}

function connect(task, meter) {
  // Beside the tasks, wherever those are; and `ws:` for browsers that know no other.
  const address = new URL('../ws', task.links.self);
  address.protocol = address.protocol.replace('http', 'ws');
  const close = meter.opened();
  const socket = new WebSocket(address, ['relais.v1.json', `relais.bearer.${task.ticket}`]);
  return new Promise((done, fail) => {
    meter.signal.addEventListener('abort', () => {
      socket.close();
      fail(meter.signal.reason);
    }, { once: true });
    socket.onopen = () => {
      meter.stands('listens');
      socket.send(JSON.stringify({ op: 'watch', watch: 'import', task: task.id, after: meter.record.after ?? 0 }));
    };
    socket.onmessage = ({ data }) => {
      const { event, op, problem, reason } = JSON.parse(data);
      if (event || op === 'open') meter.news(new TextEncoder().encode(data).length);
      if (op === 'end') {
        socket.close();
        if (problem) fail(new Error(problem.detail));
        else done({ reason });
      }
      if (!event) return;
      meter.record.after = event.seq;
      meter.progress(event.data.percent);
      if (!ENDS.includes(event.type)) return;
      socket.close();
      done({ end: event });
    };
    socket.onclose = ({ code }) => {
      close();
      done({ code });
    };
  });
}
