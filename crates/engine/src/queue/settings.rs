//! Queues as they are: their counts and settings, read and changed.

use relais_core::{QueueName, TenantName};
use relais_store::{Commit, QueueChange, QueueStats, Queues};

use crate::engine::{Engine, EngineError};

impl Engine {
    /// One queue with its counts; `None` until something came into it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn queue(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
    ) -> Result<Option<QueueStats>, EngineError> {
        Ok(self.store().queue(tenant.clone(), queue.clone()).await?)
    }

    /// Queues with their counts, by tenant and name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn queues(&self, which: Queues) -> Result<Vec<QueueStats>, EngineError> {
        Ok(self.store().queues(which).await?)
    }

    /// Changes the settings of a queue.
    ///
    /// # Errors
    /// [`EngineError::QueueIsConfigured`] for a policy of a configured queue.
    pub async fn change_queue(
        &self,
        tenant: TenantName,
        queue: QueueName,
        change: QueueChange,
    ) -> Result<(), EngineError> {
        if matches!(change, QueueChange::Policy(_)) && self.policies().is_defined(&queue) {
            return Err(EngineError::QueueIsConfigured);
        }
        self.admit_queue(&tenant, &queue)?;
        let commit =
            Commit::Queue { tenant: tenant.clone(), queue: queue.clone(), change: change.clone() };
        self.commit_one(commit).await?;
        if let QueueChange::Policy(policy) = change {
            self.policies().put(tenant.clone(), queue.clone(), policy.map(|policy| *policy));
        }
        // Whatever the change allows now may start.
        self.wake_pools(Some((tenant, queue))).await
    }
}
