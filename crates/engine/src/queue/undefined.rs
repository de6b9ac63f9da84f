//! Queues that tasks wait in and that nothing defines any more: taken out of the file meanwhile.
//! What is left in them is worked off by the default policy; nothing new comes in.

use std::fmt;

use relais_core::{QueueName, TenantName};
use relais_store::{QueueStats, Queues};

use crate::config::Policies;
use crate::engine::{Engine, EngineError};

/// A queue with tasks and without a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undefined {
    pub tenant: TenantName,
    pub queue: QueueName,
    /// Its tasks that are not terminal.
    pub tasks: u64,
}

impl fmt::Display for Undefined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, queue, tasks } = self;
        let tasks = if *tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
        write!(
            f,
            "the queue {queue} of tenant {tenant} has {tasks} and is not defined (any more): what \
             is there runs by the default policy, and nothing new is taken; write [queue.{queue}]"
        )
    }
}

/// Those of the store's queues that have tasks and no definition.
#[must_use]
pub fn undefined(queues: &[QueueStats], policies: &Policies) -> Vec<Undefined> {
    let open = queues.iter().map(|stats| {
        let (tenant, queue) = (stats.tenant.clone(), stats.queue.clone());
        (Undefined { tenant, queue, tasks: stats.live() }, stats.policy.is_some())
    });
    open.filter(|(one, is_put)| {
        one.tasks > 0 && !is_put && policies.find(&one.tenant, &one.queue).is_none()
    })
    .map(|(one, _)| one)
    .collect()
}

impl Engine {
    /// The queues that have tasks and no definition.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn undefined_queues(&self) -> Result<Vec<Undefined>, EngineError> {
        Ok(undefined(&self.queues(Queues::All).await?, self.policies()))
    }

    /// Whether workers may ask for tasks of a queue: it is defined, or there are tasks left in it.
    pub(crate) async fn may_be_leased(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
    ) -> Result<bool, EngineError> {
        if self.policies().find(tenant, queue).is_some() {
            return Ok(true);
        }
        Ok(self.queue(tenant, queue).await?.is_some_and(|stats| stats.live() > 0))
    }
}
