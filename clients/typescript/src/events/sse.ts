// The transport that streams: one stream for one task, else one for up to fifty.
import type { Caller } from '../caller.js';
import type { TaskEvent } from '../documents.js';
import type { Refused } from '../errors.js';
import { scopeOf } from '../scope.js';
import { merge } from './merge.js';
import type { Block } from './sse-parser.js';
import { Streams } from './stream.js';
import { catchUp, mayBeLast, readPage, Unfit, type Told, type Transport, type Watched } from './transport.js';

/** A stream follows so many tasks at most. */
const TASKS_MAX = 50;
/** How long to stay away from a server that is busy and does not say. */
const BUSY_MS = 3_000;

/** What has happened before a stream is read from each task's own log. */
const NOW = 'now';

/** How far a stream over many tasks has come, in the whole store and in each of its tasks. */
interface Position {
  at: string;
  readonly told: Map<string, number>;
}

/** Server-Sent Events. */
export class Sse implements Transport {
  readonly name = 'sse';
  private readonly streams: Streams;
  private position: Position = { at: NOW, told: new Map() };
  /** Tasks whose log may be over, and of which nobody could say yet. */
  private readonly unsure = new Set<string>();

  constructor(private readonly caller: Caller) {
    this.streams = new Streams(caller);
  }

  async *follow(watched: readonly Watched[], outer: AbortSignal): AsyncGenerator<Told> {
    const scope = scopeOf(outer);
    // Who is asked by fields of its own shares no call with others.
    const alone = watched.filter(({ reference }) => reference.fields || watched.length === 1);
    const shared = watched.filter((one) => !alone.includes(one));
    const sources = alone.map((one) => this.ofOne(one, scope.signal));
    for (let at = 0; at < shared.length; at += TASKS_MAX) {
      // Only of the first the position is kept.
      const position = at === 0 ? this.positionOf(shared.slice(0, TASKS_MAX)) : { at: NOW, told: new Map() };
      sources.push(this.ofMany(shared.slice(at, at + TASKS_MAX), position, scope.signal));
    }
    try {
      yield* merge(sources);
    } finally {
      scope.end();
    }
  }

  private positionOf(watched: readonly Watched[]): Position {
    const told = new Map<string, number>();
    for (const { reference } of watched) {
      const seq = this.position.told.get(reference.id);
      if (seq !== undefined) told.set(reference.id, seq);
    }
    this.position = { at: this.position.at, told };
    return this.position;
  }

  private async *ofOne(watched: Watched, signal: AbortSignal): AsyncGenerator<Told> {
    const { reference } = watched;
    const stream = await this.streams.ofOne(watched, signal);
    if (stream.refused) yield { kind: 'refused', reference, error: stream.refused };
    if (stream.isOver) yield { kind: 'over', task: reference.id };
    for await (const block of stream.blocks) {
      const told = this.toldBy(block);
      if (told) yield told;
      if (told?.kind === 'event' && mayBeLast(told.event)) {
        yield* catchUp(this.caller, { ...watched, after: told.event.seq }, signal);
      }
    }
  }

  private async *ofMany(watched: readonly Watched[], position: Position, signal: AbortSignal): AsyncGenerator<Told> {
    const stream = await this.streams.ofMany(watched, position.at, signal);
    if (stream.refused) yield* this.culprits(watched, stream.refused, signal);
    for await (const block of stream.blocks) {
      const told = this.toldBy(block);
      if (told) yield told;
      // Also the opening has one: nothing need have happened before a cut.
      if (block.id) position.at = block.id;
      if (told?.kind === 'open') yield* this.joined(watched, position, signal);
      if (told?.kind === 'event') {
        const { task, seq } = told.event;
        position.told.set(task, Math.max(seq, position.told.get(task) ?? 0));
      }
      const ended = endedBy(block, told);
      const one = watched.find(({ reference }) => reference.id === ended?.task);
      if (one) yield* this.caughtUp({ ...one, after: ended?.seq ?? 0 }, position, signal);
    }
  }

  /**
   * What happened to tasks before they joined is read from their own logs once the stream stands. What the
   * stream says meanwhile is read after that, so that the order of each log is kept.
   */
  private async *joined(watched: readonly Watched[], position: Position, signal: AbortSignal): AsyncGenerator<Told> {
    const late = watched.filter(({ reference: { id }, after }) => {
      const told = position.told.get(id);
      return told === undefined || after < told || this.unsure.has(id);
    });
    yield* merge(late.map((one) => this.caughtUp(one, position, signal)));
  }

  private async *caughtUp(one: Watched, position: Position, signal: AbortSignal): AsyncGenerator<Told> {
    const { id } = one.reference;
    this.unsure.add(id);
    const seq = yield* catchUp(this.caller, one, signal);
    this.unsure.delete(id);
    position.told.set(id, seq);
  }

  /** One task that cannot be followed has the whole stream refused: each is asked by itself. */
  private async *culprits(watched: readonly Watched[], error: Refused, signal: AbortSignal): AsyncGenerator<Told> {
    let found = 0;
    for (const one of watched) {
      const { refused } = await readPage(this.caller, one, signal);
      if (!refused) continue;
      found += 1;
      yield { kind: 'refused', reference: one.reference, error: refused };
    }
    if (!found) throw new Unfit(`refused: ${error.message}`);
  }

  private toldBy(block: Block): Told | undefined {
    if (block.event === 'relais.open') return { kind: 'open' };
    if (block.event === 'relais.busy') return { kind: 'busy', milliseconds: this.streams.retry ?? BUSY_MS };
    const isNotice = block.event === 'erased' || block.event.startsWith('relais.');
    return isNotice ? undefined : { kind: 'event', event: JSON.parse(block.data) as TaskEvent };
  }
}

/** The task whose log may be over by what was said, and how far it was told. */
function endedBy(block: Block, told: Told | undefined): { task: string; seq?: number } | undefined {
  if (told?.kind === 'event') return mayBeLast(told.event) ? told.event : undefined;
  return block.event === 'erased' ? (JSON.parse(block.data) as { task: string }) : undefined;
}
