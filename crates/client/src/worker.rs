//! A worker: leases tasks, runs a handler on each, keeps the leases alive, settles.
//!
//! The loop runs on the caller's runtime, together with the handlers. Heartbeats do not:
//! they have a thread of their own ([`beats`]). Settles are sent together and lease the next
//! tasks in the same round trip.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

mod attempt;
mod beats;
mod handler;
mod reporter;
mod rounds;

pub use handler::{Handler, Input, LeasedTask, Outcome, Output};
pub use reporter::{Reporter, Stop};
pub use rounds::Ended;

use crate::client::Client;
use crate::error::Error;
use crate::worker::beats::Beats;
use crate::worker::rounds::Rounds;

/// Leases tasks of one queue and runs a handler on each.
#[derive(Clone, Debug)]
pub struct Worker {
    client: Client,
    queue: String,
    concurrency: usize,
    name: Option<String>,
    lease_wait: Duration,
    drain_for: Duration,
    stop_grace: Duration,
}

impl Worker {
    /// A worker of one queue that runs one task at a time.
    #[must_use]
    pub fn new(client: Client, queue: impl Into<String>) -> Self {
        Self {
            client,
            queue: queue.into(),
            concurrency: 1,
            name: None,
            lease_wait: Duration::from_secs(20),
            drain_for: Duration::from_secs(20),
            stop_grace: Duration::from_secs(15),
        }
    }

    /// Runs so many tasks at a time, up to 1,000.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.clamp(1, crate::limits::BATCH_MAX);
        self
    }

    /// Its name, shown to operators.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long one call waits for tasks.
    #[must_use]
    pub const fn lease_wait(mut self, wait: Duration) -> Self {
        self.lease_wait = wait;
        self
    }

    /// How long running attempts may go on once the worker is told to stop;
    /// then they are told, too.
    #[must_use]
    pub const fn drain_for(mut self, bound: Duration) -> Self {
        self.drain_for = bound;
        self
    }

    /// How long a handler that was told to stop may take before it is dropped.
    #[must_use]
    pub const fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace;
        self
    }

    /// Works until `stop` resolves, then gives back what is not begun, waits for what runs, and
    /// settles it. Lost connections and restarts of the server are ridden out.
    ///
    /// # Errors
    /// When the server refuses this worker for good: no such queue, no right to it.
    pub async fn run<H: Handler>(
        self,
        handler: H,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, Error> {
        let beats = Beats::start(&self.client)?;
        Rounds::new(self, Arc::new(handler), beats).run(stop).await
    }
}
