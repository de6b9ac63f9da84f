//! This node among others: its signs of life, and what those that died have left behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use relais_core::limits::NODE_ALIVE_FOR;
use relais_core::{Command, Gone};
use relais_store::{Attended, Beat, FORMAT, Filter, Nodes};

use crate::engine::{Engine, EngineError};

impl Engine {
    /// Says that this node is alive for so long from now on, and begins to take back what dead ones
    /// held.
    pub(crate) async fn beat(&self, alive_for: Duration) -> Result<Nodes, EngineError> {
        let own = self.inner().node;
        let beat = Beat { node: own, format: FORMAT, now: self.now(), alive_for };
        let head = self.store().last_pos().await?;
        let begun = self.elapsed();
        let nodes = self.store().beat(beat).await?;
        self.inner().format.store(nodes.format, Ordering::Release);
        let learned = &self.inner().learned;
        if nodes.living <= 1 {
            learned.be_alone();
        }
        if learned.beat_at(head, begun) >= NODE_ALIVE_FOR {
            // It may have been taken for dead meanwhile.
            self.attend_anew();
        }
        for node in nodes.dead.iter().copied().filter(|node| *node != own) {
            let engine = self.clone();
            self.inner().tracker.spawn(async move { engine.take_back(node).await });
        }
        Ok(nodes)
    }

    /// Takes back the attempts that a dead node left behind, and strikes it off the tasks that its
    /// connections attended: they broke with it. What could not be taken back is named again at the next
    /// sign of life.
    async fn take_back(&self, node: u64) {
        let attended = Filter { attended: Some(Attended::By(node)), ..Filter::default() };
        let left = self.step_each(attended, usize::MAX, |_| Some(Command::Leave { node })).await;
        if let Err(error) = left {
            tracing::warn!(%error, "could not note that the clients of a process that died are gone");
        }
        let held = Filter { held_by: Some(node), ..Filter::default() };
        let taken_back = self.step_each(held, usize::MAX, |task| {
            let (nonce, jitter) = (task.life.lease()?.nonce, self.chance().unit());
            Some(Command::Crash { nonce, gone: Gone::Died, jitter })
        });
        match taken_back.await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "took back attempts of a process that died"),
            Err(error) => {
                tracing::warn!(%error, "could not take back attempts of a process that died");
            }
        }
        if let Err(error) = self.pump_all().await {
            tracing::warn!(%error, "could not go on with the deliveries of a process that died");
        }
    }
}
