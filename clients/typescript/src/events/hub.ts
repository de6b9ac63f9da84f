// One connection for all that is followed here: who joins and leaves, what each was told, what to do after a cut.
import type { Caller, Reference } from '../caller.js';
import { Refused } from '../errors.js';
import { Patience } from '../patience.js';
import { Choice } from './choice.js';
import type { Followers, Listener } from './followers.js';
import { Unfit, type Told, type Transport, type Watched } from './transport.js';

/** A connection that stood for so long and breaks was a good one. */
const GOOD_MS = 10_000;

interface Follower {
  readonly reference: Reference;
  readonly listener: Listener;
  /** The `seq` that it was told last. */
  after: number;
  /** Whether the connection knows of it. What one tells that does not begins too late for it. */
  isKnown: boolean;
}

/** Follows tasks of one Relais by the best transport that leads through. */
export class Hub implements Followers {
  private readonly followers = new Set<Follower>();
  private readonly choice: Choice;
  private readonly patience: Patience;
  private isRunning = false;
  /** Whether the server is left alone for now: who joins meanwhile comes along afterwards. */
  private isResting = false;
  private turn = new AbortController();

  constructor(
    private readonly caller: Caller,
    transports: readonly Transport[],
    /** Is told the name of each transport that begins to be used. */
    private readonly onTransport: (name: string) => void = () => {},
  ) {
    const { surroundings, patience } = caller.settings;
    this.choice = new Choice(transports, surroundings);
    this.patience = new Patience(surroundings, patience);
  }

  follow(reference: Reference, after: number, listener: Listener): () => void {
    const follower: Follower = { reference, listener, after, isKnown: false };
    this.followers.add(follower);
    this.changed();
    return () => {
      if (this.followers.delete(follower)) this.changed();
    };
  }

  private changed(): void {
    const { turn } = this;
    if (!this.isResting || this.followers.size === 0) setTimeout(() => turn.abort());
    if (!this.isRunning) void this.run();
  }

  private async run(): Promise<void> {
    this.isRunning = true;
    while (this.followers.size > 0) {
      // Who else joins in the same moment comes along.
      await new Promise((done) => setTimeout(done));
      this.turn = new AbortController();
      const { signal } = this.turn;
      try {
        this.isResting = true;
        await this.patience.rest(signal).finally(() => (this.isResting = false));
        await this.connect(signal);
      } catch (error) {
        if (!signal.aborted) this.fail(error);
      }
    }
    this.isRunning = false;
  }

  /** One connection, from its beginning to its end. */
  private async connect(signal: AbortSignal): Promise<void> {
    const { surroundings } = this.caller.settings;
    const transport = this.choice.current;
    const began = surroundings.now();
    // A better transport is tried now and then.
    const { untilBetter } = this.choice;
    const timer = untilBetter === undefined ? undefined : setTimeout(() => this.turn.abort(), untilBetter);
    let asked: number | undefined;
    let failure: unknown;
    let isOpen = false;
    this.onTransport(transport.name);
    try {
      for await (const told of transport.follow(this.watched(), signal)) {
        if (signal.aborted) return;
        if (told.kind === 'busy') asked = told.milliseconds;
        else this.tell(told);
        isOpen ||= told.kind === 'open';
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Unfit && this.choice.down()) return;
      if (error instanceof Refused) asked = error.retryAfter;
      failure = error;
    } finally {
      clearTimeout(timer);
      if (isOpen && surroundings.now() - began >= GOOD_MS) {
        this.patience.gotOn();
        this.choice.gotOn();
      }
    }
    if (this.followers.size > 0) this.patience.failed(failure, asked);
  }

  /** Each task once, by the first right to it, from where the one who has seen least of it wants to go on. */
  private watched(): Watched[] {
    const tasks = new Map<string, Watched>();
    for (const follower of this.followers) {
      const { reference, after } = follower;
      follower.isKnown = true;
      const known = tasks.get(reference.id);
      const least = Math.min(after, known?.after ?? after);
      tasks.set(reference.id, { reference: known?.reference ?? reference, after: least });
    }
    return [...tasks.values()];
  }

  private tell(told: Exclude<Told, { kind: 'busy' }>): void {
    for (const follower of [...this.followers]) {
      const { id, ticket } = follower.reference;
      if (!follower.isKnown) continue;
      if (told.kind === 'event' && told.event.task === id && told.event.seq > follower.after) {
        follower.after = told.event.seq;
        this.patience.gotOn();
        follower.listener.event(told.event);
      } else if (told.kind === 'over' && told.task === id) {
        this.followers.delete(follower);
        follower.listener.over();
      } else if (told.kind === 'refused' && told.reference.id === id) {
        // Another who follows it may have another right.
        if (told.reference.ticket !== ticket) this.changed();
        else if (this.followers.delete(follower)) follower.listener.failed(told.error);
      }
    }
    if (this.followers.size === 0) this.turn.abort();
  }

  private fail(error: unknown): void {
    const all = [...this.followers];
    this.followers.clear();
    // Whoever follows next has all of it again.
    this.patience.gotOn();
    for (const { listener } of all) listener.failed(error);
  }
}
