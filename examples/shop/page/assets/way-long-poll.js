// Asks for the result once, and the server answers when it is there; after 55 seconds it says 202, and is asked again.
import { isAskedAgain, pause } from './meter.js';

export async function longPoll(task, meter) {
  for (;;) {
    meter.stands('held');
    const answer = await meter.ask(task.links.result, { headers: { Prefer: 'wait=55' } });
    if (!isAskedAgain(answer)) return answer;
    if (answer.status === 202) continue;
    meter.stands('again');
    await pause(1000 + 1000 * Math.random(), meter.signal);
  }
}
