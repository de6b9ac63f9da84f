// Asks for the result once, and the server answers when it is there; after 55 seconds it says 202, and is asked again.
import { isAskedAgain, pause } from './meter.js';
import { now } from './run.js';

// A server that stops, or a proxy that takes `Prefer` away, holds nothing back: such an answer is asked again later.
const HELD_MS = 1000;

export async function longPoll(task, meter) {
  for (;;) {
    const asked = now();
    meter.stands('held');
    const answer = await meter.ask(task.links.result, { headers: { Prefer: 'wait=55' } });
    if (!isAskedAgain(answer)) return answer;
    if (answer.status === 202 && now() - asked > HELD_MS) continue;
    meter.stands('again');
    await pause(1000 + 1000 * Math.random(), meter.signal);
  }
}
