// Which transport is in use: the best that leads through.
import type { Surroundings } from '../surroundings.js';
import type { Transport } from './transport.js';

/** After how long a better one is tried again, milliseconds; doubled each time that it does not lead through. */
const FIRST_MS = 60_000;
const LONGEST_MS = 1_800_000;

/** Goes down where a way does not lead through, and looks now and then whether a better one does by now. */
export class Choice {
  private index = 0;
  private next = FIRST_MS;
  private downSince = 0;

  constructor(
    private readonly transports: readonly Transport[],
    private readonly surroundings: Surroundings,
  ) {}

  /** The transport to use now. */
  get current(): Transport {
    if (this.untilBetter === 0) {
      this.next = Math.min(this.next * 2, LONGEST_MS);
      this.index = 0;
    }
    return this.transports[this.index] as Transport;
  }

  /** In how many milliseconds a better one is to be tried; `undefined` where this is the best. */
  get untilBetter(): number | undefined {
    if (this.index === 0) return undefined;
    return Math.max(0, this.downSince + this.next - this.surroundings.now());
  }

  /** This one has led through for a while. */
  gotOn(): void {
    if (this.index === 0) this.next = FIRST_MS;
  }

  /** This one does not lead through. `false` where there is no other. */
  down(): boolean {
    if (this.index + 1 >= this.transports.length) return false;
    this.index += 1;
    this.downSince = this.surroundings.now();
    return true;
  }
}
