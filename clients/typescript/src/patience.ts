// When to ask again after a failure, and when to give up.
import { Unreachable } from './errors.js';
import { pause, type Surroundings } from './surroundings.js';

/** The mean of the first pause is half of it. */
const FIRST_MS = 1_000;
/** No pause that nobody asked for is longer. */
const LONGEST_MS = 30_000;
/** What a browser says of its network is not believed for longer. */
const OFFLINE_MS = 60_000;
/** Who is not looked at asks so many times slower. */
const HIDDEN_FACTOR = 4;
/** How long nobody may answer before the client gives up, unless its maker says otherwise. */
export const PATIENCE_MS = 600_000;

/**
 * The failures of one endeavour, in a row.
 *
 * Pauses are drawn from all up to a bound that doubles (full jitter), so that many clients do not come
 * back together. A `Retry-After` is never undercut. Coming back online, or into view, ends a pause.
 */
export class Patience {
  private failures = 0;
  private waited = 0;
  /** What is still to be waited for behind the last failure: since when, how long, and how long at least. */
  private due: { readonly since: number; readonly all: number; readonly least: number } | undefined;

  constructor(
    private readonly surroundings: Surroundings,
    private readonly limit = PATIENCE_MS,
  ) {}

  /** Something new came: what failed before does not count any more. */
  gotOn(): void {
    this.failures = 0;
    this.waited = 0;
  }

  /** How often it failed in a row. */
  get inARow(): number {
    return this.failures;
  }

  /**
   * Waits after a failure, `asked` milliseconds at least, and as long as there is no network.
   *
   * Throws `Unreachable` where it has failed for too long, with `cause`.
   */
  async afterFailure(cause: unknown, asked: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    this.failed(cause, asked);
    await this.rest(signal);
  }

  /** Notes a failure, as `afterFailure` does; `rest` waits. */
  failed(cause: unknown, least = 0): void {
    if (this.waited > this.limit) throw new Unreachable(cause);
    const all = least + this.surroundings.chance() * Math.min(LONGEST_MS, FIRST_MS * 2 ** this.failures);
    this.failures += 1;
    // That nobody looks makes it slower, and gives nothing up sooner.
    this.waited += all;
    this.due = { since: this.surroundings.now(), all, least };
  }

  /** Waits for what is left of the pause behind the last failure. What is aborted is left for the next time. */
  async rest(signal: AbortSignal | undefined): Promise<void> {
    const { surroundings, due } = this;
    if (!due) return;
    if (!surroundings.isOnline()) {
      await pause(OFFLINE_MS, surroundings, signal, () => surroundings.isOnline());
    }
    const left = (all: number) => Math.max(0, due.since + all - surroundings.now());
    const wasHidden = surroundings.isHidden();
    const isBetter = () => wasHidden && !surroundings.isHidden() && left(due.least) === 0;
    await pause(left(wasHidden ? due.all * HIDDEN_FACTOR : due.all), surroundings, signal, isBetter);
    this.due = undefined;
  }
}

/** How long between two polls of a server that asked for `asked` milliseconds: longer where nobody looks. */
export function pace(asked: number, surroundings: Surroundings): number {
  const spread = asked * (1 + surroundings.chance() * 0.1);
  return surroundings.isHidden() ? Math.max(spread * HIDDEN_FACTOR, LONGEST_MS / 2) : spread;
}
