// Server-Sent Events as the HTML standard reads them, from bytes in pieces of any size.

/** One event of a stream. */
export interface Block {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** What was read: events, and how long to wait before coming back, if that was said. */
export class SseParser {
  /** What `retry:` said last, in milliseconds. */
  retry: number | undefined;
  private readonly decoder = new TextDecoder();
  private text = '';
  private id = '';
  private event = '';
  private data: string[] = [];

  /** The events that end in this piece. What is not ended when the stream is, is no event. */
  *read(piece: Uint8Array): Generator<Block> {
    this.text += this.decoder.decode(piece, { stream: true });
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.text);
      if (!end) return;
      const line = this.text.slice(0, end.index);
      this.text = this.text.slice(end.index + end[0].length);
      if (line === '') {
        const block = this.ended();
        if (block) yield block;
      } else {
        this.field(line);
      }
    }
  }

  private field(line: string): void {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === 'data') this.data.push(value);
    else if (name === 'event') this.event = value;
    else if (name === 'id' && !value.includes('\0')) this.id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }

  private ended(): Block | undefined {
    const { id, event, data } = this;
    this.event = '';
    this.data = [];
    return data.length > 0 ? { id, event: event || 'message', data: data.join('\n') } : undefined;
  }
}
