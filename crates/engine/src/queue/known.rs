//! Which queues there are, so that a tenant makes no more of them than it may.
//!
//! A queue comes into being with its first task, and is kept. This process knows those of the start
//! and its own; others that share its store may each make as many again.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use relais_core::{QueueName, TenantName, limits};

use crate::engine::{Engine, EngineError};

#[derive(Debug, Default)]
pub(crate) struct Known {
    queues: Mutex<HashMap<TenantName, HashSet<QueueName>>>,
}

impl Known {
    /// Whether a task may come into this queue: it is known from now on then.
    pub(crate) fn admit(&self, tenant: &TenantName, queue: &QueueName) -> bool {
        let mut known = self.queues.lock().expect("nothing panics while it is held");
        let queues = known.entry(tenant.clone()).or_default();
        if queues.contains(queue) {
            return true;
        }
        let has_room = queues.len() < limits::QUEUES_PER_TENANT_MAX;
        has_room && queues.insert(queue.clone())
    }
}

impl Engine {
    /// Refuses a queue that would be one too many of its tenant; those of the
    /// configuration never are.
    pub(crate) fn admit_queue(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
    ) -> Result<(), EngineError> {
        let is_admitted =
            self.policies().is_defined(queue) || self.inner().known.admit(tenant, queue);
        if is_admitted { Ok(()) } else { Err(EngineError::TooManyQueues) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_queues_and_another_its_own() {
        let known = Known::default();
        let tenant = |name: &str| name.parse::<TenantName>().expect("a name");
        let queue = |n: usize| format!("q{n}").parse::<QueueName>().expect("a name");
        assert!((0..limits::QUEUES_PER_TENANT_MAX).all(|n| known.admit(&tenant("a"), &queue(n))));
        let over = queue(limits::QUEUES_PER_TENANT_MAX);
        assert!(!known.admit(&tenant("a"), &over));
        assert!(known.admit(&tenant("a"), &queue(7)), "it is there already");
        assert!(known.admit(&tenant("b"), &over));
    }
}
