// Following by a way that may change in the middle: another page holds the connection now, or this one does.
import type { Reference } from '../caller.js';
import type { Followers, Listener } from '../events/followers.js';

/** Followers of the Relais at a base. */
export type Way = (base: string) => Followers;

interface Follow {
  readonly reference: Reference;
  readonly listener: Listener;
  /** The `seq` that was told last. */
  after: number;
  stop: () => void;
}

/** Goes on by each way where the one before was left. Until there is one, everybody waits. */
export class Switch implements Followers {
  private readonly follows = new Set<Follow>();
  private way: Way | undefined;

  /** From now on everything is followed by this way. */
  use(way: Way): void {
    this.way = way;
    for (const follow of this.follows) {
      follow.stop();
      this.begin(follow, way);
    }
  }

  follow(reference: Reference, after: number, listener: Listener): () => void {
    const follow: Follow = { reference, listener, after, stop: () => {} };
    this.follows.add(follow);
    if (this.way) this.begin(follow, this.way);
    return () => {
      if (this.follows.delete(follow)) follow.stop();
    };
  }

  private begin(follow: Follow, way: Way): void {
    const { reference, listener } = follow;
    follow.stop = way(reference.base).follow(reference, follow.after, {
      event: (event) => {
        follow.after = event.seq;
        listener.event(event);
      },
      over: () => {
        this.follows.delete(follow);
        listener.over();
      },
      failed: (error) => {
        this.follows.delete(follow);
        listener.failed(error);
      },
    });
  }
}
