// Asks for the result again and again: 202 is "not yet", all else is the answer itself.
import { isAskedAgain, pause } from './meter.js';
import { now } from './run.js';
import { time } from './words.js';

// Short enough that an interval that is changed counts at once.
const LOOK_MS = 100;

export async function poll(task, meter, interval) {
  for (;;) {
    const asked = now();
    for (let left = interval(); left > 0; left = asked + interval() - now()) {
      meter.stands('asks', time(Math.ceil(left / LOOK_MS) * LOOK_MS));
      await pause(Math.min(left, LOOK_MS), meter.signal);
    }
    meter.stands('asking');
    const answer = await meter.ask(task.links.result);
    if (!isAskedAgain(answer)) return answer;
    if (answer.status === 202) meter.progress(answer.document.progress?.percent);
  }
}
