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
    if (this.waited > this.limit) throw new Unreachable(cause);
    const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.failures);
    this.failures += 1;
    await this.wait((asked ?? 0) + this.surroundings.chance() * bound, asked ?? 0, signal);
  }

  private async wait(milliseconds: number, least: number, signal: AbortSignal | undefined): Promise<void> {
    const { surroundings } = this;
    if (!surroundings.isOnline()) {
      await pause(OFFLINE_MS, surroundings, signal, () => surroundings.isOnline());
    }
    const began = surroundings.now();
    const wasHidden = surroundings.isHidden();
    const all = wasHidden ? milliseconds * HIDDEN_FACTOR : milliseconds;
    const isBetter = () => wasHidden && !surroundings.isHidden() && surroundings.now() - began >= least;
    await pause(all, surroundings, signal, isBetter);
    this.waited += all;
  }
}

/** How long between two polls of a server that asked for `asked` milliseconds: longer where nobody looks. */
export function pace(asked: number, surroundings: Surroundings): number {
  const spread = asked * (1 + surroundings.chance() * 0.1);
  return surroundings.isHidden() ? Math.max(spread * HIDDEN_FACTOR, LONGEST_MS / 2) : spread;
}
