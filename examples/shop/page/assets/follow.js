// Sets all ways going, and takes down what each has seen, and when.
import { longPoll } from './way-long-poll.js';
import { poll } from './way-poll.js';
import { sse } from './way-sse.js';
import { sync } from './way-sync.js';
import { websocket } from './way-websocket.js';
import { Meter } from './meter.js';
import { keep, now } from './run.js';
import { reason } from './words.js';

// What follows the task; each resolves to an answer, or to the event that ends the task.
export const WAYS = { poll, 'long-poll': longPoll, sse, websocket };

// `shown(meters)` is called whenever something has changed.
export class Follow {
  constructor(run, interval, shown) {
    Object.assign(this, { run, interval, shown, leaving: new AbortController() });
    const changed = () => shown(this);
    const meter = ([name, record]) => [name, new Meter(record, this.leaving.signal, changed)];
    this.meters = Object.fromEntries(Object.entries(run.ways).map(meter));
  }

  // Another import begins: nothing of this one is followed any more.
  end() {
    this.leaving.abort();
  }

  // The call whose caller waits; resolves when it has its answer.
  async wait(file) {
    await this.see('sync', (meter) => sync(file, meter));
  }

  // Follows the task by each way that has not seen the answer yet.
  async follow() {
    const { task } = this.run;
    const ways = Object.keys(WAYS).filter((name) => !this.run.ways[name].seen);
    await Promise.all(ways.map((name) => this.see(name, (meter) => WAYS[name](task, meter, this.interval))));
  }

  async see(name, way) {
    const meter = this.meters[name];
    try {
      const found = await way(meter);
      const { answer, problem, settled } = found.type ? await this.told(meter, found) : answered(found);
      this.run.settled ??= settled;
      Object.assign(meter.record, { seen: now(), answer, problem });
      if (found.status === 0) meter.record.isLost = true;
    } catch (error) {
      if (this.leaving.signal.aborted) return;
      Object.assign(meter.record, { seen: now(), problem: error.message });
    }
    if (name !== 'sync') this.run.settled ??= await this.endOfTask();
    keep(this.run);
    this.shown(this);
  }

  // A small result is in the event; a large one, and what is to be known of a failure, is fetched.
  async told(meter, event) {
    const settled = Date.parse(event.at);
    const { result } = event.data;
    if (result) return { answer: result, settled };
    return { ...answered(await meter.ask(this.run.task.links.result)), settled };
  }

  // Who polls is told the answer, and not since when it is there: that stands in the task, which is read once for it.
  async endOfTask() {
    const answer = await fetch(this.run.task.links.self).catch(() => undefined);
    return answer?.ok ? Date.parse((await answer.json()).updated_at) : undefined;
  }
}

function answered(found) {
  const isGood = found.status >= 200 && found.status < 300;
  return isGood ? { answer: found.document } : { problem: reason(found) };
}
