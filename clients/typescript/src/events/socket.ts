// One WebSocket to Relais, frame by frame: who asks, whether it is alive, how it ended.
import { onBack, type Surroundings } from '../surroundings.js';

/** The connection was closed, by a code of Relais or of the protocol. */
export class Closed extends Error {
  constructor(
    readonly code: number,
    reason: string,
  ) {
    super(`WebSocket closed: ${code} ${reason}`);
  }
}

/** Where nobody has said by then that the connection stands, somebody on the way holds it back. */
const READY_MS = 1_500;
/** How often the other end is asked whether it is there; what it says then is due before the next time. */
const PING_MS = 20_000;

/** A frame of Relais. */
export type Frame = Readonly<Record<string, unknown>> & { readonly op?: string; readonly watch?: string };

/** Opens as it is made. */
export class Socket {
  private readonly inner: WebSocket;
  private readonly frames: Frame[] = [];
  private ended: { readonly error: Error } | undefined;
  private wake = () => {};
  private isHeard = true;
  private readonly unwatch: () => void;
  private readonly pings: ReturnType<typeof setInterval>;

  /** `token`: an API key, or a ticket; without one a session counts, or that the caller is on the same machine. */
  constructor(url: string, token: string | undefined, surroundings: Surroundings) {
    this.inner = new WebSocket(url, 'relais.v1.json');
    this.inner.onopen = () => token && this.send({ op: 'auth', token });
    this.inner.onmessage = ({ data }) => {
      this.isHeard = true;
      const frame = JSON.parse(String(data)) as Frame;
      if (frame.op === 'pong') return;
      this.frames.push(frame);
      this.wake();
    };
    this.inner.onclose = ({ code, reason }) => this.end(new Closed(code, reason));
    // What it was says the close behind it.
    this.inner.onerror = () => {};
    this.unwatch = onBack(surroundings, () => this.end(new Error('the network has changed')));
    this.pings = setInterval(() => {
      if (!this.isHeard) return this.end(new Error('nothing came for too long'));
      this.isHeard = false;
      if (this.inner.readyState === WebSocket.OPEN) this.send({ op: 'ping' });
    }, PING_MS);
    // In Node no program goes on for the sake of pings.
    (this.pings as { unref?: () => void }).unref?.();
  }

  get isOpen(): boolean {
    return !this.ended && this.inner.readyState === WebSocket.OPEN;
  }

  send(frame: Frame): void {
    if (this.inner.readyState === WebSocket.OPEN) this.inner.send(JSON.stringify(frame));
  }

  /** Is there once Relais knows who asks. */
  async ready(signal: AbortSignal): Promise<void> {
    const late = setTimeout(() => this.end(new Error('nothing came for too long')), READY_MS);
    try {
      while ((await this.next(signal)).op !== 'ready');
    } finally {
      clearTimeout(late);
    }
  }

  /** The next frame. Throws once there is none and the connection has ended. */
  async next(signal: AbortSignal): Promise<Frame> {
    const stop = () => this.wake();
    signal.addEventListener('abort', stop);
    try {
      for (;;) {
        if (signal.aborted) throw signal.reason;
        const frame = this.frames.shift();
        if (frame) return frame;
        if (this.ended) throw this.ended.error;
        await new Promise<void>((done) => (this.wake = done));
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  close(): void {
    this.end(new Error('closed'));
  }

  private end(error: Error): void {
    if (this.ended) return;
    this.ended = { error };
    clearInterval(this.pings);
    this.unwatch();
    this.inner.close();
    this.wake();
  }
}
