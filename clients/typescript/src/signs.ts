// The comments that Relais puts into a silent event stream. They are not stored, so that they count in no offset.

/** Exactly what Relais sends between two events. */
const SIGN = new TextEncoder().encode(':relais\n\n');
const [CR, LF] = [13, 10];

/**
 * Takes the comments of Relais out of an event stream that comes in pieces.
 *
 * What may be the beginning of one is held back until the next byte tells; held bytes were not given, so
 * that a reader who is cut off there has not counted them either.
 */
export class Signs {
  private isLineEmpty = true;
  private isBehindCr = false;
  private isBetween = false;
  /** How many bytes of a comment were seen; they are held back. */
  private held = 0;
  private isGiven = false;

  /** Whether another is due: this connection has brought one, and no event has begun. */
  get isDue(): boolean {
    return this.isGiven && this.isBetween;
  }

  /** What remains of a piece. */
  pass(piece: Uint8Array): Uint8Array<ArrayBuffer> {
    // Each held byte may be given now, beside the piece.
    const kept = new Uint8Array(this.held + piece.length);
    let length = 0;
    const keep = (byte: number) => {
      this.step(byte);
      kept[length] = byte;
      length += 1;
    };
    for (const byte of piece) {
      if (this.held === 0 && !this.isBetween) {
        keep(byte);
      } else if (byte === SIGN[this.held]) {
        this.held = (this.held + 1) % SIGN.length;
        if (this.held === 0) this.isGiven = true;
      } else {
        const held = this.held;
        this.held = 0;
        SIGN.subarray(0, held).forEach(keep);
        keep(byte);
      }
    }
    return kept.subarray(0, length);
  }

  /** What was held back when the stream ended: the beginning of a comment that was none. */
  rest(): Uint8Array<ArrayBuffer> {
    const rest = SIGN.slice(0, this.held);
    this.held = 0;
    return rest;
  }

  /** The connection was cut: what was held back comes again. */
  cut(): void {
    this.held = 0;
    this.isGiven = false;
  }

  /** Follows where lines end: with LF, CR or both. A comment only comes behind a blank line. */
  private step(byte: number): void {
    if (byte === LF && this.isBehindCr) {
      this.isBehindCr = false;
    } else if (byte === LF || byte === CR) {
      this.isBetween = this.isLineEmpty;
      this.isLineEmpty = true;
      this.isBehindCr = byte === CR;
    } else {
      this.isLineEmpty = this.isBehindCr = this.isBetween = false;
    }
  }
}
