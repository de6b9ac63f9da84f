//! Tells the store who comes and goes: in the background, many tasks in one write.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Command, Policy, Reply, TaskId};
use relais_store::StepOf;

use crate::engine::{Engine, EngineError};

/// How long to wait after a store that could not be written.
const AGAIN: Duration = Duration::from_secs(1);
/// How long anybody waits for the store to be told: whoever asked has waited already.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Resolves when the store was told of all who came and went before the call, whoever comes and goes
    /// meanwhile; or when it cannot be told soon, because it cannot be written or the engine stops.
    pub async fn attendance_told(&self) {
        let attendances = &self.inner().attendances;
        let count = attendances.lock().count();
        let mut told = attendances.told.subscribe();
        tokio::select! {
            biased;
            // The sender lives in the engine.
            _ = told.wait_for(|told| *told >= count) => {}
            () = self.inner().stop.cancelled() => {}
            () = self.clock().sleep_to(self.elapsed() + TOLD_WITHIN) => {}
        }
    }

    /// Tells the store who comes and goes, until the engine stops.
    pub(crate) async fn keep_attendance(&self) {
        let attendances = &self.inner().attendances;
        let stop = &self.inner().stop;
        loop {
            tokio::select! {
                () = attendances.queued.notified() => {}
                () = stop.cancelled() => {}
            }
            while let Err(error) = self.tell_attendance().await {
                if attendances.trouble.begins(&()) {
                    tracing::warn!(%error, "could not store who waits for tasks; trying again each second");
                }
                tokio::select! {
                    () = self.clock().sleep_to(self.elapsed() + AGAIN) => {}
                    // The next start strikes what is left.
                    () = stop.cancelled() => return,
                }
            }
            if attendances.trouble.is_over(&()) {
                tracing::info!("who waits for tasks is stored again");
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Tells the store all that it is owed.
    async fn tell_attendance(&self) -> Result<(), EngineError> {
        let attendances = &self.inner().attendances;
        loop {
            let (owed, told) = {
                let mut seats = attendances.lock();
                (seats.owed(self.inner().node), seats.unqueued())
            };
            let is_all = owed.is_empty();
            if !is_all {
                self.tell_of(owed).await?;
            }
            attendances.told.send_replace(told);
            if is_all {
                return Ok(());
            }
        }
    }

    /// Tells the store of some tasks. One whose row is damaged is told of alone, and harms no other:
    /// there is nothing to be done for it.
    async fn tell_of(&self, owed: Vec<(TaskId, Vec<Command>)>) -> Result<(), EngineError> {
        let told = match self.commit_attendance(&owed).await {
            Err(EngineError::Store(error)) if !error.may_pass() && owed.len() > 1 => {
                let mut owed = owed.into_iter();
                while let Some(one) = owed.next() {
                    if let Err(error) = Box::pin(self.tell_of(vec![one])).await {
                        let mut seats = self.inner().attendances.lock();
                        owed.for_each(|(id, commands)| seats.owe_again(id, &commands));
                        return Err(error);
                    }
                }
                return Ok(());
            }
            Err(EngineError::Store(error)) if !error.may_pass() => Ok(()),
            told => told,
        };
        let mut seats = self.inner().attendances.lock();
        for (id, commands) in &owed {
            let last = commands.last().expect("something was owed");
            match told {
                Ok(()) => seats.stored(*id, last),
                Err(_) => seats.owe_again(*id, commands),
            }
        }
        told
    }

    async fn commit_attendance(&self, owed: &[(TaskId, Vec<Command>)]) -> Result<(), EngineError> {
        // No policy says anything of who waits.
        let (policy, now) = (Arc::<Policy>::default(), self.now());
        let steps = owed.iter().flat_map(|(id, commands)| {
            let policy = &policy;
            commands.iter().map(move |command| StepOf {
                id: *id,
                tenant: None,
                command: command.clone(),
                policy: policy.clone(),
                bodies: Vec::new(),
                now,
            })
        });
        for stepped in self.take(steps.collect()).await?.into_iter().flatten() {
            let task = &stepped.changed.task;
            if let (Reply::Done, Some(at)) = (stepped.reply, task.life.abandon_at()) {
                let left_for = at.since(now);
                tracing::debug!(task = %task.spec.id, ?left_for, "all who waited for a task have left");
            }
        }
        // Of one that is gone there is nothing to tell.
        Ok(())
    }
}
