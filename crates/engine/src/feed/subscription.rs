//! What somebody follows: one task, or those of a tenant that are named, labelled, or all.

use relais_core::{Task, TaskId, TenantName};

use crate::envelope::{self, Access};
use crate::feed::Published;

/// What somebody follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// One task. Its events have the numbers of its own log.
    Task(TaskId),
    /// Tasks of one tenant. Their events have their places in the order of the store.
    Many(Many),
}

/// Some tasks of one tenant; internal ones are never among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Many {
    pub tenant: TenantName,
    /// Only these, if any are named.
    pub tasks: Vec<TaskId>,
    /// Only those with this label, if one is named.
    pub label: Option<(String, String)>,
    /// Whether tasks that are bound to their caller, or to a key, are left out.
    pub only_open: bool,
}

/// Where a subscription is found when something happens to a task.
#[derive(Debug, Hash)]
pub(super) enum Key<'a> {
    Task(TaskId),
    Label(&'a TenantName, &'a (String, String)),
    Tenant(&'a TenantName),
}

impl Subscription {
    /// The number by which a follower of this resumes behind an event.
    #[must_use]
    pub fn number_of(&self, event: &Published) -> u64 {
        match self {
            Self::Task(_) => event.entry.seq,
            Self::Many(_) => event.pos,
        }
    }

    /// Whether what happens to a task concerns this.
    #[must_use]
    pub fn takes(&self, task: &Task) -> bool {
        match self {
            Self::Task(id) => *id == task.spec.id,
            Self::Many(many) => many.takes(task),
        }
    }

    /// All the keys it is found by.
    pub(super) fn keys(&self) -> Vec<Key<'_>> {
        match self {
            Self::Task(id) => vec![Key::Task(*id)],
            Self::Many(Many { tenant, tasks, label, .. }) => match label {
                _ if !tasks.is_empty() => tasks.iter().copied().map(Key::Task).collect(),
                Some(label) => vec![Key::Label(tenant, label)],
                None => vec![Key::Tenant(tenant)],
            },
        }
    }

    /// Whether it is found by its tasks alone.
    pub(super) fn names_tasks(&self) -> bool {
        match self {
            Self::Task(_) => true,
            Self::Many(many) => !many.tasks.is_empty(),
        }
    }
}

impl Many {
    fn takes(&self, task: &Task) -> bool {
        let spec = &task.spec;
        spec.is_shown_to(&self.tenant)
            && (self.tasks.is_empty() || self.tasks.contains(&spec.id))
            && self.label.as_ref().is_none_or(|label| spec.labels.contains(label))
            && (!self.only_open || is_open(task))
    }
}

/// Whether a task is neither bound to its caller nor to a key.
fn is_open(task: &Task) -> bool {
    envelope::context_of(task).is_ok_and(|context| matches!(context.sight.access, Access::Ticket))
}
