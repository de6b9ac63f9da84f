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
pub(super) enum Arrival {
    /// A stream that begins with these bytes, its head among them.
    New { socket: TcpStream, stream: EventStream, first: Bytes, permit: Permit },
    /// A stream that was away, with its next piece; without one it is over.
    Back { slot: u32, generation: u32, stream: EventStream, piece: Option<Bytes> },
}

/// What waits for a shard.
pub(super) struct Desk {
    arrivals: Mutex<Vec<Arrival>>,
    inbox: Arc<Inbox>,
    filled: Arc<Notify>,
}

impl Default for Desk {
    fn default() -> Self {
        let filled = Arc::<Notify>::default();
        Self { arrivals: Mutex::default(), inbox: Arc::new(Inbox::new(filled.clone())), filled }
    }
}

impl Desk {
    pub(super) fn put(&self, arrival: Arrival) {
        self.arrivals.lock().expect("nothing panics while it is held").push(arrival);
        self.filled.notify_one();
    }

    /// Resolves when there may be something.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().expect("nothing panics while it is held"))
    }

    /// The topics of which something happened.
    pub(super) fn news(&self) -> HashSet<u32> {
        self.inbox.take()
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }
}
