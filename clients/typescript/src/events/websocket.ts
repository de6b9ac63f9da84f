// The transport that needs no connection of its own for each change: one WebSocket, whose watches come and go.
import type { Caller, Reference } from '../caller.js';
import type { Problem, TaskEvent } from '../documents.js';
import { Refused } from '../errors.js';
import { Closed, Socket, type Frame } from './socket.js';
import { judged, Unfit, type Told, type Transport, type Watched } from './transport.js';

/** How many watches a connection has at most. */
const WATCHES_MAX = 100;
/** Not authenticated: by another ticket it may be. */
const NOT_AUTHENTICATED = 4_001;
/** A socket that nobody follows by is closed then. */
const LINGER_MS = 50;

/** A watch of the socket: which task it follows, and the `seq` that was told last. */
interface Watch {
  readonly name: string;
  readonly reference: Reference;
  told: number;
}

/** A WebSocket. */
export class WebSockets implements Transport {
  readonly name = 'websocket';
  private socket: Socket | undefined;
  /** What the socket came by. */
  private token: string | undefined;
  private watches = new Map<string, Watch>();
  private linger: ReturnType<typeof setTimeout> | undefined;
  private count = 0;
  /** Tickets that give no right, or none any more. */
  private readonly bad = new Set<string>();

  constructor(private readonly caller: Caller) {}

  async *follow(watched: readonly Watched[], signal: AbortSignal): AsyncGenerator<Told> {
    clearTimeout(this.linger);
    // Whoever is bound to fields of its own is asked for where fields can be sent.
    if (watched.length > WATCHES_MAX || watched.some(({ reference }) => reference.fields)) throw new Unfit('by HTTP');
    try {
      const socket = await this.connected(watched, signal);
      yield { kind: 'open' };
      this.arrange(socket, watched);
      while (this.watches.size > 0) {
        const told = this.toldBy(await socket.next(signal));
        if (told) yield told;
        // It is watched anew after the pause.
        if (told?.kind === 'busy') return;
      }
    } catch (error) {
      if (this.token && isForBadToken(error)) this.bad.add(this.token);
      throw error;
    } finally {
      // Another turn goes on with it, unless there is none.
      this.linger = setTimeout(() => this.drop(), LINGER_MS);
      (this.linger as { unref?: () => void }).unref?.();
    }
  }

  private async connected(watched: readonly Watched[], signal: AbortSignal): Promise<Socket> {
    if (this.socket?.isOpen) return this.socket;
    this.drop();
    const first = watched[0] as Watched;
    const url = `${first.reference.base.replace(/^http/, 'ws')}/v1/ws`;
    for (;;) {
      const token = this.tokenFor(watched);
      const socket = new Socket(url, token, this.caller.settings.surroundings);
      try {
        await socket.ready(signal);
        this.socket = socket;
        this.token = token;
        return socket;
      } catch (error) {
        socket.close();
        if (signal.aborted || (error instanceof Closed && error.code >= 4_100)) throw error;
        // A browser does not say why.
        if (!isForBadToken(error)) throw await judged(this.caller, first, error, signal);
        // HTTP says of each task what is wrong.
        if (token === undefined) throw new Unfit(error.message);
        this.bad.add(token);
      }
    }
  }

  private tokenFor(watched: readonly Watched[]): string | undefined {
    const tickets = [this.caller.keyFor(`${watched[0]?.reference.base}/`), ...watched.map(({ reference }) => reference.ticket)];
    return tickets.find((ticket) => ticket && !this.bad.has(ticket));
  }

  private drop(): void {
    this.socket?.close();
    this.socket = undefined;
    this.watches = new Map();
  }

  /** Watches what is wanted and not watched yet, and nothing else. */
  private arrange(socket: Socket, watched: readonly Watched[]): void {
    const wanted = new Map(watched.map((one) => [one.reference.id, one]));
    for (const [id, { name, told, reference }] of this.watches) {
      const one = wanted.get(id);
      const isGood = one && one.after >= told && one.reference.ticket === reference.ticket;
      if (isGood) {
        wanted.delete(id);
      } else {
        socket.send({ op: 'unwatch', watch: name });
        this.watches.delete(id);
      }
    }
    for (const { reference, after } of wanted.values()) {
      this.count += 1;
      const name = String(this.count);
      const { id, ticket } = reference;
      this.watches.set(id, { name, reference, told: after });
      socket.send({ op: 'watch', watch: name, task: id, after, ...(ticket && { ticket }) });
    }
  }

  private toldBy(frame: Frame): Told | undefined {
    const watch = [...this.watches.values()].find(({ name }) => name === frame.watch);
    if (!watch) return undefined;
    if (frame.event) {
      const event = frame.event as TaskEvent;
      watch.told = event.seq;
      return { kind: 'event', event };
    }
    // `open`, `reset` and `estimate` are told by the events behind them.
    if (frame.op !== 'end') return undefined;
    const { reference } = watch;
    this.watches.delete(reference.id);
    if (frame.reason === 'over') return { kind: 'over', task: reference.id };
    if (frame.reason === 'busy') return { kind: 'busy', milliseconds: millisecondsOf(frame.retry_after) };
    return { kind: 'refused', reference, error: new Refused((frame.problem as Problem | undefined) ?? GONE) };
  }
}

function isForBadToken(error: unknown): error is Closed {
  return error instanceof Closed && error.code === NOT_AUTHENTICATED;
}

/** What a task that was erased meanwhile is. */
const GONE: Problem = { type: 'about:blank', title: 'The task is gone', status: 410, code: 'task-gone', retryable: false };

/** A duration as Relais writes it: `2s`, `1m30s`, `250ms`. */
function millisecondsOf(duration: unknown): number {
  const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  const parts = String(duration ?? '1s').matchAll(/([\d.]+)(ms|s|m|h)/g);
  return [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit as string] as number), 0);
}
