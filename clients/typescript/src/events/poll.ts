// The transport that always works: asking again, as often as the server says.
import { retryAfterOf, type Caller } from '../caller.js';
import { addressOf } from '../links.js';
import { pace } from '../patience.js';
import { scopeOf } from '../scope.js';
import { pause } from '../surroundings.js';
import { merge } from './merge.js';
import { catchUp, refusedFor, type Told, type Transport, type Watched } from './transport.js';

/** How often to ask where the server does not say, milliseconds. */
const PACE_MS = 2_000;

/** Polling of each task: what has not changed is an answer without a body. */
export class Poll implements Transport {
  readonly name = 'poll';

  constructor(private readonly caller: Caller) {}

  async *follow(watched: readonly Watched[], outer: AbortSignal): AsyncGenerator<Told> {
    const scope = scopeOf(outer);
    try {
      yield* merge(watched.map((one) => this.ofOne(one, scope.signal)));
    } finally {
      scope.end();
    }
  }

  private async *ofOne(watched: Watched, signal: AbortSignal): AsyncGenerator<Told> {
    const { reference } = watched;
    const { surroundings } = this.caller.settings;
    let { after } = watched;
    let tag = '';
    for (;;) {
      const fields: Record<string, string> = tag ? { 'if-none-match': tag } : {};
      const answer = await this.caller.once(addressOf(reference), reference, { fields, signal });
      if (!answer.ok && answer.status !== 304) {
        return void (yield { kind: 'refused', reference, error: await refusedFor(answer) });
      }
      await answer.body?.cancel();
      yield { kind: 'open' };
      if (answer.status !== 304) {
        for await (const told of catchUp(this.caller, { reference, after }, signal)) {
          if (told.kind === 'event') after = told.event.seq;
          yield told;
          if (told.kind !== 'event') return;
        }
      }
      tag = answer.headers.get('etag') ?? '';
      await pause(pace(retryAfterOf(answer) ?? PACE_MS, surroundings), surroundings, signal, () => !surroundings.isHidden());
    }
  }
}
