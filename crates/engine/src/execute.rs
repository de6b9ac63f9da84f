//! How an attempt runs: one module per kind of runner.

pub(crate) mod answer;
mod ending;
pub mod inline;
pub(crate) mod push;
pub(crate) mod request;
pub(crate) mod running;

use relais_core::Runner;
use relais_store::Claimed;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

impl Engine {
    /// Runs one attempt of this process to its end and settles it.
    pub(crate) async fn execute(&self, claimed: Claimed, stop: CancellationToken) {
        match claimed.task().spec.runner {
            Runner::Upstream { .. } => self.push(claimed, stop).await,
            Runner::Inline => self.run_inline(claimed, stop).await,
            Runner::Delivery => self.deliver(claimed, stop).await,
            Runner::Workers => unreachable!("workers claim for themselves"),
        }
    }
}
