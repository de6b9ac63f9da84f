//! This node among others: its signs of life, and what those that died have left behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use relais_core::{Command, Gone};
use relais_store::{Beat, FORMAT, Filter, Nodes};

use crate::engine::{Engine, EngineError};

impl Engine {
    /// Says that this node is alive for so long from now on, and begins to take back what dead ones
    /// held.
    pub(crate) async fn beat(&self, alive_for: Duration) -> Result<Nodes, EngineError> {
        let own = self.inner().node;
        let beat = Beat { node: own, format: FORMAT, now: self.now(), alive_for };
        let head = self.store().last_pos().await?;
        let nodes = self.store().beat(beat).await?;
        self.inner().format.store(nodes.format, Ordering::Release);
        let learned = &self.inner().learned;
        if nodes.living <= 1 {
            learned.be_alone();
        }
        learned.beat_at(head);
        for node in nodes.dead.iter().copied().filter(|node| *node != own) {
            let engine = self.clone();
            self.inner().tracker.spawn(async move { engine.take_back(node).await });
        }
        Ok(nodes)
    }

    /// Takes back the attempts that a dead node left behind. What could not be taken back is named
    /// again at the next sign of life.
    async fn take_back(&self, node: u64) {
        let held = Filter { held_by: Some(node), ..Filter::default() };
        let taken_back = self.step_leased(held, usize::MAX, |lease| {
            let (nonce, jitter) = (lease.nonce, self.chance().unit());
            Some(Command::Crash { nonce, gone: Gone::Died, jitter })
        });
        match taken_back.await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "took back attempts of a process that died"),
            Err(error) => {
                tracing::warn!(%error, "could not take back attempts of a process that died");
            }
        }
    }
}
