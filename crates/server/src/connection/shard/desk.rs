//! Where a shard learns what it does not learn from the system.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mio::net::TcpStream;
use relais_engine::Inbox;
use tokio::sync::Notify;

use crate::connection::Permit;
use crate::watch::stream::EventStream;

/// What a shard is handed.
pub(in crate::connection) enum Arrival {
    /// A stream that begins with these bytes, its head among them.
    New { socket: TcpStream, stream: EventStream, first: Bytes, permit: Permit },
    /// A stream that was away, with its next piece; without one it is over.
    Back { slot: u32, generation: u32, stream: EventStream, piece: Option<Bytes> },
}

/// What waits for a shard, whose arrivals are of this kind.
pub(in crate::connection) struct Desk<A = Arrival> {
    arrivals: Mutex<Vec<A>>,
    inbox: Arc<Inbox>,
    filled: Arc<Notify>,
}

impl<A> Default for Desk<A> {
    fn default() -> Self {
        let filled = Arc::<Notify>::default();
        Self { arrivals: Mutex::default(), inbox: Arc::new(Inbox::new(filled.clone())), filled }
    }
}

impl<A> Desk<A> {
    pub(in crate::connection) fn put(&self, arrival: A) {
        self.arrivals.lock().expect("nothing panics while it is held").push(arrival);
        self.filled.notify_one();
    }

    /// Resolves when there may be something.
    pub(in crate::connection) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(in crate::connection) fn arrivals(&self) -> Vec<A> {
        std::mem::take(&mut *self.arrivals.lock().expect("nothing panics while it is held"))
    }

    /// The topics of which something happened.
    pub(in crate::connection) fn news(&self) -> HashSet<u32> {
        self.inbox.take()
    }

    pub(in crate::connection) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }
}
