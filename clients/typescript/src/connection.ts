// One connection that an answer comes by, and how it ends.
import { onBack, type Surroundings } from './surroundings.js';

/** A connection that owes signs of life and is silent for so long is dead. */
const SILENCE_MS = 45_000;

/** The pieces of one answer's body, as they come. */
export class Connection {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  private readonly unwatch: () => void;
  private readonly stop = () => this.cut(this.signal.reason);
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Why it broke before its end. */
  failure: unknown;
  /** Whether its other end gives a sign of life by then. */
  owesSigns = false;

  constructor(
    response: Response,
    surroundings: Surroundings,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', this.stop);
    // Node forgets the abort of a body whose `Response` nobody holds: the reader is told by us.
    this.reader = response.body?.getReader();
    this.unwatch = onBack(surroundings, () => this.cut(new Error('the network has changed')));
  }

  /** The next piece; `undefined` at the end, or where it broke. */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.owesSigns) this.timer = setTimeout(() => this.cut(new Error('nothing came for too long')), SILENCE_MS);
    try {
      return (await this.reader?.read())?.value;
    } catch (error) {
      this.failure ??= error;
      return undefined;
    } finally {
      clearTimeout(this.timer);
    }
  }

  /** Lets go of it. */
  close(): void {
    this.signal.removeEventListener('abort', this.stop);
    this.unwatch();
    this.reader?.cancel().catch(() => {});
  }

  private cut(why: unknown): void {
    this.failure ??= why;
    this.close();
  }
}
